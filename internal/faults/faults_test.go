package faults

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// simulated is a node in memory. Its fields say what orders do not work on it.
type simulated struct {
	down, frozen bool
	cpus         float64
	rules        int
	generation   int  // of its workers
	deaf         bool // takes orders and does nothing
	idle         bool // nothing meets its rules
	said         string
	broken       error
}

func (n *simulated) Kill(context.Context, string) error { n.down = !n.deaf; return n.broken }

func (n *simulated) Start(context.Context) error { n.down = false; return n.broken }

func (n *simulated) Running(context.Context) (bool, error) { return !n.down, n.broken }

func (n *simulated) Pause(context.Context) error { n.frozen = !n.deaf; return n.broken }

func (n *simulated) Unpause(context.Context) error { n.frozen = false; return n.broken }

func (n *simulated) Paused(context.Context) (bool, error) { return n.frozen, n.broken }

func (n *simulated) Addresses(context.Context) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("192.0.2.7")}, n.broken
}

func (n *simulated) Write(_ context.Context, files ...model.File) error {
	n.said = files[0].Name + "\n" + string(files[0].Content)
	return n.broken
}

func (n *simulated) Signal(context.Context, string) error {
	if !n.deaf && !strings.Contains(n.said, "broken on purpose") {
		n.generation++
	}
	return n.broken
}

func (n *simulated) KillOne(context.Context, string) error { n.generation++; return n.broken }

func (n *simulated) Processes(context.Context) ([]string, error) {
	return []string{strconv.Itoa(100 + n.generation)}, n.broken
}

func (n *simulated) Limit(_ context.Context, cpus float64) (before float64, err error) {
	before = n.cpus
	if !n.deaf {
		n.cpus = cpus
	}
	return before, n.broken
}

func (n *simulated) Enforce(context.Context, agent.Rule) (func(context.Context) (int, error), error) {
	n.rules++
	return func(context.Context) (int, error) {
		n.rules--
		if n.idle {
			return 0, nil
		}
		return 3, nil
	}, n.broken
}

func (n *simulated) Call(_ context.Context, path string, body []byte) ([]byte, error) {
	n.said = path + " " + string(body)
	if n.idle {
		return []byte(`{"shown":0}`), n.broken
	}
	return []byte(`{"shown":3}`), n.broken
}

// eyes see whatever is looked for, unless they are shut.
type eyes struct {
	shut  bool
	looks []agent.Look
}

func (e *eyes) Look(_ context.Context, l agent.Look) (agent.Seen, error) {
	e.looks = append(e.looks, l)
	if e.shut {
		return agent.Seen{}, errors.New("not seen")
	}
	return agent.Seen{From: time.Duration(len(e.looks)), To: time.Minute, End: agent.Refused}, nil
}

func site(n *simulated, role plan.Role) Site {
	return Site{
		Node: n, Peer: &simulated{}, Worker: &simulated{}, Port: 8000, For: time.Second, Args: Args{"notice": "10ms"},
		Renew: func(flaw string) ([]model.File, error) {
			return []model.File{model.NewFile("/tls.pem", []byte("flaw: "+flaw))}, nil
		},
		Spec: plan.Spec{Name: "b1", Role: role, Ports: []int{8000}, Reload: "HUP", Files: map[string]string{"/etc/x.conf": "x.conf"}},
		Config: model.Config{
			Files: []model.File{model.NewFile("x.conf", []byte("pool {\n  server a\n  server b\n    weight 2\n}\n"))},
			Pools: []model.Pool{{Servers: []model.Server{{Host: "a", Pos: model.Pos{File: "x.conf", Line: 2}}, {Host: "b", Pos: model.Pos{File: "x.conf", Line: 3}}}}},
		},
	}
}

