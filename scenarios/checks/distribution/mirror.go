package distribution

import (
	"cmp"
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
	Doc:  "A share of requests is copied to another pool, whose responses clients never see.",
	Law: "copies, matched to requests by ID: nginx copies each request once, Traefik stays within two copies of " +
		"its share; a response from a mirror server refutes",
	Evidence: check.Evidence{Copies: true},
	Claims: func(cfg model.Config) []plan.Claim {
		mirrors := func(r model.Route) []model.Share { return r.Mirrors }
		found := check.GroupRoutes(cfg, mirrors, func(s model.Share) string { return fmt.Sprint(s) })
		var claims []plan.Claim
		for _, g := range found {
			claims = append(claims, plan.Claim{
				ID: check.ClaimID(plan.CheckMirror, g.Subject(), g.What.Pool), Check: plan.CheckMirror, Subject: g.Subject(),
				Detail: g.What.Pool, Pos: g.What.Pos, Params: plan.Params{plan.ParamShare: plan.Amount(g.What.Share)},
				Text: fmt.Sprintf("%.4g %% of requests to %s are copied to %s, whose responses reach no client.",
					100*g.What.Share, g.Paths(), g.What.Pool),
			})
		}
		return claims
	},
	Requirements: mirrorRequirements,
	Judge:        judgeMirror,
}

// detectableCopies is the number of copies that shows a share off by a quarter, apart from two copies of slack.
const detectableCopies = 16

func mirrorRequirements(cfg model.Config, claim plan.Claim, params check.DesignParams) []check.Requirement {
	r, ok := check.RouteOf(cfg, claim)
	if _, askable := r.ProbeHost(); !ok || !askable || len(r.Access) > 0 {
		return nil
	}
	return []check.Requirement{{
		Kind: plan.KindMirroring,
		Phase: plan.Phase{
			Count: mirrorSampleSize(claim, params.Beta), Concurrency: check.RotationInFlight,
			Requests: []plan.Request{check.RequestTo(r, nil)},
		},
		Detects: fmt.Sprintf("missing, duplicate or answered copies of %s", claim.Subject),
	}}
}

// mirrorSampleSize is the number of requests that shows a fault on 1 % of them, or a share off by a quarter.
func mirrorSampleSize(claim plan.Claim, beta float64) int {
	need := math.Log(beta) / math.Log(1-0.01)
	if share := claim.Params[plan.ParamShare]; share < 1 {
		need = detectableCopies / float64(share)
	}
	return int(math.Ceil(need))
}

func judgeMirror(claim plan.Claim, h history.History) check.Finding {
	r, _ := check.RouteOf(h.Plan.Config, claim)
	hosts, share := check.MirrorServers(h.Plan.Config, r), float64(claim.Params[plan.ParamShare])
	if len(hosts) == 0 {
		return check.Finding{Untestable: "the mirror servers are unknown, or also receive the requests themselves"}
	}
	m := mirrorTally{claim: claim, hosts: hosts, share: share}
	m.count(h)
	if expected := share * float64(m.requests); math.Abs(float64(m.copies)-expected) > 2 && share < 1 {
		m.wrong.Add("%s of %s copied; expected %.0f (within two)",
			units.Number(m.copies), units.Plural(m.requests, "request"), expected)
	}
	return check.Finding{
		N: m.requests, Need: mirrorSampleSize(claim, h.Plan.Beta), CounterExamples: m.wrong.List(),
		Inconclusive: cmp.Or(check.WhyNodeExited(h), check.WhyLedgerIncomplete(h)),
		Test:         "copies counted at the backends, matched to requests by ID; false alarm rate 0",
		Measured: fmt.Sprintf("%s copies of %s, %s wrong",
			units.Number(m.copies), units.Plural(m.requests, "request"), units.Number(m.wrong.Total)),
		Predicted: fmt.Sprintf("%.4g %%, each once, none answered", 100*share),
		Power:     "would have caught a missing or extra copy of 1 % of requests, or a share off by 25 %",
	}
}

// mirrorTally counts mirrored requests and their copies.
type mirrorTally struct {
	claim            plan.Claim
	hosts            []string // that receive copies
	share            float64
	requests, copies int // of them
	wrong            check.Examples
}

// count counts requests and their copies.
func (m *mirrorTally) count(h history.History) {
	find := check.RouteFinder(h)
	counts := func(seq uint64) bool {
		j := find(seq)
		mine := j != nil && j.Key == m.claim.Subject
		return mine && !j.Tunnel && h.Plan.Phases[j.Phase].Engine != plan.Prober
	}
	copies := map[uint64]int{}
	for a := range h.Arrivals {
		if counts(a.Seq) && slices.Contains(m.hosts, a.Server) {
			copies[a.Seq]++
		}
	}
	for hit := range h.Hits {
		if !counts(hit.Seq) || hit.Err != "" || check.IsDuringFault(h, hit) {
			continue
		}
		m.requests++
		m.copies += copies[hit.Seq]
		m.judge(hit, copies[hit.Seq])
	}
}

// judge judges one request and its copies.
func (m *mirrorTally) judge(hit history.Hit, copies int) {
	switch {
	case slices.Contains(m.hosts, hit.Server):
		m.wrong.Add("request %d was answered by %s, which should only receive copies", hit.Seq, hit.Server)
	case copies > 1:
		m.wrong.Add("request %d was copied %d times", hit.Seq, copies)
	case copies == 0 && m.share == 1:
		m.wrong.Add("request %d was not copied", hit.Seq)
	}
}
