package failover

import (
	"fmt"
	"math"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// checkCounts is the actual, minimum and maximum number of health checks of a healthy server.
type checkCounts struct {
	counted, min, max int
}

// isConclusive reports whether there was time for enough checks.
func (c checkCounts) isConclusive() bool { return c.min >= check.Repetitions }

func (c checkCounts) isWrong() bool { return c.counted < c.min || c.counted > c.max }

// countHealthChecks counts a server's health checks, which backends record. Pools with the same check of the same
// server are counted together. HAProxy counts an interval from the end of a check (check.c), so that slow responses
// make it longer.
func countHealthChecks(h history.History, server model.Server) (c checkCounts) {
	a := server.HealthCheck
	if h.HealthChecks == nil || a == nil || !check.HasCountableChecks(*a) {
		return c
	}
	path := a.Request.Path
	rate, streams := checkRate(h.Plan, server)
	windows := healthyWindows(h, server)
	tallies, recognized := make([]int, len(windows)), false
	for hc := range h.HealthChecks {
		if hc.Server != server.Host || hc.Path != path {
			continue
		}
		recognized = true
		for i, w := range windows {
			if hc.At >= w.From && hc.At <= w.To {
				tallies[i]++
			}
		}
	}
	if !recognized { // by the backends
		return c
	}
	for i, w := range windows {
		times := (w.To - w.From).Seconds() * rate
		c.counted += tallies[i]
		c.min += max(0, int(math.Floor(times*0.9))-streams+1)
		c.max += int(math.Ceil(times*1.05)) + streams
	}
	return c
}

// checkRate returns how many health checks like a server's it gets per second, and from how many pools and balancers.
func checkRate(p plan.Plan, server model.Server) (rate float64, streams int) {
	balancers := countBalancers(p)
	for _, pool := range p.Config.Pools {
		for _, s := range pool.Servers {
			if s.Host != server.Host || s.HealthCheck == nil {
				continue
			}
			if s.HealthCheck.Request.Path == server.HealthCheck.Request.Path {
				streams += balancers
				rate += float64(balancers) / s.HealthCheck.Interval.Seconds()
			}
		}
	}
	return rate, streams
}

// countBalancers returns how many balancers run the configuration.
func countBalancers(p plan.Plan) int {
	peers := 0
	for _, spec := range p.Specs {
		if spec.Role == plan.Peer {
			peers++
		}
	}
	return 1 + peers
}

// healthyWindows returns the periods in which the balancer ran undisturbed and knew that a server was healthy.
func healthyWindows(h history.History, server model.Server) (out []outage.Window) {
	if len(h.Env.Phases) == 0 {
		return nil
	}
	a := server.HealthCheck
	_, up := a.RecoveryTime()
	isOther := func(host string) bool { // faults of other servers do not matter
		return host != server.Host && slices.ContainsFunc(h.Plan.Config.Pools, func(p model.Pool) bool {
			return slices.ContainsFunc(p.Servers, func(s model.Server) bool { return s.Host == host })
		})
	}
	var disturbed []outage.Window
	for _, m := range h.Env.Faults {
		if !isOther(m.Event.Target) {
			end := max(m.RequestedAt, m.StartsBy, m.EndsAfter, m.EndsBy)
			disturbed = append(disturbed, outage.Window{From: m.RequestedAt, To: end})
		}
	}
	for _, e := range h.Plan.Events { // FilterPhases has removed the faults of other checks' phases
		if e.Phase < len(h.Env.Phases) && !check.IsRelevant(h.Plan.Phases[e.Phase], "active") {
			p := h.Env.Phases[e.Phase]
			disturbed = append(disturbed, outage.Window{From: p.Start, To: max(p.End, p.Start+e.At+e.Duration)})
		}
	}
	slices.SortFunc(disturbed, func(a, b outage.Window) int { return int(a.From - b.From) })
	from := h.Env.Phases[0].Start + a.Interval
	for _, d := range append(disturbed, outage.Window{From: outage.TrafficEnd(h), To: outage.TrafficEnd(h)}) {
		if d.From-from > 2*a.Interval {
			out = append(out, outage.Window{From: from, To: d.From})
		}
		from = max(from, d.To+up+a.Interval+outage.Tolerance)
	}
	return out
}

func (c checkCounts) String() string {
	return fmt.Sprintf("%s while healthy, %s expected",
		units.Plural(c.counted, "health check"), formatCounts(c.min, c.max))
}
