package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/faults"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
)

// Events adds the scenario's faults to the plan.
func (s Scenario) Events(p *plan.Plan) error {
	for _, f := range s.Faults {
		fault, err := findFault(f)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", s.File, f.Line, err)
		}
		nodes, err := findTargets(p, f)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", s.File, f.Line, err)
		}
		phase, err := s.findPhase(p, f.Phase)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", s.File, f.Line, err)
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

// findFault returns the fault of that name, whose settings must all exist.
func findFault(f Fault) (faults.Fault, error) {
	fault, err := faults.Find(f.Fault)
	if err != nil {
		var names []string
		for _, known := range faults.All {
			names = append(names, string(known.Name))
		}
		return fault, fmt.Errorf("fault: %q is not a fault; %s", f.Fault,
			units.DidYouMean(string(f.Fault), names, "lbproof list faults shows them"))
	}
	var settings []string
	for _, arg := range fault.Args {
		settings = append(settings, string(arg.Name))
	}
	for _, name := range slices.Sorted(maps.Keys(f.With)) {
		if !slices.Contains(settings, string(name)) {
			return fault, fmt.Errorf("with: %w", notAmong(string(name), "a setting of "+string(f.Fault), settings))
		}
	}
	return fault, nil
}

// findPhase returns the index of the phase of that name, by default the scenario's first.
func (s Scenario) findPhase(p *plan.Plan, name string) (int, error) {
	if name == "" {
		name = s.Phases[0].Name
	}
	var names []string
	for _, phase := range p.Phases {
		names = append(names, phase.Name)
	}
	if i := slices.Index(names, name); i >= 0 {
		return i, nil
	}
	return -1, fmt.Errorf("phase: %w", notAmong(name, "a phase of the scenario", names))
}

// outageMargin extends an outage, and the time after it, beyond the configured times.
const outageMargin = 2 * time.Second

// maxAwaitedTimeout is the longest timeout that a fault is extended for; longer ones are for tunnels.
const maxAwaitedTimeout = 2 * time.Minute

