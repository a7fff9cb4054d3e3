package experiments

import (
	"fmt"
	"slices"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// alwaysChecked are the kinds of claims that any traffic is relevant to.
var alwaysChecked = []plan.Check{
	plan.CheckOnce, plan.CheckLimits, plan.CheckRestarts, plan.CheckDrained, plan.CheckBackup,
}

// Setup configures the design of experiments.
type Setup struct {
	CPUs         int               // number of CPUs that the balancer sees
	Balancers    int               // with the same configuration; default 1. Rate limits are tested on each.
	Checks       []plan.Check      // kinds of claims to decide; default: all
	ExtendedTime bool              // allows longer outages, so that every pool gets enough of them
	ProbeHeader  map[string]string // header of every request, e.g. credentials that the backend requires
}

// Design plans the experiments that the claims of a configuration need. Requirements share a phase where possible;
// phases that disturb others come last, from separate addresses.
func Design(name string, cfg model.Config, specs []plan.Spec, setup Setup) (plan.Plan, error) {
	if len(setup.ProbeHeader) > 0 {
		cfg.Routes = check.AssumeCredentials(cfg.Routes)
	}
	s := scenarios.Scenario{Name: name, File: cfg.Files[0].Name, Checks: setup.Checks}
	p, err := s.PlanWithoutTraffic(cfg, specs)
	if err != nil {
		return p, err
	}
	p.ProbeHeader = setup.ProbeHeader
	if len(setup.Checks) > 0 && len(p.Claims) > 0 && !slices.ContainsFunc(p.Claims, p.Decides) {
		return p, fmt.Errorf("%s: no claims of kind %s; choose other kinds with --checks",
			s.File, units.JoinWith(setup.Checks, " or "))
	}
	d := designer{scenario: &s, plan: &p, peers: addPeers(&p, setup.Balancers), outageBudget: outageBudget}
	if setup.ExtendedTime {
		d.outageBudget = extendedOutageBudget
	}
	if err := d.addPhases(draftPhases(cfg, p, setup.CPUs)); err != nil {
		return p, err
	}
	for _, l := range p.Phases {
		for i, r := range l.Requests {
			l.Requests[i] = check.WithHeader(r, setup.ProbeHeader)
		}
	}
	correctAlphas(p.Phases)
	for i := range s.Faults {
		s.Faults[i].Designed = true
	}
	return p, s.Events(&p)
}

// draftPhases returns the phases for the claims that a plan decides, in order.
func draftPhases(cfg model.Config, p plan.Plan, cpus int) []*draft {
	claims := slices.DeleteFunc(slices.Clone(p.Claims), func(c plan.Claim) bool { return !p.Decides(c) })
	params := check.DesignParams{Alpha: p.Alpha, Beta: p.Beta, CPUs: cpus}
	all := pack(cfg, claims, checks.Requirements(cfg, claims, params))
	probes := checks.ExtraRequests(cfg, claims)
	if len(probes) == 0 {
		return all
	}
	// After the phases that need new connections.
	first := slices.IndexFunc(all, func(e *draft) bool { return e.kind != plan.KindConnections })
	if first < 0 {
		first = len(all)
	}
	return slices.Insert(all, first, draftForAllRequests(probes, p.Beta))
}

// draftForAllRequests returns the phase for claims about every request.
func draftForAllRequests(probes []plan.Request, beta float64) *draft {
	return &draft{
		phase: plan.Phase{
			Name: "probes", Count: stats.SamplesToDetect(0.01, 1-beta) * len(probes), Concurrency: scenarios.ProbeConcurrency,
			Requests: probes,
			Detects:  []string{fmt.Sprintf("any violation that affects %.0f %% of requests (power %g)", 1., 1-beta)},
		},
		checks: []plan.Check{plan.CheckAnswered, plan.CheckHeaders, plan.CheckEndpoint, plan.CheckWeights},
	}
}

// correctAlphas tightens stop rules so that a phase only stops early on results that survive the correction for
// multiple tests.
func correctAlphas(phases []plan.Phase) {
	tested := 0 // claims judged by a p-value
	for _, l := range phases {
		tested += len(l.StopRules)
		if l.Kind == plan.KindBusy && len(l.Detects) > 0 {
			tested++
		}
	}
	for _, l := range phases {
		for i := range l.StopRules {
			l.StopRules[i].Alpha /= float64(max(1, tested))
		}
	}
}
