package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

var Breaker = check.Check{
	Name: plan.CheckBreaker,
	Doc:  "After too many failures, all requests are refused for a while and then gradually admitted again.",
	Law: "trips within checkPeriod after its condition holds over the last 10 s; refuses all requests for " +
		"fallbackDuration; then the admitted share stays below a line that grows to one half over recoveryDuration",
	Requirements: breakerRequirements,
	Judge:        judgeBreaker,
	Claims: func(cfg model.Config) []plan.Claim {
		found := check.GroupRoutes(cfg, func(r model.Route) []*model.Breaker {
			if r.Breaker == nil {
				return nil
			}
			return []*model.Breaker{r.Breaker}
		}, func(b *model.Breaker) string { return fmt.Sprint(b.Pos) })
		var claims []plan.Claim
		for _, g := range found {
			b := g.What
			claims = append(claims, plan.Claim{
				ID: check.ClaimID(plan.CheckBreaker, g.Subject(), ""), Check: plan.CheckBreaker, Subject: g.Subject(), Pos: b.Pos,
				Params: plan.Params{
					plan.ParamOpen:          plan.Amount(units.Seconds(b.OpenDuration)),
					plan.ParamRecovery:      plan.Amount(units.Seconds(b.RecoveryDuration)),
					plan.ParamCheckInterval: plan.Amount(units.Seconds(b.CheckPeriod)), plan.ParamCode: plan.Amount(b.Code),
				},
				Text: fmt.Sprintf("All requests to %s are refused with %d for %s once %s holds (evaluated every "+
					"%s), then gradually admitted over %s.",
					g.Paths(), b.Code, units.Duration(b.OpenDuration), b.Trip, units.Duration(b.CheckPeriod),
					units.Duration(b.RecoveryDuration)),
				Assumptions: []string{"any number of requests can trip the breaker: on a quiet route, one failure is enough"},
			})
		}
		return claims
	},
}

// trippingRate is the number of requests per second while a breaker trips and recovers.
const trippingRate = 20

// breakerOf returns the breaker of a claim and a route to test it; ok is false if backend errors do not trip it.
func breakerOf(cfg model.Config, claim plan.Claim) (b model.Breaker, r model.Route, ok bool) {
	same := func(r model.Route) bool { return r.Breaker != nil && r.Breaker.Pos == claim.Pos && r.Pool != "" }
	routes := check.CandidateRoutes(cfg, claim, same)
	if len(routes) == 0 || !routes[0].Breaker.Trip.OpensOnErrors() {
		return b, r, false
	}
	return *routes[0].Breaker, routes[0], true
}

// breakerRequirements requests failures until the breaker must have tripped, then normal responses until it has
// recovered, even if it has tripped twice.
func breakerRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	b, r, ok := breakerOf(cfg, claim)
	failing, recovery := b.CheckPeriod+2*time.Second, b.OpenDuration+b.RecoveryDuration+b.CheckPeriod+check.WaitMargin
	if !ok || failing+recovery > 2*check.MaxWait {
		return nil
	}
	requirement := func(kind plan.PhaseKind, spec, detects string, lasts time.Duration) check.Requirement {
		request, _ := check.RequestWithSpec(cfg, r, spec)
		return check.Requirement{Kind: kind, Detects: detects, Phase: plan.Phase{
			Rate: trippingRate, Count: int(trippingRate * lasts.Seconds()), Concurrency: 64, Requests: []plan.Request{request},
		}}
	}
	return []check.Requirement{
		calmRequirement(requirement(plan.KindBreakerClosed, "status=200&for=calm",
			"a breaker that is open too early, or evaluates at the wrong time", b.CheckPeriod), b),
		requirement(plan.KindBreakerTripping, "status=500&for=tripping",
			"a breaker that trips too late, or not at all", failing),
		requirement(plan.KindBreakerRecovery, "status=200&for=tripped",
			"a breaker that refuses for too short or too long, or does not recover", recovery),
	}
}

// calmRequirement sends two requests so far apart that the breaker evaluates at the second, which determines the next
// evaluation.
func calmRequirement(t check.Requirement, b model.Breaker) check.Requirement {
	t.Phase.Count, t.Phase.Rate = 2, 1/(b.CheckPeriod+time.Second).Seconds()
	return t
}

