package distribution

import (
	"fmt"
	"math"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// allowedMissed is the number of attempts that may have taken a position in the rotation and failed without a trace: on
// an overloaded machine one in 100,000 connections to a backend is reset.
const allowedMissed = 2

// rotationEnvelope returns the shares of weighted round robin and the bounds on counts while the same servers are in
// rotation, wherever the rotation started: nginx restarts it with its workers.
func rotationEnvelope(pool model.Pool, servers []model.Server, instances int) ([]float64, stats.Envelope) {
	weights := check.WeightsOf(servers)
	shares := stats.Shares(weights)
	switch pool.Balance.Rotation {
	case model.Smooth:
		return shares, stats.SmoothEnvelope(weights).Times(instances).Widen(allowedMissed)
	case model.EarliestDeadline:
		return shares, stats.DeadlineEnvelope(shares).AnyStart().Times(instances).Widen(allowedMissed)
	case model.StaticMap:
		return shares, stats.StaticEnvelope(weights).AnyStart().Times(instances).Widen(allowedMissed)
	}
	shares, env := stats.FastShares(weights)
	return shares, env.AnyStart().Times(instances).Widen(allowedMissed)
}

// rotationFromStart is rotationEnvelope for a number of requests since the balancer started, which the replay of
// HAProxy knows to the request.
func rotationFromStart(pool model.Pool, servers []model.Server, instances, picks int) ([]float64, stats.Envelope) {
	shares, env := rotationEnvelope(pool, servers, instances)
	if pool.Balance.Rotation != model.FairWeighted || picks == 0 || picks > maxReplay {
		return shares, env
	}
	for i, n := range stats.FastCounts(check.WeightsOf(servers), picks) {
		shares[i] = float64(n) / float64(picks)
		env.Low[i], env.High[i] = -allowedMissed, allowedMissed
	}
	return shares, env
}

// maxReplay limits the length of a replay.
const maxReplay = 1 << 22

// outageEnvelope is wider: it covers the sum over several periods, before each of which the servers in rotation
// changed.
func outageEnvelope(pool model.Pool, servers []model.Server, instances, times int) ([]float64, stats.Envelope) {
	weights := check.WeightsOf(servers)
	switch pool.Balance.Rotation {
	case model.Smooth:
		return stats.Shares(weights), stats.SmoothEnvelope(weights).Times(instances)
	case model.EarliestDeadline:
		return stats.Shares(weights), stats.DeadlineEnvelope(stats.Shares(weights)).Times(2 * times * instances)
	case model.StaticMap:
		return stats.Shares(weights), stats.PeriodEnvelope(weights).Times(2 * times * instances)
	}
	shares, _ := stats.FastShares(weights)
	return shares, stats.PeriodEnvelope(weights).Times(2 * times * instances)
}

// describeDrift describes a rotation whose shares differ from the weights, or returns "".
func describeDrift(active []model.Server, shares []float64) string {
	worst, by := 0, 0.0
	for i, p := range stats.Shares(check.WeightsOf(active)) {
		if d := math.Abs(shares[i]-p) / p; d > by {
			worst, by = i, d
		}
	}
	if by < 0.002 {
		return ""
	}
	return fmt.Sprintf("HAProxy's roundrobin gives %s %s instead of %s, because its divisions lose remainders",
		active[worst].Host,
		units.PercentHundredths(shares[worst]), units.PercentHundredths(stats.Shares(check.WeightsOf(active))[worst]))
}

// coversStart reports whether the judged phases cover all requests to the pool since the balancer started: no excluded
// phase reached the pool before an included one.
func coversStart(p plan.Plan, pool model.Pool) bool {
	left := false
	for _, l := range p.Phases {
		if check.IsRelevant(l, plan.CheckWeights) {
			if left {
				return false
			}
			continue
		}
		left = left || slices.ContainsFunc(l.Requests, func(r plan.Request) bool {
			route, _ := r.RouteIn(p.Config)
			return route.Pool == pool.Name || splitsTo(p.Config, route, pool)
		})
	}
	return true
}

// rotationNames are the names of the round-robin algorithms.
var rotationNames = map[model.Rotation]string{
	model.Smooth:           "smooth weighted round robin",
	model.EarliestDeadline: "earliest deadline first",
	model.FairWeighted:     "HAProxy's roundrobin",
	model.StaticMap:        "HAProxy's static-rr",
}

// envelopeTest describes the test.
func envelopeTest(pool model.Pool, instances int) string {
	return fmt.Sprintf("envelope of %s, %s, false alarm rate 0",
		rotationNames[pool.Balance.Rotation], units.Plural(instances, "independent instance"))
}

// whyUnknown explains why shares around faults cannot be judged, or returns "".
func whyUnknown(h history.History) string {
	if why := check.WhyLedgerIncomplete(h); why != "" {
		return why
	}
	for _, m := range h.Env.Faults {
		if m.Err != "" {
			return fmt.Sprintf("unknown how long the fault %s on %s was active", m.Event.Fault, m.Event.Target)
		}
	}
	return ""
}
