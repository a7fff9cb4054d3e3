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

// Backends note each health check, and how many there are while a server is well is what the interval says.

// checkCounts is how many checks a server got while it was well, and how many it must and may have got.
type checkCounts struct {
	counted, min, max int
}

// isConclusive says whether there was time for enough checks.
func (c checkCounts) isConclusive() bool { return c.min >= check.Repetitions }

func (c checkCounts) isWrong() bool { return c.counted < c.min || c.counted > c.max }

// countHealthChecks counts a server's health checks. Pools that ask the same server the same are counted together. HAProxy
// counts an interval from the end of a check (check.c), so that slow answers make it longer.
func countHealthChecks(h history.History, server model.Server) (c checkCounts) {
	a := server.HealthCheck
	if h.HealthChecks == nil || a == nil || !check.HasCountableChecks(*a) {
		return c
	}
	path := a.Request.Path
	rate, streams := 0., 0 // checks per second, of all pools that ask the same, by each balancer
	for _, p := range h.Plan.Config.Pools {
		for _, s := range p.Servers {
			if s.Host != server.Host || s.HealthCheck == nil {
				continue
			}
			if s.HealthCheck.Request.Path == path {
				streams += countBalancers(h.Plan)
				rate += float64(countBalancers(h.Plan)) / s.HealthCheck.Interval.Seconds()
			}
		}
	}
	well := healthyWindows(h, server)
	tallies, any := make([]int, len(well)), false
	for kind := range h.HealthChecks {
		if kind.Server != server.Host || kind.Path != path {
			continue
		}
		any = true
		for i, w := range well {
			if kind.At >= w.From && kind.At <= w.To {
				tallies[i]++
			}
		}
	}
	if !any { // a check that backends do not know as one
		return c
	}
	for i, w := range well {
		times := (w.To - w.From).Seconds() * rate
		c.counted += tallies[i]
		c.min += max(0, int(math.Floor(times*0.9))-streams+1)
		c.max += int(math.Ceil(times*1.05)) + streams
	}
	return c
}

// countBalancers is how many a plan has with the configuration, one at least.
func countBalancers(p plan.Plan) int {
	peers := 0
	for _, spec := range p.Specs {
		if spec.Role == plan.Peer {
			peers++
		}
	}
	return 1 + peers
}

// healthyWindows are the times in which the balancer ran undisturbed and knew that a server was well.
func healthyWindows(h history.History, server model.Server) (out []outage.Window) {
	if len(h.Env.Phases) == 0 {
		return nil
	}
	a := server.HealthCheck
	_, up := a.RecoveryTime()
	others := func(host string) bool { // a server's fault is no other server's
		return host != server.Host && slices.ContainsFunc(h.Plan.Config.Pools, func(p model.Pool) bool {
			return slices.ContainsFunc(p.Servers, func(s model.Server) bool { return s.Host == host })
		})
	}
	var disturbed []outage.Window
	for _, m := range h.Env.Faults {
		if !others(m.Event.Target) {
			disturbed = append(disturbed, outage.Window{From: m.RequestedAt, To: max(m.RequestedAt, m.StartsBy, m.EndsAfter, m.EndsBy)})
		}
	}
	for _, e := range h.Plan.Events { // whose marks are left out where their phase is for other promises
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
	return fmt.Sprintf("%s while well, %s to %s expected",
		units.Plural(c.counted, "check"), units.Number(c.min), units.Number(c.max))
}