// judgeBreaker evaluates when the first request was refused, and the outcome of those after it.
func judgeBreaker(claim plan.Claim, h history.History) check.Finding {
	b, r, ok := breakerOf(h.Plan.Config, claim)
	if !ok {
		return check.Finding{Inconclusive: check.NoExperiment + ": no known failure trips the breaker"}
	}
	f := check.Finding{Need: 2 * trippingRate, Test: "times of the first and last refusal after the first failure, " +
		"and all responses between them"}
	find := check.RouteFinder(h)
	t := trip{Breaker: b, specOf: func(hit history.Hit) string {
		if j := find(hit.Seq); j != nil && j.Key == r.Key() && hit.Err != history.Tester {
			return j.Request.Header[history.ResponseSpecHeader]
		}
		return ""
	}}
	for hit := range h.Hits {
		t.addTime(hit)
	}
	t.judgeChecks()
	for hit := range h.Hits {
		t.judgeHit(hit)
	}
	t.judgeRecovery()
	f.N = t.n
	f.Predicted = fmt.Sprintf("trips within %s, refuses all requests for %s, and none after another %s",
		units.Duration(2*b.CheckPeriod+time.Second), units.Duration(b.OpenDuration), units.Duration(b.RecoveryDuration))
	f.Power = "detects a breaker that does not trip, admits requests too early, or does not recover"
	if f.N == 0 {
		return f
	}
	f.Measured = fmt.Sprintf("tripped %.2f s after the first failure, last refusal %.2f s later",
		(t.tripped - t.firstFailure).Seconds(), (t.lastRefusal - t.tripped).Seconds())
	if f.Inconclusive = check.WhyNodeExited(h); f.Inconclusive == "" {
		f.CounterExamples = t.contradictions()
	}
	return f
}

// trip is what a breaker did: when backends failed first and last, and when it refused first and last.
type trip struct {
	model.Breaker
	specOf func(history.Hit) string // the response spec of a hit

	n, readmitted                                   int // hits, and those admitted after it was open
	firstFailure, lastFailure, tripped, lastRefusal time.Duration
	calmHits                                        []history.Hit // before the failures, in order
	trippingHits                                    []history.Hit // since the first failure, in order
	wrong                                           check.Examples
}

func (t *trip) isRefusal(hit history.Hit) bool { return hit.Server == "" && hit.Code == t.Code }

// addTime records when the failures and refusals began and ended.
func (t *trip) addTime(hit history.Hit) {
	spec := t.specOf(hit)
	if strings.Contains(spec, "&for=calm") {
		t.calmHits = append(t.calmHits, hit)
	}
	if !strings.Contains(spec, "&for=tripp") {
		return
	}
	t.n++
	t.trippingHits = append(t.trippingHits, hit)
	if strings.Contains(spec, "for=tripping") {
		t.lastFailure = max(t.lastFailure, hit.Sent)
		if t.firstFailure == 0 || hit.Sent < t.firstFailure {
			t.firstFailure = hit.Sent
		}
	}
	if t.isRefusal(hit) && (t.tripped == 0 || hit.Done < t.tripped) {
		t.tripped = hit.Done
	}
}

// judgeHit judges a hit by the time since the breaker tripped.
func (t *trip) judgeHit(hit history.Hit) {
	if t.tripped == 0 || !strings.Contains(t.specOf(hit), "&for=tripp") {
		return
	}
	since := (hit.Sent - t.tripped).Seconds()
	switch refused := t.isRefusal(hit); {
	case hit.Sent > t.tripped && hit.Done < t.tripped+t.OpenDuration-outage.Tolerance && !refused:
		t.wrong.Add("request %d got status %d from %s %.2f s after the breaker tripped (all refused for %s)",
			hit.Seq, hit.Code, check.ResponderOf(hit), since, units.Duration(t.OpenDuration))
	case hit.Sent > max(t.tripped, t.lastFailure)+t.OpenDuration+t.RecoveryDuration+t.CheckPeriod+time.Second && refused:
		t.wrong.Add("request %d was refused %.2f s after the last failure", hit.Seq, (hit.Sent - t.lastFailure).Seconds())
	case hit.Sent > t.tripped+t.OpenDuration+outage.Tolerance && !refused:
		t.readmitted++
	}
	if t.isRefusal(hit) {
		t.lastRefusal = max(t.lastRefusal, hit.Sent)
	}
}

