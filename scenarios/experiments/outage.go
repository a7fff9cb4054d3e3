package experiments

import (
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// firstMoveAt is when servers move, since their phase began.
const firstMoveAt = time.Second

// How servers die: when first, for how long at least, how far from the next death, how many deaths show something that
// happens at random times and at fixed ones, and how long they may take in all.
const (
	firstOutageAt        = time.Second
	minOutage            = 5 * time.Second
	outageSpacing        = time.Second
	randomOutages        = 10
	fixedOutages         = check.Repetitions
	outageBudget         = 160 * time.Second
	extendedOutageBudget = 300 * time.Second
	spareOutages         = 2 // where they may take so long, for some that show nothing
)

// allDownFaults has servers die all at once, after their first health check (see deathsOf).
func allDownFaults(cfg model.Config, e *draft, phase string) (faults []scenarios.Fault) {
	hosts := slices.Compact(slices.Sorted(slices.Values(e.allDown)))
	at := firstOutageAt
	for _, p := range cfg.Pools {
		for _, s := range p.Servers {
			if s.HealthCheck != nil && slices.Contains(hosts, s.Host) {
				at = max(at, firstOutageAt+s.HealthCheck.Interval)
			}
		}
	}
	for _, host := range hosts {
		lasts := max(e.allDownFor, scenarios.Fault{Duration: minOutage}.Adapted(cfg, host).Duration)
		faults = append(faults, scenarios.Fault{Fault: plan.FaultKill, Target: host, Phase: phase, At: at, Duration: lasts})
	}
	return faults
}

// slowCheckFaults has the health checks of servers answered late: of each server one time after another, with time to be back
// between.
func slowCheckFaults(all []check.LateHealthChecks, phase string) (faults []scenarios.Fault) {
	next := map[string]time.Duration{}
	for _, a := range all {
		at := max(firstOutageAt, next[a.Host])
		faults = append(faults, scenarios.Fault{
			Fault: plan.FaultSick, Target: a.Host, Phase: phase, At: at, Duration: a.For,
			With: plan.Settings{plan.SettingStatus: "200", plan.SettingDelay: a.Delay.String()},
		})
		next[a.Host] = at + a.For + a.RecoverWithin
	}
	return faults
}
