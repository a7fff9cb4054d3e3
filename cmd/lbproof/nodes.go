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
	"github.com/lbproof/lbproof/internal/stack/docker"
)

// Hidden verbs that plans and the harness run in containers.

// hiddenCommand returns a hidden verb without arguments.
func hiddenCommand(use, short string, do func(cmd *cobra.Command) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: usage(cobra.NoArgs), Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return do(cmd) },
	}
}

// backendFlags configure a backend.
type backendFlags struct {
	service                 backends.Service
	listen                  []int
	control                 int
	ledger, postgres, redis string
}

func backendCommand() *cobra.Command {
	var s backendFlags
	var healthy int
	cmd := hiddenCommand("backend", "Serve as a backend", func(cmd *cobra.Command) error {
		if healthy != 0 {
			return environment(checkHealth(cmd.Context(), healthy, slices.Contains(s.service.TLSPorts, healthy)))
		}
		return environment(s.serve(cmd))
	})
	cmd.Example = "  HOST_TAG=back-01 lbproof backend --listen 8000 --control 7070"
	flags := cmd.Flags()
	flags.IntSliceVar(&s.listen, "listen", []int{8000}, "traffic ports")
	flags.IntVar(&s.control, "control", 7070, "port that serves the ledger")
	flags.StringVar(&s.ledger, "ledger", "",
		"file of the ledger (default: a temporary file, removed when the process exits)")
	flags.StringSliceVar(&s.service.RecordHeaders, "observe", nil, "request headers to record in the ledger")
	flags.StringSliceVar(&s.service.Prefixes, "prefixes", nil, "path prefixes under which the API is also served")
	flags.StringSliceVar(&s.service.HealthPaths, "health-paths", nil, "more paths that respond like /health")
	flags.IntSliceVar(&s.service.TLSPorts, "tls", nil, "traffic ports with TLS")
	flags.StringVar(&s.service.CertFile, "certificate", "", "PEM file with the certificate and key for --tls")
	flags.StringVar(&s.postgres, "postgres", "", "host:port of the PostgreSQL that /ready and /api/health/detailed check")
	flags.StringVar(&s.redis, "redis", "", "host:port of the Redis that they check")
	flags.BoolVar(&s.service.Helper, "helper", false, "respond 200 to every request and keep no ledger")
	flags.IntVar(&healthy, "healthy", 0, "check the health of the backend on this port and exit")
	return cmd
}

// serve runs the backend until the command's context ends. A helper has neither ledger nor dependencies.
func (s *backendFlags) serve(cmd *cobra.Command) error {
	service := &s.service
	service.Tag, service.Key = os.Getenv("HOST_TAG"), os.Getenv(backends.KeyVariable)
	service.IDHeader, service.ServerHeader = history.IDHeader, history.ServerHeader
	service.SizeHeader, service.ResponseSpecHeader = history.SizeHeader, history.ResponseSpecHeader
	service.Log = slog.New(slog.NewJSONHandler(unquoted(cmd.OutOrStdout()), nil))
	if service.Helper {
		return service.Listen(cmd.Context(), s.listen, s.control)
	}
	var err error
	if service.Ledger, err = backends.OpenLedger(s.ledger); err != nil {
		return err
	}
	if s.postgres != "" {
		need, err := backends.Postgres(s.postgres)
		if err != nil {
			return err
		}
		service.Dependencies = append(service.Dependencies, need)
	}
	if s.redis != "" {
		service.Dependencies = append(service.Dependencies, backends.Redis(s.redis))
	}
	return service.Listen(cmd.Context(), s.listen, s.control)
}

