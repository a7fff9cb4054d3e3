package requests

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Endpoint = check.Check{
	Name:          plan.CheckEndpoint,
	Doc:           "Responses of the balancer itself have the configured status and body; no backend sees the request.",
	Law:           "one different response refutes",
	Claims:        endpointClaims,
	ExtraRequests: endpointRequests,
	Judge:         judgeEndpoint,
}

func endpointClaims(cfg model.Config) []plan.Claim {
	return check.EachRoute(cfg.Routes, func(r model.Route) []plan.Claim {
		if _, ok := r.ProbeHost(); !ok || r.StaticResponse == nil {
			return nil
		}
		text := fmt.Sprintf("The balancer itself answers %s with %d %q; no backend sees the request.",
			r.Key(), r.StaticResponse.Code, r.StaticResponse.Body.Source)
		claim := check.NewClaim(plan.CheckEndpoint, r.Key(), "", r.StaticResponse.Pos, text)
		claim.Params = plan.Params{plan.ParamCode: plan.Amount(r.StaticResponse.Code)}
		return []plan.Claim{claim}
	})
}

func endpointRequests(cfg model.Config, claim plan.Claim) []plan.Request {
	r, ok := check.RouteOf(cfg, claim)
	if !ok || mayBeRefused(r) || r.StaticResponse == nil {
		return nil
	}
	if _, fixed := r.StaticResponse.Body.FixedText(); !fixed {
		return nil
	}
	return []plan.Request{check.RequestTo(r, nil)}
}

// mayBeRefused reports whether something other than a rate limit may refuse requests to a route.
func mayBeRefused(r model.Route) bool { return len(r.Access) > 0 || len(r.Rules) > 0 || r.Auth != nil }

func judgeEndpoint(claim plan.Claim, h history.History) check.Finding {
	r, ok := check.RouteOf(h.Plan.Config, claim)
	if !ok || r.StaticResponse == nil {
		return check.Finding{Untestable: "the configuration has no endpoint " + claim.Subject}
	}
	if mayBeRefused(r) {
		return check.Finding{Inconclusive: check.NoExperiment + ": other rules may refuse requests first"}
	}
	body, fixed := r.StaticResponse.Body.FixedText()
	if !fixed {
		return check.Finding{Inconclusive: check.NoExperiment + ": the body contains variables"}
	}
	f := check.Finding{
		Need: check.RequestsNeeded(h), Inconclusive: check.WhyLedgerIncomplete(h),
		Test:      "status, body and absence from every backend's ledger, for every request",
		Predicted: fmt.Sprintf("%d, %d B, no backend", r.StaticResponse.Code, len(body)),
	}
	var wrong check.Examples
	f.N = countWrongAnswers(h, claim.Subject, *r.StaticResponse, &wrong)
	if exited := check.WhyNodeExited(h); exited == "" {
		f.CounterExamples = wrong.List()
	} else {
		f.Inconclusive = exited
	}
	f.Measured = fmt.Sprintf("%s of %s differ", units.Number(wrong.Total), units.Number(f.N))
	f.Power = check.RequestPower(f.N, h)
	return f
}

// countWrongAnswers counts the responses to a route that the balancer answers itself, and collects those that differ
// from the configured one, whose body must be fixed.
func countWrongAnswers(h history.History, route string, answer model.StaticResponse, wrong *check.Examples) (n int) {
	body, _ := answer.Body.FixedText()
	find, sum := check.RouteFinder(h), history.Checksum([]byte(body))
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.Key != route {
			continue
		}
		if hit.Err == history.Tester || check.MaybeLimited(j.Route, hit) {
			continue
		}
		n++
		switch {
		case hit.Err != "":
			wrong.Add("request %d failed: %s", hit.Seq, hit.Err)
		case hit.Code != answer.Code:
			wrong.Add("request %d was answered %d by %s", hit.Seq, hit.Code, check.ResponderOf(hit))
		case hit.Server != "":
			wrong.Add("request %d was answered by %s", hit.Seq, hit.Server)
		case hit.Checksum != sum || hit.Size != int64(len(body)):
			wrong.Add("request %d got a different body of %d B", hit.Seq, hit.Size)
		}
	}
	for a := range h.Arrivals {
		if j := find(a.Seq); j != nil && j.Key == route {
			wrong.Add("request %d reached %s", a.Seq, a.Server)
		}
	}
	return n
}