// judgeChecks judges when it tripped, by two calm requests: it evaluates on a response if checkPeriod has passed since
// the last evaluation (oxy, cbreaker.go), so at the second of them, and then at the first response that much later.
func (t *trip) judgeChecks() {
	bySent := func(a, b history.Hit) int { return int(a.Sent - b.Sent) }
	slices.SortFunc(t.calmHits, bySent)
	slices.SortFunc(t.trippingHits, bySent)
	n := len(t.calmHits)
	if n < 2 || t.tripped == 0 {
		return
	}
	evaluated := t.calmHits[n-1]
	if evaluated.Sent-t.calmHits[n-2].Done < t.CheckPeriod || evaluated.Server == "" {
		return
	}
	if t.tripped < evaluated.Sent+t.CheckPeriod {
		t.wrong.Add("it tripped %.2f s after its evaluation at request %d (interval %s)",
			(t.tripped - evaluated.Sent).Seconds(), evaluated.Seq, units.Duration(t.CheckPeriod))
	}
	due := time.Duration(0) // when it must have tripped
	for _, hit := range t.trippingHits {
		switch {
		case hit.Sent >= t.tripped:
			return
		case due > 0 && hit.Sent > due+outage.Tolerance && hit.Done < t.tripped:
			t.wrong.Add("request %d was admitted %.2f s after the evaluation at request %d (interval %s)",
				hit.Seq, (hit.Sent - evaluated.Done).Seconds(), evaluated.Seq, units.Duration(t.CheckPeriod))
			return
		case due == 0 && hit.Sent > evaluated.Done+t.CheckPeriod+outage.Tolerance:
			due = hit.Done
		}
	}
}

// judgeRecovery judges how many requests it admits during recovery: their share of all requests stays below one half of
// the fraction of recoveryDuration that has passed (oxy, ratio.go). The tolerance of two requests covers those in
// flight at its start.
func (t *trip) judgeRecovery() {
	const tolerance = 2
	first := slices.IndexFunc(t.trippingHits, func(hit history.Hit) bool { return hit.Sent > t.tripped+t.OpenDuration })
	if first < 0 || t.tripped == 0 || t.lastFailure > t.tripped+t.OpenDuration {
		return
	}
	start, in, all := t.trippingHits[first].Done, 0, 0
	for _, hit := range t.trippingHits[first:] {
		if hit.Sent > t.tripped+t.OpenDuration+t.RecoveryDuration {
			return
		}
		all++
		refused := t.isRefusal(hit)
		recovering := max(0, hit.Sent-start-outage.Tolerance)
		minAdmitted := 0.5 * recovering.Seconds() / t.RecoveryDuration.Seconds() * float64(all-tolerance)
		recovered := hit.Done - t.tripped - t.OpenDuration + outage.Tolerance + 2*time.Second/trippingRate
		maxAdmitted := 0.5 * recovered.Seconds() / t.RecoveryDuration.Seconds() * float64(all+tolerance)
		switch {
		case refused && float64(in+1+tolerance) < minAdmitted:
			t.wrong.Add("request %d was refused %.2f s into the recovery, after %s of %s were admitted (min %.0f)",
				hit.Seq, (hit.Sent - start).Seconds(), units.Number(in), units.Number(all), minAdmitted)
		case !refused && float64(in+1-tolerance) > maxAdmitted:
			t.wrong.Add("request %d was admitted %.2f s into the recovery, after %s of %s were admitted (max %.0f)",
				hit.Seq, (hit.Sent - start).Seconds(), units.Number(in), units.Number(all), maxAdmitted)
		}
		if !refused {
			in++
		}
	}
}

// contradictions returns the counter-examples.
func (t *trip) contradictions() []string {
	switch {
	case t.firstFailure > 0 && t.tripped == 0:
		t.wrong.Add("no request was refused although the backends failed from %.2f s on", t.firstFailure.Seconds())
	case t.tripped-t.firstFailure > 2*t.CheckPeriod+check.WaitMargin:
		t.wrong.Add("it tripped %.2f s after the first failure", (t.tripped - t.firstFailure).Seconds())
	case t.readmitted == 0:
		t.wrong.Add("no request was admitted after it was open for %s", units.Duration(t.OpenDuration))
	}
	return t.wrong.List()
}
