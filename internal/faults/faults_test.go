package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// simulated is a node in memory with its agent. Its fields disable the effects of operations.
type simulated struct {
	stack.Node   // unused by faults
	down, frozen bool
	cores        float64
	rules        int
	generation   int  // of its workers
	deaf         bool // ignores all operations
	idle         bool // nothing matches its rules
	said         string
	broken       error
	streams      *stack.Streams

	shut  bool // sees nothing; otherwise sees whatever it polls for
	looks []agent.Poll
}

func (n *simulated) State(context.Context) (stack.State, error) {
	return stack.State{Running: !n.down, Frozen: n.frozen, Cores: n.cores, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}, n.broken
}

func (n *simulated) Streams() *stack.Streams { return n.streams }

func (n *simulated) Signal(_ context.Context, signal string) error {
	switch {
	case signal == "SIGKILL" || signal == "SIGTERM":
		n.down = !n.deaf
	case !n.deaf && !strings.Contains(n.said, "broken on purpose"):
		n.generation++
	}
	return n.broken
}

func (n *simulated) Restart(context.Context) error { n.down = false; return n.broken }

func (n *simulated) Freeze(_ context.Context, frozen bool) error {
	n.frozen = frozen && !n.deaf
	return n.broken
}

func (n *simulated) LimitCPU(_ context.Context, cores float64) error {
	if !n.deaf {
		n.cores = cores
	}
	return n.broken
}

func (n *simulated) Write(_ context.Context, files ...model.File) error {
	n.said = files[0].Name + "\n" + string(files[0].Content)
	return n.broken
}

func (n *simulated) Run(_ context.Context, c stack.Command) (stack.Output, error) {
	if c.Argv[0] == "kill-process" {
		n.generation++
	}
	return stack.Output{}, n.broken
}

func (n *simulated) Processes(context.Context) ([]stack.Process, error) {
	return []stack.Process{{ID: strconv.Itoa(100 + n.generation)}}, n.broken
}

// serve handles requests like the node's agent.
func (n *simulated) serve(in io.Reader, out io.Writer) error {
	orders, answers := json.NewDecoder(in), json.NewEncoder(out)
	if err := answers.Encode(agent.Response{}); err != nil { // ready
		return err
	}
	for {
		var o agent.Request
		if err := orders.Decode(&o); err != nil {
			return err
		}
		if err := answers.Encode(n.do(o)); err != nil {
			return err
		}
	}
}

func (n *simulated) do(o agent.Request) agent.Response {
	w := agent.Response{ID: o.ID}
	if n.broken != nil {
		w.Err = n.broken.Error()
	}
	shown := 3
	if n.idle {
		shown = 0
	}
	switch {
	case o.Rule != nil:
		n.rules++
	case o.Undo != 0:
		n.rules--
		w.Affected = shown
	case o.Call != nil:
		n.said = o.Call.Path + " " + string(o.Call.Body)
		w.Body = fmt.Appendf(nil, `{"shown":%d}`, shown)
	case n.shut:
		n.looks = append(n.looks, *o.Poll)
		w.Err = "not seen"
	default:
		n.looks = append(n.looks, *o.Poll)
		w.Observed = &agent.Observation{Start: time.Duration(len(n.looks)), End: time.Minute, Outcome: agent.Refused}
	}
	return w
}

// member returns the node with its agent, as in a run.
func (n *simulated) member(t *testing.T, spec plan.Spec) *stack.Member {
	t.Helper()
	orders, in := io.Pipe()
	n.streams = stack.NewStreams(in, func(stdout, _ io.Writer) error { return n.serve(orders, stdout) })
	t.Cleanup(n.streams.Close)
	speaking, err := stack.NewAgent(t.Context(), n, nil)
	require.NoError(t, err)
	return &stack.Member{Spec: spec, Node: n, Agent: speaking}
}

// site returns a node with a role, and a peer that polls it.
func site(t *testing.T, n, peer *simulated, role plan.Role) Site {
	t.Helper()
	return Site{
		Node: n.member(t, plan.Spec{Name: "b1", Role: role, Ports: []int{8000}, ReloadSignal: "HUP", Files: map[string]string{"/etc/x.conf": "x.conf"}}),
		Peer: peer.member(t, plan.Spec{Name: "peer"}), Worker: new(simulated).member(t, plan.Spec{Name: plan.WorkerName}),
		Port: 8000, Duration: time.Second, Args: Args{"notice": "10ms"},
		RenewCerts: func(flaw string) ([]model.File, error) {
			return []model.File{model.NewFile("/tls.pem", []byte("flaw: "+flaw))}, nil
		},
		Config: model.Config{
			Files: []model.File{model.NewFile("x.conf", []byte("pool {\n  server a\n  server b\n    weight 2\n}\n"))},
			Pools: []model.Pool{{Servers: []model.Server{{Host: "a", Pos: model.Pos{File: "x.conf", Line: 2}}, {Host: "b", Pos: model.Pos{File: "x.conf", Line: 3}}}}},
		},
	}
}