// Every fault is put in force, seen, taken back and seen to be gone, and leaves the node as it was.
func TestEveryFault(t *testing.T) {
	for _, f := range All {
		t.Run(string(f.Name), func(t *testing.T) {
			assert.NotEmpty(t, f.Doc)
			found, err := Find(f.Name)
			require.NoError(t, err)
			assert.Equal(t, f.Name, found.Name)
			n, e := &simulated{cpus: 1}, &eyes{}
			in, err := Inject(t.Context(), f, site(n, f.On[0]), e)
			require.NoError(t, err)
			_, err = in.Heal(t.Context())
			require.NoError(t, err)
			assert.Zero(t, n.rules)
			assert.False(t, n.down || n.frozen)
			assert.InDelta(t, 1, n.cpus, 0)
			if f.Shows != nil && !f.Lasting {
				require.Len(t, e.looks, 2)
				assert.False(t, e.looks[0].Want.Not)
				assert.True(t, e.looks[1].Want.Not)
				assert.GreaterOrEqual(t, e.looks[1].InARow, 1)
			}
		})
	}
}

// A fault that nobody sees is no fault, and is taken back.
func TestNoEffect(t *testing.T) {
	for _, f := range All {
		if f.Shows == nil {
			continue
		}
		n := &simulated{cpus: 1}
		_, err := Inject(t.Context(), f, site(n, f.On[0]), &eyes{shut: true})
		assert.ErrorContains(t, err, string(f.Name)+" took no effect: not seen")
		assert.Zero(t, n.rules)
		assert.False(t, n.down || n.frozen, f.Name)
	}
	_, err := Inject(t.Context(), pause, site(&simulated{deaf: true}, plan.Backend), &eyes{})
	assert.ErrorContains(t, err, "the node is paused: false, after it was ordered: true")
	_, err = Inject(t.Context(), kill, site(&simulated{broken: errors.New("no such container")}, plan.Backend), &eyes{})
	assert.ErrorContains(t, err, "no such container")
}

// What nothing met while it was there had no effect either.
func TestNothingMetIt(t *testing.T) {
	f := func(fault Fault, want string) {
		t.Helper()
		in, err := Inject(t.Context(), fault, site(&simulated{idle: true}, plan.Backend), &eyes{})
		require.NoError(t, err)
		_, err = in.Heal(t.Context())
		assert.ErrorContains(t, err, want)
	}
	f(blackhole, "nothing passed while it was in force")
	f(errorRatio, "no request met it while it was in force")
	in, err := Inject(t.Context(), cpu, site(&simulated{deaf: true, cpus: 1}, plan.Backend), &eyes{})
	require.NoError(t, err)
	_, err = in.Heal(t.Context())
	assert.ErrorContains(t, err, "its limit was 1 cores when it should have been 0.05")
}

func TestCheck(t *testing.T) {
	backend := plan.Spec{Name: "b1", Role: plan.Backend}
	f := func(want, fault string, target plan.Spec, with plan.Settings) {
		t.Helper()
		err := Check(plan.Event{Fault: plan.Fault(fault), Target: target.Name, With: with}, target)
		if want == "" {
			assert.NoError(t, err)
			return
		}
		assert.ErrorContains(t, err, want)
	}
	f("", "latency", backend, plan.Settings{"delay": "20ms", "spread": "normal"})
	f(`no fault is called "earthquake"`, "earthquake", backend, nil)
	f("it is a balancer, and the fault is for backends", "hang", plan.Spec{Name: "nginx", Role: plan.Balancer}, nil)
	f("it speaks no TLS", "certificate", backend, nil)
	f("", "certificate", plan.Spec{Name: "b1", Role: plan.Backend, TLS: []int{8443}}, nil)
	f("", "pause", plan.Spec{Name: "redis", Role: plan.Dependency}, nil)
	f("it is a dependency, and the fault is for backends and balancers", "cut", plan.Spec{Name: "redis", Role: plan.Dependency}, nil)
	f("does not misbehave", "hang", plan.Spec{Name: "auth", Role: plan.Backend, Helper: true}, nil)
	f(`latency has no setting "duration"; it has delay, jitter, spread, way`, "latency", backend, plan.Settings{"duration": "1s"})
	f("invalid duration", "latency", backend, plan.Settings{"delay": "soon"})
	f("sideways is none of both, in, out", "latency", backend, plan.Settings{"way": "sideways"})
	f("half is no share, as 10%", "loss", backend, plan.Settings{"share": "half"})
	f("120% is no share between 0% and 100%", "loss", backend, plan.Settings{"share": "120%"})
	f("0 is no count", "errors", backend, plan.Settings{"status": "0"})
	f("invalid size", "bandwidth", backend, plan.Settings{"rate": "wide"})
	f("invalid syntax", "cpu", backend, plan.Settings{"cores": "few"})
}

