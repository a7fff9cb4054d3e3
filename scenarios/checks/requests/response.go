package requests

import (
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Response = check.Check{
	Name: plan.CheckResponse,
	Doc: "Responses carry the headers that the configuration adds, on the routes and for the statuses that it adds " +
		"them to, " +
		"once each.",
	Law: "one response without refutes, per route and status class (2xx, 3xx, 4xx, 5xx; the backend's and the " +
		"balancer's own)",
	Questions: responseQuestions,
	Beside:    plan.KindWaits,
	Claims:    responseClaims,
}

func responseClaims(cfg model.Config) []plan.Claim {
	found := check.GroupRoutes(cfg, func(r model.Route) []model.Header { return r.AddHeaders },
		func(h model.Header) string { return fmt.Sprint(h) })
	var claims []plan.Claim
	for _, g := range found {
		h := g.What
		on := "all of them"
		switch {
		case h.Proxied:
			on = "those that come from a backend; what the balancer answers by itself has it not"
		case h.Statuses != nil:
			on = "those with status " + units.StatusList(h.Statuses) + "; 4xx and 5xx have it not (no always)"
		}
		text := fmt.Sprintf("Responses of %s carry %s: %s: %s.", g.Paths(), h.Name, h.Value, on)
		claims = append(claims, check.NewClaim(plan.CheckResponse, g.Subject(), h.Name, h.Pos, text))
	}
	return check.DistinctIDs(claims)
}

func responseQuestions(cfg model.Config, claim plan.Claim) (asked []check.Question, cannot string) {
	_, name, _ := strings.Cut(claim.ID, "#")
	name, _, _ = strings.Cut(name, "~")
	shares := func(r model.Route) bool {
		return slices.ContainsFunc(r.AddHeaders, func(h model.Header) bool { return h.Pos == claim.Pos && h.Name == name })
	}
	for _, r := range check.CandidateRoutes(cfg, claim, shares) {
		ask := func(why string, kind plan.Kind, method, says string, code int, mine bool, edit func(*plan.Request)) {
			request, _ := check.WishingRequest(cfg, r, says)
			request.Method = method
			if edit != nil {
				edit(&request)
			}
			want := carries(r, request, name, code, mine)
			if kind == plan.KindBroken {
				want.Given = append(want.Given, 503) // after several attempts, with HAProxy
			}
			asked = append(asked, check.Question{Why: why, Kind: kind, Ask: request, Want: want})
		}
		if r.Answer != nil {
			ask(fmt.Sprintf("the balancer's own %d", r.Answer.Code), plan.KindQuestions, "GET", "", r.Answer.Code, true, nil)
		}
		if r.Own != nil {
			ask("a page of the balancer's own", plan.KindQuestions, "GET", "", 200, true, nil)
		}
		if request, _ := check.WishingRequest(cfg, r, ""); r.Pool == "" || request.Header["Upgrade"] != "" {
			continue
		}
		for _, code := range []int{200, 301, 404} {
			ask(fmt.Sprintf("a backend's %d", code), plan.KindQuestions, "GET", fmt.Sprintf("status=%d", code), code, false, nil)
		}
		if limit := r.MaxBody; limit != nil && limit.Value > 0 && limit.Value < largest {
			ask("the balancer's 413", plan.KindQuestions, "POST", "", 413, true, func(q *plan.Request) { q.Size = limit.Value + 1 })
		}
		for _, l := range r.Limits {
			if exceedable(l) {
				ask(fmt.Sprintf("the limit's %d",
					l.Status), plan.KindRefusals, "GET", "status=200&for=refusals", l.Status, true, nil)
				break
			}
		}
		ask("a backend's 500", plan.KindFailures, "POST", "status=500", 500, false, nil)
		ask("the balancer's 502", plan.KindBroken, "POST", "cut", 502, true, nil)
		if request, ok := unanswered(cfg, r); ok {
			want := carries(r, request, name, 504, true)
			asked = append(asked, check.Question{Why: "the balancer's 504", Kind: plan.KindWaits, Ask: request, Want: want})
		}
	}
	return asked, ""
}

// exceedable reports whether one client's requests can be made to go beyond a limit.
func exceedable(l model.Limit) bool {
	const most = 200 // requests
	if l.Law == model.InFlight || l.DryRun || !l.Key.IsAddress() {
		return false
	}
	return l.Rate > 0 && l.Rate <= most && check.AdmittedAtOnce(l) <= most
}

// carries is what an answer with a status is to have of the header fields of a name. own: the balancer makes it by
// itself.
func carries(r model.Route, request plan.Request, name string, code int, own bool) check.Reply {
	want := check.Reply{Given: []int{code}, Has: map[string][]string{}}
	field := textproto.CanonicalMIMEHeaderKey(name)
	var values []string
	for _, h := range r.AddHeaders {
		elsewhere := own && h.Proxied || h.Statuses != nil && !slices.Contains(h.Statuses, code)
		if elsewhere || !strings.EqualFold(h.Name, name) {
			continue
		}
		text, known := (exchange{route: r, request: request}).expand(h.Value)
		if !known {
			return check.Reply{Given: want.Given, Some: []string{field}}
		}
		values = append(values, text)
	}
	if len(values) == 0 && field == "Content-Type" {
		return want // every answer with a body has one
	}
	want.Has[field] = values
	return want
}