// Every fault is injected, observed and undone, no longer observed afterwards, and leaves the node unchanged.
func TestEveryFault(t *testing.T) {
	for _, f := range All {
		t.Run(string(f.Name), func(t *testing.T) {
			assert.NotEmpty(t, f.Doc)
			found, err := Find(f.Name)
			require.NoError(t, err)
			assert.Equal(t, f.Name, found.Name)
			n, e := &simulated{cores: 1}, &simulated{}
			in, err := Inject(t.Context(), f, site(t, n, e, f.Roles[0]))
			require.NoError(t, err)
			_, err = in.Heal(t.Context())
			require.NoError(t, err)
			assert.Zero(t, n.rules)
			assert.False(t, n.down || n.frozen)
			assert.InDelta(t, 1, n.cores, 0)
			if f.Detect != nil && !f.SkipHealCheck {
				require.Len(t, e.looks, 2)
				assert.False(t, e.looks[0].Expect.Not)
				assert.True(t, e.looks[1].Expect.Not)
				assert.GreaterOrEqual(t, e.looks[1].Consecutive, 1)
			}
		})
	}
}

// A fault that no poll observes is an error and is undone.
func TestNoEffect(t *testing.T) {
	for _, f := range All {
		if f.Detect == nil {
			continue
		}
		n := &simulated{cores: 1}
		_, err := Inject(t.Context(), f, site(t, n, &simulated{shut: true}, f.Roles[0]))
		assert.ErrorContains(t, err, string(f.Name)+" had no effect: not seen")
		assert.Zero(t, n.rules)
		assert.False(t, n.down || n.frozen, f.Name)
	}
	_, err := Inject(t.Context(), pause, site(t, &simulated{deaf: true}, &simulated{}, plan.Backend))
	assert.ErrorContains(t, err, "the node's paused state is false instead of true")
	_, err = Inject(t.Context(), kill, site(t, &simulated{broken: errors.New("no such container")}, &simulated{}, plan.Backend))
	assert.ErrorContains(t, err, "no such container")
}

// A fault that affected nothing is an error.
func TestNothingAffected(t *testing.T) {
	f := func(fault Fault, want string) {
		t.Helper()
		in, err := Inject(t.Context(), fault, site(t, &simulated{idle: true}, &simulated{}, plan.Backend))
		require.NoError(t, err)
		_, err = in.Heal(t.Context())
		assert.ErrorContains(t, err, want)
	}
	f(blackhole, "no effect: no packet arrived while it was in force")
	f(errorRatio, "no effect: no request arrived while it was in force")
	in, err := Inject(t.Context(), cpu, site(t, &simulated{deaf: true, cores: 1}, &simulated{}, plan.Backend))
	require.NoError(t, err)
	_, err = in.Heal(t.Context())
	assert.ErrorContains(t, err, "the CPU limit was 1 cores instead of 0.05")
}

func TestValidate(t *testing.T) {
	backend := plan.Spec{Name: "b1", Role: plan.Backend}
	f := func(want, fault string, target plan.Spec, with plan.Settings) {
		t.Helper()
		err := Validate(plan.Event{Fault: plan.Fault(fault), Target: target.Name, Settings: with}, target)
		if want == "" {
			assert.NoError(t, err)
			return
		}
		assert.ErrorContains(t, err, want)
	}
	f("", "latency", backend, plan.Settings{"delay": "20ms", "spread": "normal"})
	f(`unknown fault "earthquake"`, "earthquake", backend, nil)
	f("cannot be applied to nginx, a balancer; it is for backends", "hang", plan.Spec{Name: "nginx", Role: plan.Balancer}, nil)
	f("cannot be applied to b1, which does not speak TLS", "certificate", backend, nil)
	f("", "certificate", plan.Spec{Name: "b1", Role: plan.Backend, TLSPorts: []int{8443}}, nil)
	f("", "pause", plan.Spec{Name: "redis", Role: plan.Dependency}, nil)
	f("cannot be applied to redis, a dependency; it is for backends and balancers", "cut", plan.Spec{Name: "redis", Role: plan.Dependency}, nil)
	f("cannot be applied to auth, a helper service outside the pools", "hang", plan.Spec{Name: "auth", Role: plan.Backend, Helper: true}, nil)
	f(`latency: unknown setting "duration"; settings: delay, jitter, spread, way`, "latency", backend, plan.Settings{"duration": "1s"})
	f(`"soon" is not a duration; write e.g. 50ms`, "latency", backend, plan.Settings{"delay": "soon"})
	f(`"sideways" is not one of both, in, out`, "latency", backend, plan.Settings{"way": "sideways"})
	f(`"half" is not a share; write e.g. 10%`, "loss", backend, plan.Settings{"share": "half"})
	f(`"120%" is not a share above 0% and up to 100%`, "loss", backend, plan.Settings{"share": "120%"})
	f(`"0" is not a count`, "errors", backend, plan.Settings{"status": "0"})
	f(`"wide" is not a size; write e.g. 64KiB`, "bandwidth", backend, plan.Settings{"rate": "wide"})
	f(`"few" is not a number of cores; write e.g. 0.1`, "cpu", backend, plan.Settings{"cores": "few"})
}

