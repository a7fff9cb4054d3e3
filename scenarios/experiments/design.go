package experiments

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// bystanders are the kinds of promises that any traffic bears on.
var bystanders = []plan.Check{plan.CheckOnce, plan.CheckLimits, plan.CheckRestarts, plan.CheckDrained, plan.CheckBackup}

// Setup is what experiments are designed for.
type Setup struct {
	CPUs      int               // that a balancer sees
	Balancers int               // with the same configuration; 0 is 1. The rate limits of each are asked.
	Checks    []plan.Check      // the kinds of promises to decide; empty is all
	Patient   bool              // deaths may take longer, so that those of every pool are enough
	Header    map[string]string // that requests carry, and without which what lbproof cannot read lets none through
}

// Design makes a plan of experiments that the promises of a configuration need. Trials that can share a phase do; what disturbs
// others comes after them, from addresses of its own.
func Design(name string, cfg model.Config, specs []plan.Spec, setup Setup) (plan.Plan, error) {
	only := setup.Checks
	if len(setup.Header) > 0 {
		cfg.Routes = check.Opened(cfg.Routes)
	}
	s := scenarios.Scenario{Name: name, File: cfg.Files[0].Name, Checks: only}
	p, err := s.Stage(cfg, specs)
	if err != nil {
		return p, err
	}
	p.Carried = setup.Header
	if len(only) > 0 && len(p.Claims) > 0 && !slices.ContainsFunc(p.Claims, p.Decides) {
		return p, fmt.Errorf("%s makes no promise of the kind %s", s.File, units.Joined(only, " or "))
	}
	wanted := slices.DeleteFunc(slices.Clone(p.Claims), func(c plan.Claim) bool { return !p.Decides(c) })
	terms := check.Terms{Alpha: p.Alpha, Beta: p.Beta, CPUs: setup.CPUs}
	d := designer{scenario: &s, plan: &p, peers: peers(&p, setup.Balancers)}
	all := pack(cfg, wanted, checks.Trials(cfg, wanted, terms))
	if probes := checks.Probes(cfg, wanted); len(probes) > 0 {
		first := slices.IndexFunc(all, func(e *experiment) bool { return e.kind != plan.KindConnections }) // which wants new connections
		if first < 0 {
			first = len(all)
		}
		all = slices.Insert(all, first, probing(probes, p.Beta))
	}
	for i, e := range all {
		if e.most = deathsTake; setup.Patient {
			e.most = patientTake
		}
		e.begins = d.up()
		e.die(cfg, p.Beta)
		next := []check.Slowed(nil)
		if i+1 < len(all) {
			next = all[i+1].slow
		}
		for _, f := range gone(cfg, e, "") {
			scenarios.Lengthen(&e.load, f.At+f.For+firstDeath)
		}
		for _, lasts := range e.move {
			scenarios.Lengthen(&e.load, lasts+2*firstMove)
		}
		for i, f := range ails(e.ail, "") {
			scenarios.Lengthen(&e.load, f.At+f.For+e.ail[i].After)
		}
		d.forget(e)
		if err := d.add(e.load, e.slow, next, e.checks...); err != nil {
			return p, err
		}
		if len(e.vanish) > 0 {
			d.vanish(e)
		}
		if len(e.kill) > 0 {
			d.kill(e)
		}
		for _, host := range slices.Sorted(maps.Keys(e.move)) {
			s.Faults = append(s.Faults, scenarios.Fault{Fault: plan.FaultMove, Target: host, Phase: e.load.Name, At: firstMove, For: e.move[host]})
		}
		s.Faults = slices.Concat(s.Faults, ails(e.ail, e.load.Name), gone(cfg, e, e.load.Name))
		if e.reload > 0 {
			s.Faults = append(s.Faults, scenarios.Fault{Fault: plan.FaultReload, Target: scenarios.Balancer(&p).Name, Phase: e.load.Name, At: e.reload, For: time.Second, With: plan.Settings{plan.SettingChange: plan.ChangeNone}})
		}
	}
	for _, l := range p.Phases {
		for i, r := range l.Requests {
			l.Requests[i] = check.Carrying(r, setup.Header)
		}
	}
	correct(p.Phases)
	for i := range s.Faults {
		s.Faults[i].Designed = true
	}
	return p, s.Events(&p)
}

// probing is the experiment for promises about every request.
func probing(probes []plan.Request, beta float64) *experiment {
	return &experiment{
		load: plan.Phase{
			Name: "probes", Count: stats.NeedToSee(0.01, 1-beta) * len(probes), Concurrency: scenarios.ProbesInFlight, Requests: probes,
			Shows: []string{fmt.Sprintf("a promise about every request that %.0f %% of them break, with probability %g", 1., 1-beta)},
		},
		checks: []plan.Check{plan.CheckAnswered, plan.CheckHeaders, plan.CheckEndpoint, plan.CheckWeights},
	}
}

// correct has phases of draws end only when what they know will stand the correction for so many tests.
func correct(loads []plan.Phase) {
	tested := 0 // by p-values
	for _, l := range loads {
		tested += len(l.Draws)
		if l.Kind == plan.KindBusy && len(l.Shows) > 0 {
			tested++
		}
	}
	for _, l := range loads {
		for i := range l.Draws {
			l.Draws[i].Alpha /= float64(max(1, tested))
		}
	}
}
