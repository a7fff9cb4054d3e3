// Package docker is the stack.Runtime for a Docker engine. Everything that it creates has the run's label and is
// removed by the reaper, a container that notices when lbproof exits, even by kill -9. No other package talks to an
// engine.
package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"
	tclog "github.com/testcontainers/testcontainers-go/log"

	"github.com/lbproof/lbproof/internal/stack"
)

// Labels on everything that a run creates.
const (
	labelRun  = "lbproof.run"
	labelRole = "lbproof.role"
	labelNode = "lbproof.node"
)

// Engine is the container engine at DOCKER_HOST (default: the local socket).
type Engine struct {
	Binary   string       // path of lbproof, which runs as backend, worker, agent and reaper
	Progress func(string) // receives a line per slow step; may be nil

	client          *client.Client
	cpus            int // of the machine
	nodeImageMu     sync.Mutex
	cachedNodeImage stack.Image
}

var _ stack.Runtime = (*Engine)(nil)

var configureLibrary = sync.OnceFunc(func() {
	// The library's own reaper needs a registry and a published port; lbproof has its own.
	os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	// In a container, the library would use the default gateway as the engine's host.
	os.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	tclog.SetDefault(tclog.NewNoopLogger())
})

// Host connects to the engine. An error says what to do.
func (e *Engine) Host(ctx context.Context) (stack.Host, error) {
	configureLibrary()
	if e.Progress == nil {
		e.Progress = func(string) {}
	}
	cli, err := client.New(client.FromEnv)
	if err != nil {
		return stack.Host{}, fmt.Errorf("connect to Docker: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	found, err := cli.Info(limited, client.InfoOptions{})
	if err != nil {
		cli.Close()
		return stack.Host{}, connectError(cli.DaemonHost(), err)
	}
	info := found.Info
	e.client, e.cpus = cli, info.NCPU
	os.Setenv("DOCKER_HOST", cli.DaemonHost()) // so that the library finds the same engine
	return stack.Host{
		Runtime:  "Docker",
		Version:  info.ServerVersion,
		Address:  cli.DaemonHost(),
		System:   strings.TrimSpace(info.OperatingSystem + ", kernel " + info.KernelVersion),
		CPUs:     info.NCPU,
		Memory:   info.MemTotal,
		Features: featuresOf(info),
	}, nil
}

// connectError explains why no engine answers at an address, and what to do.
func connectError(address string, err error) error {
	if socket, ok := strings.CutPrefix(address, "unix://"); ok {
		conn, dialErr := net.Dial("unix", socket)
		if dialErr == nil {
			conn.Close()
		}
		if errors.Is(dialErr, fs.ErrPermission) {
			return fmt.Errorf("connect to Docker at %s: this user may not use it; run 'sudo usermod -aG docker $USER' "+
				"and log in again, or set DOCKER_HOST to another engine", address)
		}
	}
	return fmt.Errorf("connect to Docker at %s: no engine answers: %w; start Docker (e.g. 'sudo make engine'), or set "+
		"DOCKER_HOST to another engine", address, err)
}

// featuresOf returns the features that an engine reports. A rootless engine may lack some: it has only the cgroup
// controllers that were delegated to it.
func featuresOf(info system.Info) []stack.HostFeature {
	can := []stack.HostFeature{stack.UserSwitching}
	if info.CPUCfsQuota {
		can = append(can, stack.CPULimits)
	}
	if info.MemoryLimit {
		can = append(can, stack.MemoryLimits)
	}
	if info.CgroupDriver != "none" {
		can = append(can, stack.Freeze)
	}
	return can
}