// A configuration is changed as asked for, taken over, and put back as it was.
func TestReload(t *testing.T) {
	f := func(change, want string) {
		t.Helper()
		n := &simulated{}
		s := site(n, plan.Balancer)
		s.Args = Args{"change": change}
		in, err := Inject(t.Context(), reload, s, &eyes{})
		require.NoError(t, err)
		assert.Equal(t, "/etc/x.conf\n"+want, n.said)
		_, err = in.Heal(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "/etc/x.conf\n"+string(s.Config.Files[0].Content), n.said)
	}
	whole := "pool {\n  server a\n  server b\n    weight 2\n}\n"
	f("none", whole)
	f("comment", whole+"\n# taken over\n")
	f("remove", "pool {\n  server a\n}\n")
	f("broken", whole+"\nbroken on purpose {\n")

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Inject(ctx, reload, site(&simulated{deaf: true}, plan.Balancer), &eyes{})
	assert.ErrorContains(t, err, "the balancer has made no new process")
}

// A certificate is replaced where it lies, the balancer told, and a good one put back.
func TestCertificate(t *testing.T) {
	n, e := &simulated{}, &eyes{}
	s := site(n, plan.Backend)
	s.Args, s.Trust, s.Host = Args{"flaw": "early"}, []byte("ours"), "a.example"
	in, err := Inject(t.Context(), certificate, s, e)
	require.NoError(t, err)
	assert.Equal(t, "/tls.pem\nflaw: early", n.said)
	assert.Equal(t, agent.Want{Ends: []agent.End{agent.Distrust}, Says: " is before "}, e.looks[0].Want)
	assert.Equal(t, "a.example", e.looks[0].Host)
	_, err = in.Heal(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "/tls.pem\nflaw: ", n.said)
	s = site(n, plan.Balancer)
	_, err = Inject(t.Context(), certificate, s, e)
	require.NoError(t, err)
	assert.Equal(t, 1, n.generation, "it is told to take over its configuration")
}

// Who has the node's name moves with it: the name means the new address for its peer and for the worker, until it moves back.
func TestMove(t *testing.T) {
	n, peer, worker := &simulated{}, &simulated{}, &simulated{}
	s := site(n, plan.Backend)
	s.Peer, s.Worker = peer, worker
	in, err := Inject(t.Context(), move, s, &eyes{})
	require.NoError(t, err)
	assert.Equal(t, []int{1, 1, 1}, []int{n.rules, peer.rules, worker.rules})
	assert.False(t, n.down)
	_, err = in.Heal(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []int{0, 0, 0}, []int{n.rules, peer.rules, worker.rules})
	worker.broken = errors.New("no agent")
	_, err = Inject(t.Context(), move, s, &eyes{})
	assert.ErrorContains(t, err, "no agent")
	assert.Equal(t, []int{0, 0}, []int{n.rules, peer.rules}, "nothing of it stays")
	assert.False(t, n.down)
	s.Spec.Address = "192.0.2.7"
	_, err = Inject(t.Context(), move, s, &eyes{})
	assert.ErrorContains(t, err, "the configuration knows it by its address")
}

// The plan knows every fault's name and no other; those that are outages have one effect each.
func TestNamesAreThePlans(t *testing.T) {
	known := map[plan.Fault]bool{}
	for _, f := range All {
		assert.False(t, known[f.Name], "two faults are called %s", f.Name)
		known[f.Name] = true
	}
	outages := plan.Faults(plan.Refuses, plan.Vanishes, plan.Freezes, plan.Stalls, plan.Lies, plan.Slows)
	for _, f := range outages {
		assert.True(t, known[f], "no fault is called %s, which has an effect in the plan", f)
	}
	for _, one := range All {
		if one.Name.Hangs() {
			assert.Contains(t, outages, one.Name)
		}
	}
}
