#!/usr/bin/env bash
# Makes sure that a Docker engine answers. Does nothing if one does. Otherwise, as root on Debian, installs docker.io
# and starts dockerd; for everybody else, prints the command to run.
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

# packages lists the missing Debian packages.
packages() {
	command -v dockerd >/dev/null || echo docker.io
	command -v iptables >/dev/null || echo iptables
	command -v ps >/dev/null || echo procps # dockerd lists a container's processes with it
	[ -e /sys/fs/cgroup/cgroup.controllers ] || [ -d /sys/fs/cgroup/memory ] || echo cgroupfs-mount
}

if answers; then
	exit 0
fi
if [ -n "${DOCKER_HOST:-}" ]; then
	# lbproof does not need the docker command, which may be missing if the engine is remote.
	command -v docker >/dev/null || exit 0
	say "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST; start it, or unset DOCKER_HOST to use the local engine"
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	say "no Docker engine answers; install and start one (https://docs.docker.com/engine/install)"
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	if [ -S /var/run/docker.sock ] && ! [ -w /var/run/docker.sock ]; then
		say "this user may not use the Docker engine; run 'sudo usermod -aG docker $(id -un)' and log in again"
	else
		say "no Docker engine answers; run 'sudo make engine' to install Debian's docker.io and start it"
	fi
	exit 1
fi

exec 9>/var/lock/lbproof-engine.lock
flock 9
if answers; then # another make has started it in the meantime
	exit 0
fi
missing=$(packages)
if [ -n "$missing" ]; then
	say "no Docker engine answers; installing" $missing
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
if [ -d /run/systemd/system ]; then
	say "starting the service docker"
	systemctl start docker
	wait_for_engine 60 || { say "the engine does not answer within 60 s; see 'journalctl -u docker'"; exit 1; }
	exit 0
fi
if wait_for_engine 2; then # the package has started it
	exit 0
fi
if [ ! -e /sys/fs/cgroup/cgroup.controllers ] && [ ! -d /sys/fs/cgroup/memory ]; then
	cgroupfs-mount
fi
# PID files of a killed dockerd or containerd keep another from starting if the PID has been reused.
for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
	number=$(cat "$file" 2>/dev/null || true)
	name=$(cat "/proc/$number/comm" 2>/dev/null || true)
	[ "$name" = dockerd ] || [ "$name" = containerd ] || rm -f "$file"
done
setsid dockerd >"$log" 2>&1 9>&- </dev/null &
started=$!
say "started dockerd as process $started, which keeps running ('kill $started' stops it); log: $log"
wait_for_engine 60 || { say "the engine does not answer within 60 s; end of $log:"; tail -n 5 "$log" >&2; exit 1; }
