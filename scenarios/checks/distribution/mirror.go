package distribution

import (
	"fmt"
	"math"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Mirror = check.Check{
	Name: plan.CheckMirror,
	Doc:  "A share of the requests is copied to another pool, whose answers nobody sees.",
	Law: "copies are joined to requests by their id: nginx copies every request once, Traefik keeps to its share " +
		"to two copies, because it copies whenever it is behind it (mirror.go); an answer of a server for copies " +
		"refutes",
	Evidence: check.Evidence{Copies: true},
	Claims: func(cfg model.Config) []plan.Claim {
		found := check.GroupRoutes(cfg, func(r model.Route) []model.Share { return r.Mirrors }, func(s model.Share) string { return fmt.Sprint(s) })
		var claims []plan.Claim
		for _, g := range found {
			claims = append(claims, plan.Claim{
				ID: check.ClaimID(plan.CheckMirror, g.Subject(), g.What.Pool), Check: plan.CheckMirror, Subject: g.Subject(), Pos: g.What.Pos, Params: plan.Params{plan.ParamShare: plan.Amount(g.What.Share)},
				Text: fmt.Sprintf("%.4g %% of the requests to %s are copied to %s, whose answers reach no client.", 100*g.What.Share, g.Paths(), g.What.Pool),
			})
		}
		return claims
	},
	Trials: mirrorTrials,
	Judge:  judgeMirror,
}

// tell is how many copies more or less show a share that is a quarter off, two copies aside.
const tell = 16

func mirrorTrials(cfg model.Config, claim plan.Claim, terms check.Terms) []check.Trial {
	r, ok := check.RouteOf(cfg, claim)
	if _, askable := r.Askable(); !ok || !askable || len(r.Access) > 0 {
		return nil
	}
	return []check.Trial{{
		Kind: plan.KindCopies, Load: plan.Phase{Count: mirrorNeeds(claim, terms.Beta), Concurrency: check.TurnsInFlight, Requests: []plan.Request{check.RequestTo(r, nil)}},
		Shows: fmt.Sprintf("copies of %s that do not come, come twice or are answered", claim.Subject),
	}}
}

// mirrorNeeds is how many requests decide: enough to see what 1 % of them break, or a share that is a quarter off.
func mirrorNeeds(claim plan.Claim, beta float64) int {
	need := math.Log(beta) / math.Log(1-0.01)
	if share := claim.Params[plan.ParamShare]; share < 1 {
		need = tell / float64(share)
	}
	return int(math.Ceil(need))
}

func judgeMirror(claim plan.Claim, h history.History) check.Finding {
	f := check.Finding{Test: "count of the copies at the backends, joined to the requests by their id; false alarm rate 0", Broken: check.NodeDied(h)}
	r, _ := check.RouteOf(h.Plan.Config, claim)
	hosts, share := check.MirrorServers(h.Plan.Config, r), float64(claim.Params[plan.ParamShare])
	if len(hosts) == 0 {
		return check.Finding{Cannot: "copies go to servers that lbproof does not know, or to those that get the requests too"}
	}
	if f.Broken == "" {
		f.Broken = check.LostWitness(h)
	}
	find := check.Journeys(h)
	counts := func(seq uint64) bool {
		j := find(seq)
		return j != nil && j.Key == claim.Subject && !j.Tunnel && h.Plan.Phases[j.Load].Engine != plan.Prober
	}
	copies := map[uint64]int{}
	for a := range h.Arrivals {
		if counts(a.Seq) && slices.Contains(hosts, a.Server) {
			copies[a.Seq]++
		}
	}
	var wrong check.Examples
	made := 0
	for hit := range h.Hits {
		if !counts(hit.Seq) || hit.Err != "" || check.FaultInForce(h, hit) {
			continue
		}
		f.N++
		n := copies[hit.Seq]
		made += n
		switch {
		case slices.Contains(hosts, hit.Server):
			wrong.Add("request %d was answered by %s, which is to get copies only", hit.Seq, hit.Server)
		case n > 1:
			wrong.Add("request %d was copied %d times", hit.Seq, n)
		case n == 0 && share == 1:
			wrong.Add("request %d was not copied", hit.Seq)
		}
	}
	if expected := share * float64(f.N); math.Abs(float64(made)-expected) > 2 && share < 1 {
		wrong.Add("%s of %s copied, where %.0f are promised, to two", units.Number(made), units.Plural(f.N, "request"), expected)
	}
	f.Counter, f.Need = wrong.List(), mirrorNeeds(claim, h.Plan.Beta)
	f.Measured = fmt.Sprintf("%s copies of %s, %s wrong", units.Number(made), units.Plural(f.N, "request"), units.Number(wrong.Total))
	f.Predicted = fmt.Sprintf("%.4g %%, each once, none answered", 100*share)
	f.Power = "would have caught a copy too few or too many of 1 % of the requests, or a share that is a quarter off"
	return f
}
