package scenarios

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/faults"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Events puts the scenario's faults on the plan's clock.
func (s Scenario) Events(p *plan.Plan) error {
	for _, f := range s.Faults {
		fault, err := faults.Find(f.Fault)
		if err != nil {
			return fmt.Errorf("%s:%d: %w; lbproof list faults shows them", s.File, f.Line, err)
		}
		nodes, err := findTargets(p, f)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", s.File, f.Line, err)
		}
		if f.Phase == "" {
			f.Phase = s.Phases[0].Name
		}
		phase := slices.IndexFunc(p.Phases, func(l plan.Phase) bool { return l.Name == f.Phase })
		if phase < 0 {
			return fmt.Errorf("%s:%d: the scenario has no phase %s", s.File, f.Line, f.Phase)
		}
		for _, node := range nodes {
			e := plan.Event{
				Phase: phase, Duration: f.Duration, Fault: f.Fault, Target: node.Name, Peer: peerName(p, f.Peer, node),
				Settings: plan.Settings(faults.Args(f.With).WithDefaults(fault)),
			}
			if err := checkEvent(p, e, node); err != nil {
				return fmt.Errorf("%s:%d: %w", s.File, f.Line, err)
			}
			if fault.NeedsMaster && node.Role == plan.Balancer {
				enableMaster(p)
			}
			f := f
			if f.Adapt {
				ExtendPhase(&p.Phases[phase], f.RecoveredAt(p.Config, node.Name))
				f = f.Adapted(p.Config, node.Name)
				e.Duration = f.Duration
			}
			p.Events = append(p.Events, f.Occurrences(e)...)
		}
	}
	return checkOverlaps(s.File, p.Events)
}

// outageMargin is how much longer than the configuration's own times a death lasts, and the time after it.
const outageMargin = 2 * time.Second

// maxAwaitedTimeout is the longest timeout that a fault waits for; longer ones belong to tunnels.
const maxAwaitedTimeout = 2 * time.Minute

// Adapted gives the configuration the time that it asks for to find a server dead, and to find it alive again.
func (f Fault) Adapted(cfg model.Config, node string) Fault {
	back := time.Duration(0) // after the recovery
	for _, pool := range cfg.Pools {
		for _, s := range pool.Servers {
			if s.Host != node {
				continue
			}
			if a := s.HealthCheck; a != nil {
				_, refused, hanging := a.DetectionTime()
				_, up := a.RecoveryTime()
				if f.Fault.Hangs() {
					refused = hanging
				}
				f.Duration, back, f.Sweep = max(f.Duration, refused+outageMargin), max(back, up+outageMargin), max(f.Sweep, a.Interval)
			}
			if p := s.Ejection; p != nil {
				out := p.Duration + time.Second + outageMargin
				if p.Duration >= f.Duration { // otherwise it is tried again while it is dead
					out -= f.Duration
				}
				back = max(back, out)
			}
		}
	}
	if f.Fault.Hangs() { // and to find out that one attempt has failed
		for _, r := range cfg.Routes {
			for _, t := range r.Timeouts {
				if t.Kind == model.ReadTimeout && t.Duration <= maxAwaitedTimeout {
					f.Duration = max(f.Duration, t.Duration+outageMargin)
				}
			}
		}
	}
	f.Every = max(f.Every, f.Duration+back+maxSweepShift(f.Sweep))
	return f
}

// maxSweepShift is the most by which two deaths come closer that each come at another moment.
func maxSweepShift(d time.Duration) time.Duration { return time.Duration(goldenFraction * float64(d)) }

// RecoveredAt is until when a fault that adapts is over for the last time, and known to be, and a while after it.
func (f Fault) RecoveredAt(cfg model.Config, node string) time.Duration {
	f = f.Adapted(cfg, node)
	last := f.At
	for _, e := range f.Occurrences(plan.Event{}) {
		last = max(last, e.At)
	}
	return last + f.Every - maxSweepShift(f.Sweep) + 2*outageMargin // no other comes, closer or not
}

// ExtendPhase has an open loop go on for a time at least.
func ExtendPhase(l *plan.Phase, d time.Duration) {
	l.Count = max(l.Count, int(l.Rate*d.Seconds()))
}

// enableMaster gives the balancer a master process, where it has none by itself and a fault needs one.
func enableMaster(p *plan.Plan) {
	process := p.Config.Dialect.Process
	for i, spec := range p.Specs {
		if spec.Role == plan.Balancer && len(process.MasterArgs) > 0 && spec.ReloadSignal == "" {
			p.Specs[i].Command = slices.Insert(slices.Clone(spec.Command), 1, process.MasterArgs...)
			p.Specs[i].ReloadSignal, p.Specs[i].HasMaster = process.ReloadSignal, true
		}
	}
}

// goldenFraction is the golden ratio less one: its multiples, less their whole parts, lie evenly in 0 to 1 however many they
// are, and keep step with no clock (H. Weyl, Mathematische Annalen 77, 1916).
const goldenFraction = 0.6180339887

