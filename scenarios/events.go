package scenarios

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/scenarios/faults"
)

// events puts the scenario's faults on the plan's clock.
func (s Scenario) events(plan *lb.Plan) error {
	for _, f := range s.Faults {
		fault, err := faults.Find(f.Fault)
		if err != nil {
			return fmt.Errorf("%s:%d: %w; lbproof list faults shows them", s.File, f.Line, err)
		}
		nodes, err := targets(plan, f)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", s.File, f.Line, err)
		}
		if f.Phase == "" {
			f.Phase = s.Phases[0].Name
		}
		phase := slices.IndexFunc(plan.Loads, func(l lb.Load) bool { return l.Name == f.Phase })
		if phase < 0 {
			return fmt.Errorf("%s:%d: the scenario has no phase %s", s.File, f.Line, f.Phase)
		}
		for _, node := range nodes {
			e := lb.Event{Phase: phase, For: f.For, Fault: f.Fault, Target: node.Name, Peer: peer(plan, f.Peer, node), With: faults.Args(f.With).WithDefaults(fault)}
			if err := possible(plan, e, node); err != nil {
				return fmt.Errorf("%s:%d: %w", s.File, f.Line, err)
			}
			if fault.Masters && node.Role == lb.Balancer {
				mastered(plan)
			}
			f := f
			if f.Adapt {
				lengthen(&plan.Loads[phase], f.lasts(plan.Config, node.Name))
				f = f.adapted(plan.Config, node.Name)
				e.For = f.For
			}
			plan.Events = append(plan.Events, f.repeated(e)...)
		}
	}
	return apart(s.File, plan.Events)
}

// spare is how much longer than the configuration's own times a death lasts, and the time after it.
const spare = 2 * time.Second

// patience is the longest timeout that a fault waits for; longer ones belong to tunnels.
const patience = 2 * time.Minute

// adapted gives the configuration the time that it asks for to find a server dead, and to find it alive again.
func (f Fault) adapted(cfg lb.Config, node string) Fault {
	back := time.Duration(0) // after the recovery
	for _, pool := range cfg.Pools {
		for _, s := range pool.Servers {
			if s.Host != node {
				continue
			}
			if a := s.Active; a != nil {
				_, refused, hanging := a.Down()
				_, up := a.Up()
				if faults.Hangs(f.Fault) {
					refused = hanging
				}
				f.For, back, f.Sweep = max(f.For, refused+spare), max(back, up+spare), max(f.Sweep, a.Interval)
			}
			if p := s.Passive; p != nil {
				out := p.Out + time.Second + spare
				if p.Out >= f.For { // otherwise it is tried again while it is dead
					out -= f.For
				}
				back = max(back, out)
			}
		}
	}
	if faults.Hangs(f.Fault) { // and to find out that one attempt has failed
		for _, r := range cfg.Routes {
			for _, t := range r.Timeouts {
				if t.For == lb.ReadTimeout && t.After <= patience {
					f.For = max(f.For, t.After+spare)
				}
			}
		}
	}
	f.Every = max(f.Every, f.For+back+sweeps(f.Sweep))
	return f
}

// sweeps is the most by which two deaths come closer that each come at another moment.
func sweeps(d time.Duration) time.Duration { return time.Duration(golden * float64(d)) }

// lasts is until when a fault that adapts is over for the last time, and known to be, and a while after it.
func (f Fault) lasts(cfg lb.Config, node string) time.Duration {
	f = f.adapted(cfg, node)
	last := f.At
	for _, e := range f.repeated(lb.Event{}) {
		last = max(last, e.At)
	}
	return last + f.Every - sweeps(f.Sweep) + 2*spare // no other comes, closer or not
}

// lengthen has an open loop go on for a time at least.
func lengthen(l *lb.Load, d time.Duration) {
	l.Count = max(l.Count, int(l.Rate*d.Seconds()))
}

// mastered gives the balancer a master process, where it has none by itself and a fault needs one.
func mastered(plan *lb.Plan) {
	for i, spec := range plan.Specs {
		if spec.Role == lb.Balancer && plan.Config.Balancer == "haproxy" && spec.Reload == "" {
			plan.Specs[i].Command = slices.Insert(slices.Clone(spec.Command), 1, "-W")
			plan.Specs[i].Reload, plan.Specs[i].Master = "USR2", true
		}
	}
}

// golden is the golden ratio less one: its multiples, less their whole parts, lie evenly in 0 to 1 however many they are, and
// keep step with no clock (H. Weyl, Mathematische Annalen 77, 1916).
const golden = 0.6180339887