// Adapted extends the fault to the configured detection time, and its interval to the configured recovery time.
func (f Fault) Adapted(cfg model.Config, node string) Fault {
	back := time.Duration(0) // until the recovery is detected
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
				f.Duration, back = max(f.Duration, refused+outageMargin), max(back, up+outageMargin)
				f.Sweep = max(f.Sweep, a.Interval)
			}
			if p := s.Ejection; p != nil {
				out := p.Duration + time.Second + outageMargin
				if p.Duration >= f.Duration { // otherwise it is retried during the fault
					out -= f.Duration
				}
				back = max(back, out)
			}
		}
	}
	if f.Fault.Hangs() { // an attempt fails only after its timeout
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

// maxSweepShift returns by how much sweep d brings two occurrences closer at most.
func maxSweepShift(d time.Duration) time.Duration { return time.Duration(goldenFraction * float64(d)) }

// RecoveredAt returns when the recovery from the last occurrence of an adapted fault is detected, with a margin.
func (f Fault) RecoveredAt(cfg model.Config, node string) time.Duration {
	f = f.Adapted(cfg, node)
	last := f.At
	for _, e := range f.Occurrences(plan.Event{}) {
		last = max(last, e.At)
	}
	return last + f.Every - maxSweepShift(f.Sweep) + 2*outageMargin // no further one is shifted closer
}

// ExtendPhase extends an open loop to at least d.
func ExtendPhase(l *plan.Phase, d time.Duration) {
	l.Count = max(l.Count, int(l.Rate*d.Seconds()))
}

// enableMaster runs the balancer with a master process if it has none by default.
func enableMaster(p *plan.Plan) {
	process := p.Config.Dialect.Process
	for i, spec := range p.Specs {
		if spec.Role == plan.Balancer && len(process.MasterArgs) > 0 && spec.ReloadSignal == "" {
			p.Specs[i].Command = slices.Insert(slices.Clone(spec.Command), 1, process.MasterArgs...)
			p.Specs[i].ReloadSignal, p.Specs[i].HasMaster = process.ReloadSignal, true
		}
	}
}

// goldenFraction is the golden ratio minus 1. The fractional parts of its multiples are evenly distributed in [0, 1),
// for any number of them (H. Weyl, Mathematische Annalen 77, 1916).
const goldenFraction = 0.6180339887

// Occurrences returns an event per repetition of the fault, each at another moment of the balancer's periodic work.
func (f Fault) Occurrences(e plan.Event) []plan.Event {
	var all []plan.Event
	for i := range cmp.Or(f.Times, 1) {
		_, part := math.Modf(float64(i) * goldenFraction)
		e.At = f.At + time.Duration(i)*f.Every + time.Duration(part*float64(f.Sweep))
		all = append(all, e)
	}
	return all
}

// checkEvent reports why an event is impossible.
func checkEvent(p *plan.Plan, e plan.Event, target plan.Spec) error {
	if err := faults.Validate(e, target); err != nil {
		return err
	}
	isPeer := func(spec plan.Spec) bool { return spec.Name == e.Peer }
	known := e.Peer == plan.WorkerName || slices.ContainsFunc(p.Specs, isPeer)
	if !known || e.Peer == e.Target {
		return fmt.Errorf("peer: %q is not another node of the run; leave it out or name one (target: %s)", e.Peer, e.Target)
	}
	return nil
}

// peerName returns the name of the other end; by default the node that sends requests to the target.
func peerName(p *plan.Plan, name string, target plan.Spec) string {
	switch {
	case name == "" && target.Role == plan.Dependency:
		isBackend := func(spec plan.Spec) bool { return spec.Role == plan.Backend }
		return p.Specs[slices.IndexFunc(p.Specs, isBackend)].Name // a plan always has one
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

// FindNode returns the index of the node that a scenario calls name: the server of that name, else lbproof's own node
// of that short name, else -1.
func FindNode(specs []plan.Spec, name string) int {
	if i := slices.IndexFunc(specs, func(spec plan.Spec) bool { return model.SameHost(spec.Name, name) }); i >= 0 {
		return i
	}
	return slices.IndexFunc(specs, func(spec plan.Spec) bool { return spec.Name == plan.HarnessName(name) })
}

// BalancerSpec returns the balancer's node.
func BalancerSpec(p *plan.Plan) plan.Spec {
	i := slices.IndexFunc(p.Specs, func(spec plan.Spec) bool { return spec.Role == plan.Balancer })
	return p.Specs[i] // a plan always has one
}

// findTargets returns the nodes to inject a fault into. The target is a node's name, or fits any configuration: the
// balancer, or servers of the first pool that has at least two.
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
		return nil, fmt.Errorf("target: %q is not a node of the run; %s", name,
			units.DidYouMean(name, append(nodeNames(p), targetNames...),
				fmt.Sprintf("nodes: %s, or %s", strings.Join(nodeNames(p), ", "), strings.Join(targetNames, ", "))))
	}
	return found[name], nil
}

// targetNames are the targets that fit any configuration with a pool of at least two servers.
var targetNames = []string{"balancer", "server 1", "server 2", "last server", "primaries", "backups"}

// serverNumber returns the 3 of "server 3"; ok is false for other names and for numbers below 1.
func serverNumber(name string) (n int, ok bool) {
	number, numbered := strings.CutPrefix(name, "server ")
	n, err := strconv.Atoi(number)
	return n, numbered && err == nil && n > 0
}

func nodeNames(p *plan.Plan) []string {
	var names []string
	for _, spec := range p.Specs {
		names = append(names, plan.ShortName(spec.Name))
	}
	return names
}

// checkOverlaps reports two equal faults of a node that overlap: undoing one would not restore the node.
func checkOverlaps(file string, events []plan.Event) error {
	for i, a := range events {
		for _, b := range events[i+1:] {
			same := a.Target == b.Target && a.Fault == b.Fault && a.Phase == b.Phase
			meet := a.At < b.At+b.Duration && b.At < a.At+a.Duration
			if same && meet {
				return fmt.Errorf("%s: faults: %s of %s at %s overlaps the one at %s; increase every or shorten for",
					file, b.Fault, plan.ShortName(b.Target), b.At, a.At)
			}
		}
	}
	return nil
}
