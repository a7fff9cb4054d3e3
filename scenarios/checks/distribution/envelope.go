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

// allowedMissed is how many attempts may have failed without a trace, each of which took a turn: at a machine that is too
// busy, one in 100,000 connections to a backend is reset.
const allowedMissed = 2

// rotationEnvelope are the shares that turns by weight come to, and bounds on how far counts are from them while the same
// servers take them all along, wherever in their turns they began; nginx's begin anew with its workers.
func rotationEnvelope(pool model.Pool, servers []model.Server, states int) ([]float64, stats.Envelope) {
	weights := check.WeightsOf(servers)
	switch pool.Balance.Rotation {
	case model.Smooth:
		return stats.Shares(weights), stats.SmoothEnvelope(weights).Times(states).Widen(allowedMissed)
	case model.EarliestDeadline:
		return stats.Shares(weights), stats.DeadlineEnvelope(stats.Shares(weights)).AnyStart().Times(states).Widen(allowedMissed)
	case model.StaticMap:
		return stats.Shares(weights), stats.StaticEnvelope(weights).AnyStart().Times(states).Widen(allowedMissed)
	}
	shares, env := stats.FastShares(weights)
	return shares, env.AnyStart().Times(states).Widen(allowedMissed)
}

// rotationFromStart are the same for so many turns since the balancer's start, which HAProxy's own replay knows to the
// request.
func rotationFromStart(pool model.Pool, servers []model.Server, states, picks int) ([]float64, stats.Envelope) {
	shares, env := rotationEnvelope(pool, servers, states)
	if pool.Balance.Rotation != model.FairWeighted || picks == 0 || picks > maxReplay {
		return shares, env
	}
	for i, n := range stats.FastCounts(check.WeightsOf(servers), picks) {
		shares[i] = float64(n) / float64(picks)
		env.Low[i], env.High[i] = -allowedMissed, allowedMissed
	}
	return shares, env
}

// maxReplay bounds the turns that are replayed.
const maxReplay = 1 << 22

// outageEnvelope is wider: the sum over several stretches of time, before which servers have come or gone.
func outageEnvelope(pool model.Pool, servers []model.Server, states, times int) ([]float64, stats.Envelope) {
	weights := check.WeightsOf(servers)
	switch pool.Balance.Rotation {
	case model.Smooth:
		return stats.Shares(weights), stats.SmoothEnvelope(weights).Times(states)
	case model.EarliestDeadline:
		return stats.Shares(weights), stats.DeadlineEnvelope(stats.Shares(weights)).Times(2 * times * states)
	case model.StaticMap:
		return stats.Shares(weights), stats.PeriodEnvelope(weights).Times(2 * times * states)
	}
	shares, _ := stats.FastShares(weights)
	return shares, stats.PeriodEnvelope(weights).Times(2 * times * states)
}

// describeDrift says where a balancer's own turns do not quite come to the weights.
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
	return fmt.Sprintf("HAProxy's own turns give %s %s instead of %s, because it loses what its divisions leave over",
		active[worst].Host,
		units.PercentHundredths(shares[worst]), units.PercentHundredths(stats.Shares(check.WeightsOf(active))[worst]))
}

// coversStart reports whether a pool's turns are all known from its start on: no phase that is left out reached it before one
// that is not.
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

// rotationNames names the laws of turns.
var rotationNames = map[model.Rotation]string{
	model.Smooth:           "smooth weighted round robin",
	model.EarliestDeadline: "earliest deadline first",
	model.FairWeighted:     "HAProxy's roundrobin",
	model.StaticMap:        "HAProxy's static-rr",
}

// envelopeTest names it.
func envelopeTest(pool model.Pool, states int) string {
	return fmt.Sprintf("envelope of %s, %s, false alarm rate 0",
		rotationNames[pool.Balance.Rotation], units.Plural(states, "independent state"))
}

// whyUnknown says why nothing can be said of shares around faults.
func whyUnknown(h history.History) string {
	if why := check.WhyLedgerIncomplete(h); why != "" {
		return why
	}
	for _, m := range h.Env.Faults {
		if m.Err != "" {
			return fmt.Sprintf("it is not known how long %s of %s was in force", m.Event.Fault, m.Event.Target)
		}
	}
	return ""
}