// Occurrences is an event as often as the fault comes, each time at another moment of what the balancer does regularly.
func (f Fault) Occurrences(e plan.Event) []plan.Event {
	var all []plan.Event
	for i := range cmp.Or(f.Times, 1) {
		_, part := math.Modf(float64(i) * goldenFraction)
		e.At = f.At + time.Duration(i)*f.Every + time.Duration(part*float64(f.Sweep))
		all = append(all, e)
	}
	return all
}

// checkEvent says why an event cannot be.
func checkEvent(p *plan.Plan, e plan.Event, target plan.Spec) error {
	if err := faults.Validate(e, target); err != nil {
		return err
	}
	isPeer := func(spec plan.Spec) bool { return spec.Name == e.Peer }
	known := e.Peer == plan.WorkerName || slices.ContainsFunc(p.Specs, isPeer)
	if !known || e.Peer == e.Target {
		return fmt.Errorf("%s cannot be the other end of a fault on %s: it is no other node of the run", e.Peer, e.Target)
	}
	return nil
}

// peerName is the name of the other end; of the one that asks the node where the fault names none.
func peerName(p *plan.Plan, name string, target plan.Spec) string {
	switch {
	case name == "" && target.Role == plan.Dependency:
		isBackend := func(spec plan.Spec) bool { return spec.Role == plan.Backend }
		return p.Specs[slices.IndexFunc(p.Specs, isBackend)].Name // there are always some
	case name == "balancer", name == "" && target.Role == plan.Backend:
		return BalancerSpec(p).Name
	case name == "client", name == "":
		return plan.WorkerName
	}
	if i := FindNode(p.Specs, name); i >= 0 {
		return p.Specs[i].Name
	}
	if plan.HarnessName(name) == plan.WorkerName {
		return plan.WorkerName
	}
	return name
}

// FindNode is the place of the node that a scenario means by a name: the server that has it, else the node of lbproof's
// own that has it as its short name; -1 where there is none.
func FindNode(specs []plan.Spec, name string) int {
	if i := slices.IndexFunc(specs, func(spec plan.Spec) bool { return model.SameHost(spec.Name, name) }); i >= 0 {
		return i
	}
	return slices.IndexFunc(specs, func(spec plan.Spec) bool { return spec.Name == plan.HarnessName(name) })
}

func BalancerSpec(p *plan.Plan) plan.Spec {
	i := slices.IndexFunc(p.Specs, func(spec plan.Spec) bool { return spec.Role == plan.Balancer })
	return p.Specs[i] // every plan has one
}

// findTargets are the nodes that a fault is put on: one by its name, or by a name that fits any configuration: the
// balancer, or servers of the first pool that has two or more.
func findTargets(p *plan.Plan, f Fault) ([]plan.Spec, error) {
	name := f.Target
	if name == "balancer" && !f.Designed {
		return []plan.Spec{BalancerSpec(p)}, nil
	}
	if i := FindNode(p.Specs, name); i >= 0 {
		return p.Specs[i : i+1], nil
	}
	var primaries, backups []plan.Spec
	for _, pool := range p.Config.Pools {
		if len(pool.Servers) < 2 {
			continue
		}
		for _, server := range pool.Servers {
			at := slices.IndexFunc(p.Specs, func(spec plan.Spec) bool { return spec.Name == server.Host })
			switch {
			case at < 0 || server.Down || server.Drain:
			case server.Backup:
				backups = append(backups, p.Specs[at])
			default:
				primaries = append(primaries, p.Specs[at])
			}
		}
		break
	}
	found := map[string][]plan.Spec{"primaries": primaries, "backups": backups}
	if n := len(primaries); n > 0 {
		found["last server"] = primaries[n-1:]
	}
	if n, ok := serverNumber(name); ok && n <= len(primaries) {
		found[name] = primaries[n-1 : n]
	}
	if len(found[name]) == 0 {
		return nil, fmt.Errorf("the run has no node %q to break: name one of %s, or balancer, server 1 and so on, "+
			"last server, primaries, backups of the first pool with two servers or more",
			name, strings.Join(nodeNames(p), ", "))
	}
	return found[name], nil
}

// serverNumber is the 3 of "server 3". ok is false of other names, and of numbers below 1.
func serverNumber(name string) (n int, ok bool) {
	number, numbered := strings.CutPrefix(name, "server ")
	n, err := strconv.Atoi(number)
	return n, numbered && err == nil && n > 0
}

func nodeNames(p *plan.Plan) []string {
	var names []string
	for _, spec := range p.Specs {
		names = append(names, spec.Name)
	}
	return names
}

// checkOverlaps says where two faults that change the same thing of a node would meet: neither could be taken back as it was.
func checkOverlaps(file string, events []plan.Event) error {
	for i, a := range events {
		for _, b := range events[i+1:] {
			same := a.Target == b.Target && a.Fault == b.Fault && a.Phase == b.Phase
			meet := a.At < b.At+b.Duration && b.At < a.At+a.Duration
			if same && meet {
				return fmt.Errorf("%s: %s of %s begins at %s, before the one of %s is over", file, b.Fault, b.Target, b.At, a.At)
			}
		}
	}
	return nil
}
