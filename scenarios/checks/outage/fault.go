package outage

import (
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// What the promises on failures have in common: a server is dead from one time to another, its balancer goes on asking
// it until it knows, and again when it has come back.

// Refusing are the faults after which connections are refused at once; hanging all after which nothing comes back, or
// not even a connection comes about. Of lying ones only the health checks know.
var (
	RefusingFaults  = plan.FaultsWithEffect(plan.EffectRefused)
	HangingFaults   = plan.FaultsWithEffect(plan.EffectFrozen, plan.EffectUnreachable)
	CheckOnlyFaults = plan.FaultsWithEffect(plan.EffectUnhealthy)
)

// Tolerance is what the clocks and the schedulers of a loaded machine may add.
const Tolerance = 50 * time.Millisecond

// SettleTime is how long after a server's return its share may still grow: nginx gives it back a step with every pick.
const SettleTime = time.Second

// MaxReturnTime is how long a server that is back may be kept out of rotation for what happened before.
func MaxReturnTime(s model.Server) time.Duration {
	d := SettleTime
	if s.HealthCheck != nil {
		_, latest := s.HealthCheck.RecoveryTime()
		d = max(d, latest)
	}
	if s.Ejection != nil {
		d = max(d, s.Ejection.Duration+time.Second)
	}
	return d
}
