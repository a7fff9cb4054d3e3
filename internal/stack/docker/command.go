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

// commonVars are the variables of the environment that every program of the machine needs: where things are, and which
// proxy to ask.
var commonVars = []string{
	"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LANG", "LC_ALL", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
	"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY",
	"NO_PROXY", "ALL_PROXY",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
}

// childEnv is what a program gets of lbproof's environment: what is shared, and the variables that are named. Others
// could have it run something else, as APT_CONFIG, GOFLAGS or GIT_SSH_COMMAND.
func childEnv(names ...string) []string {
	var kept []string
	for _, name := range append(names, commonVars...) {
		if value, ok := os.LookupEnv(name); ok {
			kept = append(kept, name+"="+value)
		}
	}
	return kept
}

// outputWait is how long a program's output is waited for after it was ended.
const outputWait = 100 * time.Millisecond

// newCommand is a program of the machine that ends with ctx, and with it all that it started.
func newCommand(ctx context.Context, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.WaitDelay = env, outputWait
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// outputTail is the end of what a program printed, which says what went wrong.
func outputTail(output []byte) string {
	text := strings.TrimSpace(string(output))
	return text[max(0, len(text)-2000):]
}

// exitCause is why a program ended: that ctx did, where it did, else err.
func exitCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// lockPollInterval is how often a lock that another run holds is tried.
const lockPollInterval = 20 * time.Millisecond

// lockFile opens a file and waits, until ctx ends, for any other run that has locked it. To close it is to unlock it.
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
