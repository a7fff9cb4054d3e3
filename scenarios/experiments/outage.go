package experiments

import (
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// firstMoveAt is when servers change their address, since the start of the phase.
const firstMoveAt = time.Second

// Outages: the first start, the minimum duration and spacing; how many show something that happens at random or at
// fixed times; and their time budget.
const (
	firstOutageAt        = time.Second
	minOutage            = 5 * time.Second
	outageSpacing        = time.Second
	randomOutages        = 10
	fixedOutages         = check.Repetitions
	outageBudget         = 160 * time.Second
	extendedOutageBudget = 300 * time.Second
	spareOutages         = 2 // with the extended budget, in case some are inconclusive
)

// allDownFaults takes servers down all at once, after their first health check (see groupOutages).
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
		duration := max(e.allDownFor, scenarios.Fault{Duration: minOutage}.Adapted(cfg, host).Duration)
		faults = append(faults, scenarios.Fault{
			Fault: plan.FaultKill, Target: host, Phase: phase, At: at,
			Duration: duration,
		})
	}
	return faults
}

// slowCheckFaults delays the health checks of servers, of each server one delay after another, with time to recover
// in between.
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