// checkHealth is the container's health check: GET /health must respond 200.
func checkHealth(ctx context.Context, port int, secure bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	scheme, client := "http", &http.Client{}
	if secure { // the container's health check accepts any certificate
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
	return hiddenCommand("worker", "Send the traffic requested on standard input", func(cmd *cobra.Command) error {
		return environment(run.Work(cmd.Context(), cmd.InOrStdin(), unquoted(cmd.OutOrStdout())))
	})
}

func agentCommand() *cobra.Command {
	var ports []int
	var local map[string]int
	var shared []string
	cmd := hiddenCommand("agent", "Inject the faults requested on standard input", func(cmd *cobra.Command) error {
		var services []agent.LocalForward
		for host, port := range local {
			services = append(services, agent.LocalForward{Port: port, Host: host})
		}
		for _, dir := range shared {
			if err := os.Chmod(dir, 0o1777); err != nil { // the node's process may run as any user
				return environment(fmt.Errorf("share %s with the node: %w", dir, err))
			}
		}
		in, out, key := cmd.InOrStdin(), unquoted(cmd.OutOrStdout()), os.Getenv(backends.KeyVariable)
		if err := agent.Serve(cmd.Context(), in, out, ports, services, key); err != nil {
			return environment(err)
		}
		// The reaper removes agents one at a time, because Docker miscounts containers that leave a network concurrently.
		sleep.For(cmd.Context(), 2*time.Minute)
		return nil
	})
	cmd.Flags().IntSliceVar(&ports, "ports", nil, "record attempts to connect to these ports")
	cmd.Flags().StringSliceVar(&shared, "shared", nil, "directories to share with the node")
	cmd.Flags().StringToIntVar(&local, "local", nil,
		"services of other nodes to forward from the loopback address (e.g. redis=6379)")
	return cmd
}

func killProcessCommand() *cobra.Command {
	var title string
	cmd := hiddenCommand("kill-process", "Kill the youngest process with a title", func(*cobra.Command) error {
		return environment(killProcess(title))
	})
	cmd.Flags().StringVar(&title, "title", "", "prefix of its command line")
	_ = cmd.MarkFlagRequired("title")
	return cmd
}

// killProcess kills the process with the highest id whose command line has a prefix, except process 1: the master.
func killProcess(title string) error {
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return fmt.Errorf("list the processes: %w", err)
	}
	last := 0
	for _, name := range names {
		text, err := os.ReadFile(name)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && pid > max(last, 1) && strings.HasPrefix(string(text), title) {
			last = pid
		}
	}
	if last == 0 {
		return fmt.Errorf("no process has the title %q", title)
	}
	if err := syscall.Kill(last, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill process %d: %w", last, err)
	}
	return nil
}

func renameFilesCommand() *cobra.Command {
	var suffix string
	var to []string
	cmd := hiddenCommand("rename-files", "Rename files in the container of process 1", func(*cobra.Command) error {
		const root = "/proc/1/root"
		for _, name := range to {
			if err := os.Rename(root+name+suffix, root+name); err != nil {
				return environment(err)
			}
		}
		return nil
	})
	cmd.Flags().StringVar(&suffix, "from-suffix", "", "suffix to remove")
	cmd.Flags().StringArrayVar(&to, "to", nil, "new names, absolute paths in the container")
	return cmd
}

func waitPortsCommand() *cobra.Command {
	var ports []int
	var within, settle time.Duration
	cmd := hiddenCommand("wait-ports", "Wait until local ports accept connections", func(cmd *cobra.Command) error {
		return environment(waitPorts(cmd.Context(), ports, within, settle))
	})
	cmd.Flags().IntSliceVar(&ports, "ports", nil, "ports to wait for")
	cmd.Flags().DurationVar(&within, "within", 10*time.Second, "timeout")
	cmd.Flags().DurationVar(&settle, "settle", 0, "how long to wait after that")
	return cmd
}

// waitPorts waits until every port accepts a connection, then for settle.
func waitPorts(ctx context.Context, ports []int, within, settle time.Duration) error {
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
				return fmt.Errorf("port %d accepts no connection: %w", port, err)
			}
		}
	}
	sleep.For(ctx, settle)
	return nil
}

func addRouteCommand() *cobra.Command {
	var to, via string
	cmd := hiddenCommand("add-route", "Route a network through a node", func(*cobra.Command) error {
		network, err := netip.ParsePrefix(to)
		if err != nil {
			return err
		}
		gateway, err := netip.ParseAddr(via)
		if err != nil {
			return err
		}
		return environment(run.AddRoute(network, gateway))
	})
	cmd.Flags().StringVar(&to, "to", "", "network (e.g. 198.18.0.0/20)")
	cmd.Flags().StringVar(&via, "via", "", "address of the gateway")
	return cmd
}

func reaperCommand() *cobra.Command {
	var id string
	var guard bool
	cmd := hiddenCommand("reaper", "Remove a run when standard input ends", func(cmd *cobra.Command) error {
		signal.Ignore(os.Interrupt, syscall.SIGTERM) // it must outlive the harness
		return environment(docker.Reap(context.WithoutCancel(cmd.Context()), cmd.InOrStdin(), id, guard))
	})
	cmd.Flags().StringVar(&id, "run", "", "id of the run")
	cmd.Flags().BoolVar(&guard, "guard", false, "exit when the reaper has started")
	_ = cmd.MarkFlagRequired("run")
	return cmd
}
