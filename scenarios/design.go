package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// bystanders are the kinds of promises that any traffic bears on.
var bystanders = []string{"once", "limits", "restarts", "drained", "backup"}

const (
	slowing    = 2 * time.Second // until servers are known to be slow
	besideRate = 20              // requests per second meanwhile
)

// Design makes a plan of experiments that the promises of a configuration need, for a balancer that sees so many processors.
// Trials that can share a phase do; what disturbs others comes after them, from addresses of its own.
func Design(name string, cfg lb.Config, specs []lb.Spec, cpus int) (lb.Plan, error) {
	s := Scenario{Name: name, File: cfg.Files[0].Name}
	plan, err := s.stage(cfg, specs)
	if err != nil {
		return plan, err
	}
	terms := checks.Terms{Alpha: plan.Alpha, Beta: plan.Beta, CPUs: cpus}
	d := designer{scenario: &s, plan: &plan}
	if probes := checks.Probes(cfg, plan.Claims); len(probes) > 0 {
		each := stats.NeedToSee(0.01, 1-plan.Beta)
		err := d.add(lb.Load{
			Name: "probes", Count: each * len(probes), Concurrency: probesInFlight, Requests: probes,
			Shows: []string{fmt.Sprintf("a promise about every request that %.0f %% of them break, with probability %g", 1., 1-plan.Beta)},
		}, nil, "answered", "headers", "endpoint", "weights")
		if err != nil {
			return plan, err
		}
	}
	for _, e := range experiments(plan.Claims, checks.Trials(cfg, plan.Claims, terms)) {
		if err := d.add(e.load, e.slow, e.checks...); err != nil {
			return plan, err
		}
		if e.reload > 0 {
			s.Faults = append(s.Faults, Fault{Fault: "reload", Target: "balancer", Phase: e.load.Name, At: e.reload, For: time.Second, With: map[string]string{"change": "none"}})
		}
	}
	tested := 0 // by p-values
	for _, l := range plan.Loads {
		tested += len(l.Draws)
		if strings.HasPrefix(l.Name, checks.Busy) && len(l.Shows) > 0 {
			tested++
		}
	}
	for _, l := range plan.Loads { // so that what is known is known after the correction for so many tests
		for i := range l.Draws {
			l.Draws[i].Alpha /= float64(max(1, tested))
		}
	}
	return plan, s.events(&plan)
}

// experiment is a phase in the making.
type experiment struct {
	kind   string
	load   lb.Load
	slow   []checks.Slowed
	reload time.Duration
	checks []string
}

// experiments puts trials of the same kind into one phase, and the phases in order.
func experiments(claims []lb.Claim, trials map[string][]checks.Trial) []*experiment {
	var all []*experiment
	for _, claim := range claims {
		for _, t := range trials[claim.ID] {
			i := slices.IndexFunc(all, func(e *experiment) bool { return e.kind == t.Kind })
			if i < 0 {
				i = len(all)
				all = append(all, &experiment{kind: t.Kind, load: t.Load, slow: t.Slow, reload: t.Reload})
				all[i].load.Name, all[i].load.Requests = t.Kind, nil
				all[i].load.Draws, all[i].load.Count = nil, 0
			}
			e := all[i]
			e.join(t)
			if !slices.Contains(e.checks, claim.Check) {
				e.checks = append(e.checks, claim.Check)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *experiment) int { return checks.Order(a.kind) - checks.Order(b.kind) })
	return all
}

// join has a trial take part: requests of all take turns, so that each gets as many as the one that needs most.
func (e *experiment) join(t checks.Trial) {
	before := max(1, len(e.load.Requests))
	each := max((e.load.Count+before-1)/before, (t.Load.Count+len(t.Load.Requests)-1)/len(t.Load.Requests))
	e.load.Requests = append(e.load.Requests, t.Load.Requests...)
	e.load.Count = each * len(e.load.Requests)
	e.load.Draws = append(e.load.Draws, t.Load.Draws...)
	e.load.Shows = append(e.load.Shows, t.Shows)
}

// designer adds phases to a plan.
type designer struct {
	scenario *Scenario
	plan     *lb.Plan
	address  int // the next that no phase has
}

// add writes a phase out: from clients that no limit refuses, unless the phase is about one, and while servers are slow, if it is to
// find them so.
func (d *designer) add(l lb.Load, slow []checks.Slowed, about ...string) error {
	l.Timeout = or(l.Timeout, defaultTimeout)
	l.Checks = append(slices.Clone(about), bystanders...)
	slices.Sort(l.Checks)
	l.Checks = slices.Compact(l.Checks)
	if !slices.Contains(about, "limits") {
		checks.Spare(d.plan.Config, &l)
	}
	var err error
	protocol := map[lb.Engine]string{lb.Vegeta: "h2"}[l.Engine]
	if l.Engine, err = (Phase{Protocol: protocol}).engine(l); err != nil {
		return fmt.Errorf("design the phase %s: %w", l.Name, err)
	}
	if len(slow) == 0 {
		d.place(l)
		return nil
	}
	d.beside(l, "its servers become slow", slowing)
	last := l.Takes()
	if !l.Open() {
		last = slowing
	}
	for _, s := range slow {
		d.scenario.Faults = append(d.scenario.Faults, Fault{
			Fault: "slow", Target: s.Host, Phase: d.plan.Loads[len(d.plan.Loads)-1].Name, For: slowing + last, With: map[string]string{"delay": s.Delay.String()},
		})
	}
	d.place(l)
	if !l.Open() {
		d.beside(l, "its servers recover", 2*slowing)
	}
	return nil
}

// beside is a phase of a few requests before or after another one.
func (d *designer) beside(l lb.Load, what string, lasts time.Duration) {
	few := lb.Load{
		Name: l.Name + ": " + what, Engine: lb.Goroutines, Rate: besideRate, Count: int(besideRate * lasts.Seconds()), Concurrency: defaultInFlight,
		Timeout: l.Timeout, Requests: l.Requests, Checks: l.Checks,
	}
	checks.Spare(d.plan.Config, &few)
	d.place(few)
}

// place puts a phase last, and gives its clients addresses that no other phase has.
func (d *designer) place(l lb.Load) {
	if l.Clients.Addresses {
		l.Clients.First = d.address
		d.address = l.Clients.Last() + 1
	}
	d.plan.Loads = append(d.plan.Loads, l)
}
