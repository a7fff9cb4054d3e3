package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/run"
	"github.com/lbproof/lbproof/internal/sleep"
	"github.com/lbproof/lbproof/internal/stack"
)

// The parts that lbproof plays in containers. They are hidden: plans and the harness call them.

func backendCommand() *cobra.Command {
	var listen []int
	var control, healthy int
	var observe, prefixes, health []string
	var helper bool
	var ledger, certificate, postgres, redis string
	var secure []int
	cmd := &cobra.Command{
		Use: "backend", Short: "Serve as a backend", Args: usage(cobra.NoArgs), Hidden: true,
		Example: "  HOST_TAG=back-01 lbproof backend --listen 8000 --control 7070",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if healthy != 0 {
				return environment(checkHealth(cmd.Context(), healthy, slices.Contains(secure, healthy)))
			}
			s := backends.Service{
				Tag: os.Getenv("HOST_TAG"), IDHeader: history.IDHeader, Server: history.ServerHeader, Size: history.SizeHeader, Wish: history.WishHeader, Observe: observe,
				Key: os.Getenv(backends.KeyVariable), Prefixes: prefixes, Health: health, Helper: helper, Certificate: certificate, Secure: secure,
				Log: slog.New(slog.NewJSONHandler(raw(cmd.OutOrStdout()), nil)),
			}
			if helper {
				return environment(s.Listen(cmd.Context(), listen, control))
			}
			var err error
			if s.Ledger, err = backends.OpenLedger(ledger); err != nil {
				return environment(err)
			}
			if postgres != "" {
				need, err := backends.Postgres(postgres)
				if err != nil {
					return environment(err)
				}
				s.Needs = append(s.Needs, need)
			}
			if redis != "" {
				s.Needs = append(s.Needs, backends.Redis(redis))
			}
			return environment(s.Listen(cmd.Context(), listen, control))
		},
	}
	cmd.Flags().IntSliceVar(&listen, "listen", []int{8000}, "traffic ports")
	cmd.Flags().IntVar(&control, "control", 7070, "port on which the ledger is handed out")
	cmd.Flags().StringVar(&ledger, "ledger", "", "file of the ledger, which outlives the process; without it the ledger does not")
	cmd.Flags().StringSliceVar(&observe, "observe", nil, "request headers to keep in the ledger")
	cmd.Flags().StringSliceVar(&prefixes, "prefixes", nil, "paths below which the API is served too")
	cmd.Flags().StringSliceVar(&health, "health-paths", nil, "paths that are answered as /health is")
	cmd.Flags().IntSliceVar(&secure, "tls", nil, "traffic ports that speak TLS")
	cmd.Flags().StringVar(&certificate, "certificate", "", "file with their certificate and its key")
	cmd.Flags().StringVar(&postgres, "postgres", "", "host:port of a PostgreSQL that /ready and /api/health/detailed ask")
	cmd.Flags().StringVar(&redis, "redis", "", "host:port of a Redis that they ask")
	cmd.Flags().BoolVar(&helper, "helper", false, "answer 200 to everything and keep no ledger")
	cmd.Flags().IntVar(&healthy, "healthy", 0, "instead of serving, ask the backend on this port whether it is healthy")
	return cmd
}

// checkHealth is the container's health check: GET /health must be answered 200.
func checkHealth(ctx context.Context, port int, secure bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	scheme, client := "http", &http.Client{}
	if secure { // with whichever certificate: the balancer may care, and the container does not
		scheme, client.Transport = "https", &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s://127.0.0.1:%d/health", scheme, port), nil)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("check health: %s", resp.Status)
	}
	return nil
}

func workerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "worker", Short: "Send traffic as standard input orders", Args: usage(cobra.NoArgs), Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return environment(run.Work(cmd.Context(), cmd.InOrStdin(), raw(cmd.OutOrStdout())))
		},
	}
}

