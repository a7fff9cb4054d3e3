package outage

import (
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Faults by what clients of the server see: connections are refused at once; there is no response, or not even a
// connection; or only health checks fail.
var (
	RefusingFaults  = plan.FaultsWithEffect(plan.EffectRefused)
	HangingFaults   = plan.FaultsWithEffect(plan.EffectFrozen, plan.EffectUnreachable)
	CheckOnlyFaults = plan.FaultsWithEffect(plan.EffectUnhealthy)
)

// Tolerance is the error of clocks and schedulers on a loaded machine.
const Tolerance = 50 * time.Millisecond

// SettleTime is how long a server's share may still grow after its return: nginx restores it step by step.
const SettleTime = time.Second

// MaxReturnTime returns how long a server may stay out of rotation after the end of its outage.
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