// A configuration is changed as requested, reloaded, and restored.
func TestReload(t *testing.T) {
	f := func(change, want string) {
		t.Helper()
		n := &simulated{}
		s := site(t, n, &simulated{}, plan.Balancer)
		s.Args = Args{"change": change}
		in, err := Inject(t.Context(), reload, s)
		require.NoError(t, err)
		assert.Equal(t, "/etc/x.conf\n"+want, n.said)
		_, err = in.Heal(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "/etc/x.conf\n"+string(s.Config.Files[0].Content), n.said)
	}
	whole := "pool {\n  server a\n  server b\n    weight 2\n}\n"
	f("none", whole)
	f("comment", whole+"\n# reloaded\n")
	f("remove", "pool {\n  server a\n}\n")
	f("broken", whole+"\nbroken on purpose {\n")

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Inject(ctx, reload, site(t, &simulated{deaf: true}, &simulated{}, plan.Balancer))
	assert.ErrorContains(t, err, "the balancer started no new process")
}

// A certificate is replaced in place, the balancer reloads, and a valid one is restored.
func TestCertificate(t *testing.T) {
	n, e := &simulated{}, &simulated{}
	s := site(t, n, e, plan.Backend)
	s.Args, s.CA, s.Host = Args{"flaw": "early"}, []byte("ours"), "a.example"
	in, err := Inject(t.Context(), certificate, s)
	require.NoError(t, err)
	assert.Equal(t, "/tls.pem\nflaw: early", n.said)
	assert.Equal(t, agent.Expectation{Outcomes: []agent.Outcome{agent.UntrustedCert}, Contains: " is before "}, e.looks[0].Expect)
	assert.Equal(t, "a.example", e.looks[0].ServerName)
	_, err = in.Heal(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "/tls.pem\nflaw: ", n.said)
	s = site(t, n, e, plan.Balancer)
	_, err = Inject(t.Context(), certificate, s)
	require.NoError(t, err)
	assert.Equal(t, 1, n.generation, "it reloads")
}

// The node's name moves with it: it resolves to the new address for the peer and the worker until the node moves back.
func TestMove(t *testing.T) {
	n, peer, worker := &simulated{}, &simulated{}, &simulated{}
	s := site(t, n, peer, plan.Backend)
	s.Worker = worker.member(t, plan.Spec{Name: plan.WorkerName})
	in, err := Inject(t.Context(), move, s)
	require.NoError(t, err)
	assert.Equal(t, []int{1, 1, 1}, []int{n.rules, peer.rules, worker.rules})
	assert.False(t, n.down)
	_, err = in.Heal(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []int{0, 0, 0}, []int{n.rules, peer.rules, worker.rules})
	worker.broken = errors.New("no agent")
	_, err = Inject(t.Context(), move, s)
	assert.ErrorContains(t, err, "no agent")
	assert.Equal(t, []int{0, 0}, []int{n.rules, peer.rules}, "no rule remains")
	assert.False(t, n.down)
	s.Node.Spec.Address = "192.0.2.7"
	_, err = Inject(t.Context(), move, s)
	assert.ErrorContains(t, err, "the configuration refers to the node by address, so it cannot move")
}

// The plan has the same fault names; those that are outages have one effect each.
func TestNamesMatchPlan(t *testing.T) {
	known := map[plan.Fault]bool{}
	for _, f := range All {
		assert.False(t, known[f.Name], "duplicate fault %s", f.Name)
		known[f.Name] = true
	}
	outages := plan.FaultsWithEffect(plan.EffectRefused, plan.EffectUnreachable, plan.EffectFrozen, plan.EffectNoResponse, plan.EffectUnhealthy, plan.EffectSlow)
	for _, f := range outages {
		assert.True(t, known[f], "unknown fault %s, which has an effect in the plan", f)
	}
	for _, one := range All {
		if one.Name.Hangs() {
			assert.Contains(t, outages, one.Name)
		}
	}
}

// A fault that the host cannot inject is rejected before the run; others are not.
func TestValidateHost(t *testing.T) {
	can := []stack.HostFeature{stack.CPULimits, stack.Freeze, stack.UserSwitching, stack.MemoryLimits}
	refused := map[stack.HostFeature][]plan.Fault{}
	for _, f := range All {
		events := []plan.Event{{Fault: f.Name, Target: "b1"}}
		require.NoError(t, ValidateHost(events, stack.Host{Features: can}), f.Name)
		for i, missing := range can {
			err := ValidateHost(events, stack.Host{Features: slices.Delete(slices.Clone(can), i, i+1)})
			if err == nil {
				continue
			}
			refused[missing] = append(refused[missing], f.Name)
			assert.EqualError(t, err, string(f.Name)+": cannot be applied to b1 on this host: "+missing.MissingText())
		}
	}
	assert.Equal(t, map[stack.HostFeature][]plan.Fault{stack.CPULimits: {plan.FaultCPU}, stack.Freeze: {plan.FaultPause}, stack.MemoryLimits: {plan.FaultMemory}}, refused)
}
