package docker

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/lbproof/lbproof/internal/sleep"
)

// commonVars are the environment variables that every program needs: paths, locale and proxies.
var commonVars = []string{
	"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LANG", "LC_ALL", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
	"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY",
	"NO_PROXY", "ALL_PROXY",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
}

// childEnv returns the environment for a program: commonVars and the named variables. Others, such as APT_CONFIG,
// GOFLAGS or GIT_SSH_COMMAND, could make it run arbitrary commands.
func childEnv(names ...string) []string {
	var kept []string
	for _, name := range append(names, commonVars...) {
		if value, ok := os.LookupEnv(name); ok {
			kept = append(kept, name+"="+value)
		}
	}
	return kept
}

// outputWait bounds the wait for a program's output after it was killed.
const outputWait = 100 * time.Millisecond

// newCommand returns a command of this machine that is killed, with all its child processes, when ctx ends.
func newCommand(ctx context.Context, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.WaitDelay = env, outputWait
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// outputTail returns the end of a program's output, which says what went wrong.
func outputTail(output []byte) string {
	text := strings.TrimSpace(string(output))
	return text[max(0, len(text)-2000):]
}

// exitCause returns the cause of ctx's end if it has ended, else err.
func exitCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// lockPollInterval is the interval between attempts to get a lock that another run holds.
const lockPollInterval = 20 * time.Millisecond

// lockFile opens and locks a file; it waits for another run that holds the lock until ctx ends. Closing unlocks it.
func lockFile(ctx context.Context, name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		held := err == syscall.EWOULDBLOCK || err == syscall.EINTR
		if held && sleep.For(ctx, lockPollInterval) {
			continue
		}
		f.Close()
		if held {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
}