func agentCommand() *cobra.Command {
	var ports []int
	var local map[string]int
	var shared []string
	cmd := &cobra.Command{
		Use: "agent", Short: "Break and watch a node's network as standard input orders", Args: usage(cobra.NoArgs), Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var services []agent.Local
			for host, port := range local {
				services = append(services, agent.Local{Port: port, Host: host})
			}
			for _, dir := range shared {
				if err := os.Chmod(dir, 0o1777); err != nil { // the node's process may be any user's
					return environment(fmt.Errorf("open %s to the node: %w", dir, err))
				}
			}
			if err := agent.Serve(cmd.Context(), cmd.InOrStdin(), raw(cmd.OutOrStdout()), ports, services, os.Getenv(backends.KeyVariable)); err != nil {
				return environment(err)
			}
			// The reaper takes agents out of their network one after another: all at once Docker loses count of them.
			sleep.For(cmd.Context(), 2*time.Minute)
			return nil
		},
	}
	cmd.Flags().IntSliceVar(&ports, "ports", nil, "ports attempts to connect to which are recorded")
	cmd.Flags().StringSliceVar(&shared, "shared", nil, "directories that the node has too")
	cmd.Flags().StringToIntVar(&local, "local", nil, "services of other nodes, as redis=6379, that are to be found on the loopback address too")
	return cmd
}

func slayCommand() *cobra.Command {
	var title string
	cmd := &cobra.Command{
		Use: "slay", Short: "Kill a process by its title", Args: usage(cobra.NoArgs), Hidden: true,
		RunE: func(*cobra.Command, []string) error { return environment(slay(title)) },
	}
	cmd.Flags().StringVar(&title, "title", "", "what its command line begins with")
	_ = cmd.MarkFlagRequired("title")
	return cmd
}

// slay kills the last process whose command line begins so, but the first of all: a master is not its worker.
func slay(title string) error {
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return fmt.Errorf("list the processes: %w", err)
	}
	last := 0
	for _, name := range names {
		text, err := os.ReadFile(name)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && pid > last && pid > 1 && strings.HasPrefix(string(text), title) {
			last = pid
		}
	}
	if last == 0 {
		return fmt.Errorf("no process is called %q", title)
	}
	if err := syscall.Kill(last, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill process %d: %w", last, err)
	}
	return nil
}

func renameCommand() *cobra.Command {
	var suffix string
	var to []string
	cmd := &cobra.Command{
		Use: "rename", Short: "Put files in place in the container whose processes are seen", Args: usage(cobra.NoArgs), Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			const root = "/proc/1/root"
			for _, name := range to {
				if err := os.Rename(root+name+suffix, root+name); err != nil {
					return environment(err)
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&suffix, "from-suffix", "", "what their names end with until then")
	cmd.Flags().StringArrayVar(&to, "to", nil, "their names, from the container's root")
	return cmd
}

func reachCommand() *cobra.Command {
	var ports []int
	var within, settle time.Duration
	cmd := &cobra.Command{
		Use: "reach", Short: "Wait until ports of this host listen", Args: usage(cobra.NoArgs), Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return environment(reach(cmd.Context(), ports, within, settle))
		},
	}
	cmd.Flags().IntSliceVar(&ports, "ports", nil, "ports")
	cmd.Flags().DurationVar(&within, "within", 10*time.Second, "how long to wait")
	cmd.Flags().DurationVar(&settle, "settle", 0, "how long to stay after they listen")
	return cmd
}

// reach waits until every port takes a connection, then for a time to settle.
func reach(ctx context.Context, ports []int, within, settle time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for _, port := range ports {
		for {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err == nil {
				conn.Close()
				break
			}
			if !sleep.For(ctx, 10*time.Millisecond) {
				return fmt.Errorf("port %d does not listen: %w", port, err)
			}
		}
	}
	sleep.For(ctx, settle)
	return nil
}

func routeCommand() *cobra.Command {
	var to, via string
	cmd := &cobra.Command{
		Use: "route", Short: "Send what goes to a network by way of a node", Args: usage(cobra.NoArgs), Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			network, err := netip.ParsePrefix(to)
			if err != nil {
				return err
			}
			gateway, err := netip.ParseAddr(via)
			if err != nil {
				return err
			}
			return environment(run.Route(network, gateway))
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the network")
	cmd.Flags().StringVar(&via, "via", "", "address of the node")
	return cmd
}

func reaperCommand() *cobra.Command {
	var id string
	var guard bool
	cmd := &cobra.Command{
		Use: "reaper", Short: "Remove a run when standard input ends", Args: usage(cobra.NoArgs), Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			signal.Ignore(os.Interrupt, syscall.SIGTERM) // it outlives what would stop the harness
			return environment(stack.Reap(context.WithoutCancel(cmd.Context()), cmd.InOrStdin(), id, guard))
		},
	}
	cmd.Flags().StringVar(&id, "run", "", "the run to remove")
	cmd.Flags().BoolVar(&guard, "guard", false, "leave where a reaper has started meanwhile")
	_ = cmd.MarkFlagRequired("run")
	return cmd
}