// repeated is an event as often as the fault comes, each time at another moment of what the balancer does regularly.
func (f Fault) repeated(e lb.Event) []lb.Event {
	var all []lb.Event
	for i := range or(f.Times, 1) {
		_, part := math.Modf(float64(i) * golden)
		e.At = f.At + time.Duration(i)*f.Every + time.Duration(part*float64(f.Sweep))
		all = append(all, e)
	}
	return all
}

// possible says why an event cannot be.
func possible(plan *lb.Plan, e lb.Event, target lb.Spec) error {
	if err := faults.Check(e, target); err != nil {
		return err
	}
	known := e.Peer == lb.WorkerName || slices.ContainsFunc(plan.Specs, func(spec lb.Spec) bool { return spec.Name == e.Peer })
	if !known || e.Peer == e.Target {
		return fmt.Errorf("%s cannot be the other end of a fault on %s: it is no other node of the run", e.Peer, e.Target)
	}
	return nil
}

// peer is the name of the other end; of the one that asks the node where the fault names none.
func peer(plan *lb.Plan, name string, target lb.Spec) string {
	switch {
	case name == "" && target.Role == lb.Dependency:
		return plan.Specs[slices.IndexFunc(plan.Specs, func(spec lb.Spec) bool { return spec.Role == lb.Backend })].Name // there are always some
	case name == "balancer", name == "" && target.Role == lb.Backend:
		return balancer(plan).Name
	case name == "client", name == "":
		return lb.WorkerName
	}
	if i := called(plan.Specs, name); i >= 0 {
		return plan.Specs[i].Name
	}
	if lb.OwnName(name) == lb.WorkerName {
		return lb.WorkerName
	}
	return name
}

// called is the place of the node that a scenario means by a name: the server that has it, else the node of lbproof's own that has it
// as its short name; -1 where there is none.
func called(specs []lb.Spec, name string) int {
	if i := slices.IndexFunc(specs, func(spec lb.Spec) bool { return lb.SameHost(spec.Name, name) }); i >= 0 {
		return i
	}
	return slices.IndexFunc(specs, func(spec lb.Spec) bool { return spec.Name == lb.OwnName(name) })
}

func balancer(plan *lb.Plan) lb.Spec {
	i := slices.IndexFunc(plan.Specs, func(spec lb.Spec) bool { return spec.Role == lb.Balancer })
	return plan.Specs[i] // every plan has one
}

// targets are the nodes that a fault is put on: one by its name, or by a name that fits any configuration: the balancer,
// or servers of the first pool that has two or more.
func targets(plan *lb.Plan, f Fault) ([]lb.Spec, error) {
	name := f.Target
	if name == "balancer" && !f.Designed {
		return []lb.Spec{balancer(plan)}, nil
	}
	if i := called(plan.Specs, name); i >= 0 {
		return plan.Specs[i : i+1], nil
	}
	var primaries, backups []lb.Spec
	for _, pool := range plan.Config.Pools {
		if len(pool.Servers) < 2 {
			continue
		}
		for _, server := range pool.Servers {
			at := slices.IndexFunc(plan.Specs, func(spec lb.Spec) bool { return spec.Name == server.Host })
			switch {
			case at < 0 || server.Down || server.Drain:
			case server.Backup:
				backups = append(backups, plan.Specs[at])
			default:
				primaries = append(primaries, plan.Specs[at])
			}
		}
		break
	}
	found := map[string][]lb.Spec{"primaries": primaries, "backups": backups}
	if n := len(primaries); n > 0 {
		found["last server"] = primaries[n-1:]
	}
	number, numbered := strings.CutPrefix(name, "server ")
	if n, err := strconv.Atoi(number); numbered && err == nil && n > 0 && n <= len(primaries) {
		found[name] = primaries[n-1 : n]
	}
	if len(found[name]) == 0 {
		return nil, fmt.Errorf("the run has no node %q to break: name one of %s, or balancer, server 1 and so on, last server, primaries, backups of the first pool with two servers or more",
			name, strings.Join(nodeNames(plan), ", "))
	}
	return found[name], nil
}

func nodeNames(plan *lb.Plan) []string {
	var names []string
	for _, spec := range plan.Specs {
		names = append(names, spec.Name)
	}
	return names
}

// apart says where two faults that change the same thing of a node would meet: neither could be taken back as it was.
func apart(file string, events []lb.Event) error {
	for i, a := range events {
		for _, b := range events[i+1:] {
			if a.Target == b.Target && a.Fault == b.Fault && a.Phase == b.Phase && a.At < b.At+b.For && b.At < a.At+a.For {
				return fmt.Errorf("%s: %s of %s begins at %s, before the one of %s is over", file, b.Fault, b.Target, b.At, a.At)
			}
		}
	}
	return nil
}
