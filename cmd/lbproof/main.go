// Command lbproof proves what a load-balancer configuration promises. There is one file per verb.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/stack"
	"github.com/lbproof/lbproof/reports"
)

func main() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// The exit codes.
const (
	exitUsage       = 2 // the command line, a scenario or a configuration is wrong
	exitEnvironment = 4 // lbproof or its environment failed
)

// exitError ends the program with an exit code. If err is nil, it prints nothing more.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// environment marks an error as a failure of lbproof or its environment, except a balancer's refusal of its
// configuration, which is the user's mistake.
func environment(err error) error {
	var refused *stack.RefusedError
	if err == nil || errors.As(err, &refused) {
		return err
	}
	return &exitError{exitEnvironment, err}
}

// Main runs lbproof and returns its exit code: 0 all upheld, 1 something refuted, 2 usage or configuration, 3 something
// undecided, 4 lbproof or its environment failed.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out, errOut := newScreen(stdout), newScreen(stderr)
	ended := make(chan struct{})
	defer close(ended)
	defer context.AfterFunc(ctx, func() {
		stop() // a second Ctrl-C ends lbproof at once; the reaper cleans up
		exitIfInterrupted(ended, stderr)
	})()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(out)
	root.SetErr(errOut)
	err := explainVerb(root, root.ExecuteContext(ctx))
	if err == nil && ctx.Err() != nil && pendingCleanups.Load() == 0 {
		err = environment(errInterrupted)
	}
	if closed := out.Close(); err == nil {
		err = environment(closed)
	}
	defer errOut.Close()
	if err == nil {
		return 0
	}
	var exit *exitError
	code := exitUsage
	if errors.As(err, &exit) {
		code = exit.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(errOut, "lbproof:", plain.Lines(text))
	}
	return code
}

var errInterrupted = errors.New("interrupted")

// pendingCleanups counts cleanups that must finish before the program ends: of runs, and of a node's work in a
// container.
var pendingCleanups atomic.Int64

// delayExit delays the end of the program after an interrupt until done is called.
func delayExit() (done func()) {
	pendingCleanups.Add(1)
	return func() { pendingCleanups.Add(-1) }
}

// interruptTimeout is how long a verb may continue after an interrupt.
const interruptTimeout = 500 * time.Millisecond

// exitIfInterrupted ends the program after an interrupt unless cleanups are pending: verbs that only read, compute or
// print do not check the context.
func exitIfInterrupted(ended <-chan struct{}, stderr io.Writer) {
	select {
	case <-ended:
		return
	case <-time.After(interruptTimeout):
	}
	if pendingCleanups.Load() == 0 {
		fmt.Fprintln(stderr, "lbproof:", errInterrupted)
		os.Exit(exitEnvironment)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "lbproof",
		Short: "Proves what a load-balancer configuration promises",
		Long: `lbproof reads an nginx, HAProxy or Traefik configuration, lists its promises with their lines, starts the real
balancer with that file byte for byte, drives traffic and faults at it, and decides every promise with a test of
stated error rates.

Exit codes:
  0  every written promise is upheld
  1  a promise is refuted, or a part of the configuration cannot work
  2  the command line, scenario or configuration is wrong
  3  a promise is undecided, or none is decided
  4  lbproof or its environment failed, or the run was interrupted`,
		Example: `  lbproof lint nginx.conf     # what cannot work, and what it promises; no Docker needed
  lbproof test nginx.conf     # prove it
  lbproof test baseline       # a built-in configuration under a built-in scenario`,
		Version:       versionText(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetVersionTemplate("lbproof {{.Version}}\n")
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", ".FlagUsagesWrapped 80"))
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(testCommand(), mutateCommand(), claimsCommand(), planCommand(), runCommand(), judgeCommand(),
		reportCommand(), listCommand(), doctorCommand(), pullCommand(), cleanCommand(), versionCommand())
	for _, verb := range append(root.Commands(), root) {
		verb.Long = reports.Wrap(verb.Long)
	}
	for _, hidden := range []*cobra.Command{
		backendCommand(), workerCommand(), agentCommand(), killProcessCommand(),
		renameFilesCommand(), reaperCommand(), waitPortsCommand(), addRouteCommand(),
	} {
		// An interrupt must not cut its work short.
		hidden.PersistentPreRun = func(*cobra.Command, []string) { delayExit() }
		root.AddCommand(hidden)
	}
	return root
}
