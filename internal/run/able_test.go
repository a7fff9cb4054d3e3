package run

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// able is a runtime with some host features, on which no stack can be opened.
type able struct{ can []stack.HostFeature }

var errOpened = errors.New("a stack is opened")

func (a able) Host(context.Context) (stack.Host, error) { return stack.Host{Features: a.can}, nil }

func (able) Image(context.Context, plan.Image) (stack.Image, error) { return stack.Image{}, nil }

func (able) Open(context.Context, stack.RunConfig) (stack.Stack, error) { return nil, errOpened }

// silent ignores progress.
type silent struct{}

func (silent) Step(string) {}

func (silent) Phase(string, int, int, int) {}

// A fault that the host cannot inject ends the run before anything is started.
func TestUnsupportedFaults(t *testing.T) {
	command := []string{"/lbproof", "backend"}
	p := plan.Plan{
		Schema: plan.PlanSchema, Name: "faults", Alpha: 0.01, Beta: 0.01,
		Config: model.Config{Files: []model.File{model.NewFile("lb.conf", nil)}},
		Specs: []plan.Spec{
			{Name: "balancer", Role: plan.Balancer, Command: command, VersionCommand: command, Ports: []int{80}},
			{Name: "b1", Role: plan.Backend, Command: command, Ports: []int{8000}},
		},
		Phases: []plan.Phase{{Name: "load", Engine: plan.Goroutines, Count: 1, Concurrency: 1, Timeout: time.Second, Requests: []plan.Request{{Port: 80}}}},
		Events: []plan.Event{{Fault: "kill", Target: "b1", Peer: "balancer"}, {Fault: "pause", Target: "b1", Peer: "balancer"}},
	}
	run := func(can ...stack.HostFeature) error {
		out := t.TempDir()
		dir, err := Runner{Runtime: able{can}, Progress: silent{}, Out: out}.Run(t.Context(), p)
		assert.Empty(t, dir)
		return err
	}
	require.ErrorIs(t, run(stack.Freeze), errOpened)
	err := run(stack.CPULimits, stack.UserSwitching, stack.MemoryLimits)
	assert.EqualError(t, err, `plan "faults": pause: cannot be applied to b1 on this host: this host cannot freeze a node: the engine needs the cgroup freezer`)
	p.Events = p.Events[:1]
	assert.ErrorIs(t, run(), errOpened, "kill needs no host feature")
}
