// Package docker is the runtime of containers. Everything it makes carries the run's label and is removed by the
// reaper, a container that notices when the harness is gone, however it went. No other package of lbproof speaks with
// an engine.
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

// Labels on everything that a run makes.
const (
	labelRun  = "lbproof.run"
	labelRole = "lbproof.role"
	labelNode = "lbproof.node"
)

// Engine is the container engine that the environment names (DOCKER_HOST, or the local socket).
type Engine struct {
	Binary   string       // path of lbproof, which plays backend, worker and reaper
	Progress func(string) // told what takes long; may be nil

	client          *client.Client
	cpus            int // of the machine
	nodeImageMu     sync.Mutex
	cachedNodeImage stack.Image
}

var _ stack.Runtime = (*Engine)(nil)

var configureLibrary = sync.OnceFunc(func() {
	// The library's own reaper cannot be had without a registry and wants a published port; ours does its work.
	os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	// In a container the library would take the default gateway for the engine's host.
	os.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	tclog.SetDefault(tclog.NewNoopLogger())
})

// Host finds the engine, or says how to get one.
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

// featuresOf are what an engine says that its kernel lets it do. One without root may lack some: it has the
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
