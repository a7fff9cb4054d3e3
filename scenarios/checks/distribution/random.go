package distribution

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// tolerance is the relative deviation of a share that a test must exclude.
const tolerance = 0.2

// maxDrawFactor limits a phase to this multiple of the draws needed on average.
const maxDrawFactor = 5

// drawShares returns the shares with which servers are drawn. idle: they only hold without other requests in flight.
func drawShares(pool model.Pool) (shares []float64, idle bool) {
	weights, several := check.WeightsOf(check.Rotation(pool)), pool.Balance.Choices > 1
	switch {
	case pool.Balance.Draw == model.DrawnByArcs: // of several candidates, the last wins at idle
		return stats.RingShares(weights), several
	case several:
		return stats.TwoChoiceShares(weights), true
	}
	return stats.Shares(weights), false
}

// isRandom reports whether servers are drawn at random, with shares that lbproof knows.
func isRandom(b model.Balance) bool {
	few := b.Kind == model.LeastConnections && b.Choices > 0 && b.Draw != model.DrawnUniformly
	return b.Kind == model.Random || few
}

func randomRequirement(claim plan.Claim, pool model.Pool, r plan.Request, params check.DesignParams) check.Requirement {
	shares, idle := drawShares(pool)
	t := check.Requirement{
		Kind: plan.KindSampling,
		Detects: fmt.Sprintf("shares of %s off by %.0f %% (power %g); stops once conclusive",
			pool.Name, 100*tolerance, 1-params.Beta),
		Phase: plan.Phase{
			Count: maxDrawFactor * stats.DrawsToAccept(shares, tolerance, params.Beta), Concurrency: check.RotationInFlight,
			Requests: []plan.Request{r},
		},
	}
	if idle {
		t.About, t.Phase.Concurrency = "one in flight", 1
	}
	draws := plan.StopRule{
		Claim: claim.ID, Shares: map[string]float64{}, Tolerance: tolerance, Alpha: params.Alpha,
		Beta: params.Beta,
	}
	for i, s := range check.Rotation(pool) {
		draws.Shares[s.Host] = shares[i]
	}
	t.Phase.StopRules = []plan.StopRule{draws}
	return t
}

// judgeRandom treats the responses of a pool's servers as independent draws.
func judgeRandom(h history.History, pool model.Pool) check.Finding {
	active := check.Rotation(pool)
	shares, idle := drawShares(pool)
	index, _ := indexServers(active)
	test, counts, busy := stats.NewSequentialTest(shares, tolerance), make([]int, len(active)), 0
	var unexpected check.Examples
	find := check.RouteFinder(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		switch {
		case j == nil || j.Route.Pool != pool.Name || j.Tunnel:
			continue
		case hit.Server == "" || check.IsDuringFault(h, hit):
			continue
		case idle && hit.InFlight > 1:
			busy++
			continue
		}
		i, in := index[hit.Server]
		if !in {
			unexpected.Add("request %d was answered by %s, which is not in rotation", hit.Seq, hit.Server)
			continue
		}
		test.Add(i)
		counts[i]++
	}
	return sequentialFinding(h, test, counts, shares, unexpected, busy)
}

// sequentialFinding summarises a sequential test of draws.
func sequentialFinding(
	h history.History, test *stats.SequentialTest, counts []int, shares []float64, unexpected check.Examples, busy int,
) check.Finding {
	f := check.Finding{Tested: true, AnytimeValid: true, P: test.P(), CounterExamples: unexpected.List()}
	f.Test = fmt.Sprintf("sequential test of independent draws: refuted if the shares differ (alpha %g), "+
		"upheld if each is within %.0f %% (beta %g)", h.Plan.Alpha, 100*tolerance, h.Plan.Beta)
	var got, want []string
	for i, n := range counts {
		f.N += n
		got = append(got, units.Number(n))
		want = append(want, units.PercentTenths(shares[i]))
	}
	f.Measured, f.Predicted = strings.Join(got, " : "), strings.Join(want, " : ")
	f.Need = max(f.N+1, stats.DrawsToAccept(shares, tolerance, h.Plan.Beta))
	if test.Accepts(h.Plan.Beta) {
		f.Need = f.N
		f.Power = fmt.Sprintf("would have caught a share off by %.0f %% with probability %g", 100*tolerance, 1-h.Plan.Beta)
	}
	if f.N == 0 && busy > 0 {
		f.Inconclusive = fmt.Sprintf("%s overlapped others, and the shares are only known at idle; "+
			"lbproof test CONFIG sends them sequentially", units.Plural(busy, "request"))
	}
	return f
}
