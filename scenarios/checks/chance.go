package checks

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
)

// within is the relative deviation of a share that draws must be able to exclude.
const within = 0.2

// patient is how many times the draws that are needed on average a trial may take.
const patient = 5

// Chances are the shares by which a pool's servers are drawn. idle: only while nobody is busy.
func Chances(cfg model.Config, pool model.Pool) (shares []float64, idle bool) {
	weights := weightsOf(rotation(pool))
	switch {
	case cfg.Balancer == "haproxy": // of two by default, of which the second is taken while both are idle
		return stats.RingShares(weights), !strings.HasPrefix(pool.Method, "random(1)")
	case strings.HasPrefix(pool.Method, "random two"):
		return stats.TwoDraws(weights), true
	}
	return stats.Shares(weights), false
}

func chanceTrial(cfg model.Config, claim plan.Claim, pool model.Pool, r plan.Request, terms Terms) Trial {
	shares, idle := Chances(cfg, pool)
	t := Trial{
		Kind: Drawn, Shows: fmt.Sprintf("shares of %s that are %.0f %% off, with probability %g; it ends as soon as it knows", pool.Name, 100*within, 1-terms.Beta),
		Load: plan.Phase{Count: patient * stats.DrawsToShow(shares, within, terms.Beta), Concurrency: inTurns, Requests: []plan.Request{r}},
	}
	if idle {
		t.Kind, t.Load.Concurrency = Drawn+" one at a time", 1
	}
	draws := plan.Draws{Claim: claim.ID, Shares: map[string]float64{}, Within: within, Alpha: terms.Alpha, Beta: terms.Beta}
	for i, s := range rotation(pool) {
		draws.Shares[s.Host] = shares[i]
	}
	t.Load.Draws = []plan.Draws{draws}
	return t
}

// judgeChance counts the answers of a pool's servers one after another, as draws.
func judgeChance(h history.History, pool model.Pool) Finding {
	active := rotation(pool)
	shares, idle := Chances(h.Plan.Config, pool)
	index, _ := indexOf(active)
	test, counts, busy := stats.NewDraws(shares, within), make([]int, len(active)), 0
	var strangers examples
	find := journeys(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		switch {
		case j == nil || j.route.Pool != pool.Name || j.tunnel || hit.Server == "" || faulty(h, hit):
			continue
		case idle && hit.Flight > 1:
			busy++
			continue
		}
		i, in := index[hit.Server]
		if !in {
			strangers.add("request %d was answered by %s, which is not in the rotation", hit.Seq, hit.Server)
			continue
		}
		test.Add(i)
		counts[i]++
	}
	return drawnFinding(h, test, counts, shares, strangers, busy)
}

// drawnFinding says what draws have come to.
func drawnFinding(h history.History, test *stats.Draws, counts []int, shares []float64, strangers examples, busy int) Finding {
	f := Finding{Tested: true, Anytime: true, P: test.P(), Counter: strangers.list()}
	f.Test = fmt.Sprintf("sequential test of independent draws: refuted where shares are others (alpha %g), upheld where each is within %.0f %% (beta %g)",
		h.Plan.Alpha, 100*within, h.Plan.Beta)
	var got, want []string
	for i, n := range counts {
		f.N += n
		got = append(got, number(n))
		want = append(want, percent3(shares[i]))
	}
	f.Measured, f.Predicted = strings.Join(got, " : "), strings.Join(want, " : ")
	f.Need = max(f.N+1, stats.DrawsToShow(shares, within, h.Plan.Beta))
	if test.Near(h.Plan.Beta) {
		f.Need = f.N
		f.Power = fmt.Sprintf("would have caught a share that is %.0f %% off with probability %g", 100*within, 1-h.Plan.Beta)
	}
	if f.N == 0 && busy > 0 {
		f.Broken = fmt.Sprintf("%s came while others were in flight, whose law is another: lbproof test CONFIG asks one at a time", plural(busy, "request"))
	}
	return f
}
