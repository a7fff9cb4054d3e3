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
	Refusing = plan.Faults(plan.Refuses)
	Hanging  = plan.Faults(plan.Freezes, plan.Vanishes)
	Lying    = plan.Faults(plan.Lies)
)

// Slack is what the clocks and the schedulers of a loaded machine may add.
const Slack = 50 * time.Millisecond

// Settling is how long after a server's return its share may still grow: nginx gives it back a step with every pick.
const Settling = time.Second

// ReturnsWithin is how long a server that is back may be kept out of rotation for what happened before.
func ReturnsWithin(s model.Server) time.Duration {
	d := Settling
	if s.Active != nil {
		_, latest := s.Active.Up()
		d = max(d, latest)
	}
	if s.Ejection != nil {
		d = max(d, s.Ejection.Out+time.Second)
	}
	return d
}
