#!/usr/bin/env bash
# Sees to it that a Docker engine answers. One that answers is left alone. Where none does, root on Debian gets Debian's docker.io
# and a dockerd; anybody else gets one sentence that says which command to run.
set -euo pipefail

log=/var/log/lbproof-dockerd.log

answers() { command -v docker >/dev/null && timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

say() { echo "engine: $*" >&2; }

# wait_for_engine SECONDS
wait_for_engine() {
	for ((i = 0; i < $1 * 5; i++)); do
		answers && return
		sleep 0.2
	done
	return 1
}

# packages are what is missing of the engine on a Debian machine.
packages() {
	command -v dockerd >/dev/null || echo docker.io
	command -v iptables >/dev/null || echo iptables
	command -v ps >/dev/null || echo procps # with which dockerd lists a container's processes
	[ -e /sys/fs/cgroup/cgroup.controllers ] || [ -d /sys/fs/cgroup/memory ] || echo cgroupfs-mount
}

if answers; then
	exit 0
fi
if [ -n "${DOCKER_HOST:-}" ]; then
	# lbproof speaks to the engine by itself; the docker command may be missing where one runs elsewhere.
	command -v docker >/dev/null || exit 0
	say "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST: start it, or unset DOCKER_HOST to use this machine's"
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	say "no Docker engine answers, and this system is not Debian: install and start one (https://docs.docker.com/engine/install)"
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	if [ -S /var/run/docker.sock ] && ! [ -w /var/run/docker.sock ]; then
		say "this user may not use the Docker engine: run 'sudo usermod -aG docker $(id -un)' and log in again"
	else
		say "no Docker engine answers: run 'sudo make engine', which installs Debian's docker.io and starts it"
	fi
	exit 1
fi

exec 9>/var/lock/lbproof-engine.lock
flock 9
if answers; then # by now: another make has started it
	exit 0
fi
missing=$(packages)
if [ -n "$missing" ]; then
	say "no Docker engine answers: installing" $missing
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
if [ -d /run/systemd/system ]; then
	say "starting the service docker"
	systemctl start docker
	wait_for_engine 60 || { say "it does not answer within 60 s: 'journalctl -u docker' says why"; exit 1; }
	exit 0
fi
if wait_for_engine 2; then # the package has started it
	exit 0
fi
if [ ! -e /sys/fs/cgroup/cgroup.controllers ] && [ ! -d /sys/fs/cgroup/memory ]; then
	cgroupfs-mount
fi
# The files with the numbers of a dockerd and a containerd that were killed keep another from starting once a process has such a number again.
for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
	number=$(cat "$file" 2>/dev/null || true)
	name=$(cat "/proc/$number/comm" 2>/dev/null || true)
	[ "$name" = dockerd ] || [ "$name" = containerd ] || rm -f "$file"
done
setsid dockerd >"$log" 2>&1 9>&- </dev/null &
started=$!
say "started dockerd as process $started, which goes on when this ends ('kill $started' stops it); it writes to $log"
wait_for_engine 60 || { say "it does not answer within 60 s; the end of $log:"; tail -n 5 "$log" >&2; exit 1; }
