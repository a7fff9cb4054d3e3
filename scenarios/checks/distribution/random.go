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

// within is the relative deviation of a share that draws must be able to exclude.
const within = 0.2

// patient is how many times the draws that are needed on average a trial may take.
const patient = 5

// chances are the shares by which a pool's servers are drawn. idle: only while nobody is busy.
func chances(pool model.Pool) (shares []float64, idle bool) {
	weights, several := check.WeightsOf(check.Rotation(pool)), pool.Balance.Choices > 1
	switch {
	case pool.Balance.Draw == model.DrawnByArcs: // of several the last is taken while all are idle
		return stats.RingShares(weights), several
	case several:
		return stats.TwoDraws(weights), true
	}
	return stats.Shares(weights), false
}

// isDrawn reports whether servers are drawn, by shares that lbproof knows.
func isDrawn(b model.Balance) bool {
	few := b.Kind == model.LeastConnections && b.Choices > 0 && b.Draw != model.DrawnAlike
	return b.Kind == model.Random || few
}

func chanceTrial(claim plan.Claim, pool model.Pool, r plan.Request, terms check.Terms) check.Trial {
	shares, idle := chances(pool)
	t := check.Trial{
		Kind: plan.KindDraws,
		Shows: fmt.Sprintf("shares of %s that are %.0f %% off, with probability %g; it ends as soon as it knows",
			pool.Name, 100*within, 1-terms.Beta),
		Load: plan.Phase{
			Count: patient * stats.DrawsToShow(shares, within, terms.Beta), Concurrency: check.TurnsInFlight,
			Requests: []plan.Request{r},
		},
	}
	if idle {
		t.About, t.Load.Concurrency = "one at a time", 1
	}
	draws := plan.Draws{
		Claim: claim.ID, Shares: map[string]float64{}, Within: within, Alpha: terms.Alpha,
		Beta: terms.Beta,
	}
	for i, s := range check.Rotation(pool) {
		draws.Shares[s.Host] = shares[i]
	}
	t.Load.Draws = []plan.Draws{draws}
	return t
}

// judgeChance counts the answers of a pool's servers one after another, as draws.
func judgeChance(h history.History, pool model.Pool) check.Finding {
	active := check.Rotation(pool)
	shares, idle := chances(pool)
	index, _ := indexOf(active)
	test, counts, busy := stats.NewDraws(shares, within), make([]int, len(active)), 0
	var strangers check.Examples
	find := check.Journeys(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		switch {
		case j == nil || j.Route.Pool != pool.Name || j.Tunnel:
			continue
		case hit.Server == "" || check.FaultInForce(h, hit):
			continue
		case idle && hit.Flight > 1:
			busy++
			continue
		}
		i, in := index[hit.Server]
		if !in {
			strangers.Add("request %d was answered by %s, which is not in the rotation", hit.Seq, hit.Server)
			continue
		}
		test.Add(i)
		counts[i]++
	}
	return drawnFinding(h, test, counts, shares, strangers, busy)
}

// drawnFinding says what draws have come to.
func drawnFinding(
	h history.History, test *stats.Draws, counts []int, shares []float64, strangers check.Examples, busy int,
) check.Finding {
	f := check.Finding{Tested: true, Anytime: true, P: test.P(), Counter: strangers.List()}
	f.Test = fmt.Sprintf("sequential test of independent draws: refuted where shares are others (alpha %g), "+
		"upheld where each is within %.0f %% (beta %g)", h.Plan.Alpha, 100*within, h.Plan.Beta)
	var got, want []string
	for i, n := range counts {
		f.N += n
		got = append(got, units.Number(n))
		want = append(want, units.Tenths(shares[i]))
	}
	f.Measured, f.Predicted = strings.Join(got, " : "), strings.Join(want, " : ")
	f.Need = max(f.N+1, stats.DrawsToShow(shares, within, h.Plan.Beta))
	if test.Near(h.Plan.Beta) {
		f.Need = f.N
		f.Power = fmt.Sprintf("would have caught a share that is %.0f %% off with probability %g", 100*within, 1-h.Plan.Beta)
	}
	if f.N == 0 && busy > 0 {
		f.Broken = fmt.Sprintf("%s came while others were in flight, whose law is another: "+
			"lbproof test CONFIG asks one at a time", units.Plural(busy, "request"))
	}
	return f
}
