package experiments

import (
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// firstMove is when servers move, since their phase began.
const firstMove = time.Second

// How servers die: when first, for how long at least, how far from the next death, how many deaths show something that
// happens at random times and at fixed ones, and how long they may take in all.
const (
	firstDeath   = time.Second
	deathLasts   = 5 * time.Second
	deathsApart  = time.Second
	randomDeaths = 10
	fixedDeaths  = check.Often
	deathsTake   = 160 * time.Second
	patientTake  = 300 * time.Second
	spareDeaths  = 2 // where they may take so long, for some that show nothing
)

// gone has servers die all at once, after their first health check (see deathsOf).
func gone(cfg model.Config, e *experiment, phase string) (faults []scenarios.Fault) {
	hosts := slices.Compact(slices.Sorted(slices.Values(e.gone)))
	at := firstDeath
	for _, p := range cfg.Pools {
		for _, s := range p.Servers {
			if s.Active != nil && slices.Contains(hosts, s.Host) {
				at = max(at, firstDeath+s.Active.Interval)
			}
		}
	}
	for _, host := range hosts {
		lasts := max(e.lasts, scenarios.Fault{For: deathLasts}.Adapted(cfg, host).For)
		faults = append(faults, scenarios.Fault{Fault: plan.FaultKill, Target: host, Phase: phase, At: at, For: lasts})
	}
	return faults
}

// ails has the health checks of servers answered late: of each server one time after another, with time to be back
// between.
func ails(all []check.Ailment, phase string) (faults []scenarios.Fault) {
	next := map[string]time.Duration{}
	for _, a := range all {
		at := max(firstDeath, next[a.Host])
		faults = append(faults, scenarios.Fault{
			Fault: plan.FaultSick, Target: a.Host, Phase: phase, At: at, For: a.Lasts,
			With: plan.Settings{plan.SettingStatus: "200", plan.SettingDelay: a.Delay.String()},
		})
		next[a.Host] = at + a.Lasts + a.After
	}
	return faults
}
