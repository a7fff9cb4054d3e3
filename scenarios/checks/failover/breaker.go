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
	Doc:  "After too many failures all requests are refused for a while, then let in little by little.",
	Law: "trips within checkPeriod of the moment at which the condition holds over the last ten seconds; refuses " +
		"all for fallbackDuration; then the admitted share grows to a half over recoveryDuration, and stays below " +
		"that line",
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
					plan.ParamOpen: plan.Amount(units.Seconds(b.OpenDuration)), plan.ParamRecovery: plan.Amount(units.Seconds(b.RecoveryDuration)),
					plan.ParamCheckInterval: plan.Amount(units.Seconds(b.CheckPeriod)), plan.ParamCode: plan.Amount(b.Code),
				},
				Text: fmt.Sprintf("All requests to %s are refused with %d for %s once %s holds (looked at every "+
					"%s), then more and more are let in for %s.",
					g.Paths(), b.Code, units.Duration(b.OpenDuration), b.Trip, units.Duration(b.CheckPeriod), units.Duration(b.RecoveryDuration)),
				Assumptions: []string{"there is no least number of requests: on a quiet route the first failure may " +
					"trip it"},
			})
		}
		return claims
	},
}

// trippingRate is how many requests per second show when a breaker trips.
const trippingRate = 20

// breakerOf is what a claim is about, with a route to try it on; ok is false where errors of the backends do not trip
// it.
func breakerOf(cfg model.Config, claim plan.Claim) (b model.Breaker, r model.Route, ok bool) {
	same := func(r model.Route) bool { return r.Breaker != nil && r.Breaker.Pos == claim.Pos && r.Pool != "" }
	routes := check.CandidateRoutes(cfg, claim, same)
	if len(routes) == 0 || !routes[0].Breaker.Trip.OpensOnErrors() {
		return b, r, false
	}
	return *routes[0].Breaker, routes[0], true
}

// breakerRequirements let backends fail until the breaker must have looked at it, then be well until it has recovered, even
// if it has tripped twice.
func breakerRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	b, r, ok := breakerOf(cfg, claim)
	fails, well := b.CheckPeriod+2*time.Second, b.OpenDuration+b.RecoveryDuration+b.CheckPeriod+check.WaitMargin
	if !ok || fails+well > 2*check.MaxWait {
		return nil
	}
	trial := func(kind plan.PhaseKind, says, shows string, lasts time.Duration) check.Requirement {
		request, _ := check.RequestWithSpec(cfg, r, says)
		return check.Requirement{Kind: kind, Detects: shows, Phase: plan.Phase{
			Rate: trippingRate, Count: int(trippingRate * lasts.Seconds()), Concurrency: 64, Requests: []plan.Request{request},
		}}
	}
	return []check.Requirement{
		calmRequirement(trial(plan.KindBreakerClosed, "status=200&for=calm", "that it is closed before, and when it looks", b.CheckPeriod), b),
		trial(plan.KindBreakerTripping, "status=500&for=tripping", "when the breaker trips", fails),
		trial(plan.KindBreakerRecovery, "status=200&for=tripped", "for how long it refuses, and that it recovers", well),
	}
}

// calmRequirement sends two requests, so far apart that the breaker looks at the second, which makes the time of its next look
// known.
func calmRequirement(t check.Requirement, b model.Breaker) check.Requirement {
	t.Phase.Count, t.Phase.Rate = 2, 1/(b.CheckPeriod+time.Second).Seconds()
	return t
}

// judgeBreaker looks at when the first request was refused, and at what became of those after it.
func judgeBreaker(claim plan.Claim, h history.History) check.Finding {
	b, r, ok := breakerOf(h.Plan.Config, claim)
	if !ok {
		return check.Finding{Inconclusive: check.NoExperiment + ": lbproof knows no failure that trips it"}
	}
	f := check.Finding{Need: 2 * trippingRate, Test: "times of the first and the last refusal after the backends " +
		"began to fail, and of every answer between"}
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
	f.Predicted = fmt.Sprintf("trips within %s, refuses all for %s, none after %s more",
		units.Duration(2*b.CheckPeriod+time.Second), units.Duration(b.OpenDuration), units.Duration(b.RecoveryDuration))
	f.Power = "would have caught a breaker that does not trip, lets requests in before its time, or does not recover"
	if f.N == 0 {
		return f
	}
	f.Measured = fmt.Sprintf("tripped %.2f s after the first failure, refused the last request %.2f s after that",
		(t.tripped - t.firstFailure).Seconds(), (t.lastRefusal - t.tripped).Seconds())
	if f.Inconclusive = check.WhyNodeExited(h); f.Inconclusive == "" {
		f.CounterExamples = t.contradictions()
	}
	return f
}

// trip is what became of a breaker: when backends failed first and last, when it refused first and last.
type trip struct {
	model.Breaker
	specOf func(history.Hit) string // what a hit of the experiment asks backends for

	n, readmitted                                   int // hits, and those let in after it had been open
	firstFailure, lastFailure, tripped, lastRefusal time.Duration
	calmHits                                        []history.Hit // before, in the order in which they were sent
	trippingHits                                    []history.Hit // since the backends began to fail, in that order
	wrong                                           check.Examples
}

func (t *trip) isRefusal(hit history.Hit) bool { return hit.Server == "" && hit.Code == t.Code }

// addTime notes when it began.
func (t *trip) addTime(hit history.Hit) {
	asks := t.specOf(hit)
	if strings.Contains(asks, "&for=calm") {
		t.calmHits = append(t.calmHits, hit)
	}
	if !strings.Contains(asks, "&for=tripp") {
		return
	}
	t.n++
	t.trippingHits = append(t.trippingHits, hit)
	if strings.Contains(asks, "for=tripping") {
		t.lastFailure = max(t.lastFailure, hit.Sent)
		if t.firstFailure == 0 || hit.Sent < t.firstFailure {
			t.firstFailure = hit.Sent
		}
	}
	if t.isRefusal(hit) && (t.tripped == 0 || hit.Done < t.tripped) {
		t.tripped = hit.Done
	}
}

// judgeHit judges a hit by that.
func (t *trip) judgeHit(hit history.Hit) {
	if t.tripped == 0 || !strings.Contains(t.specOf(hit), "&for=tripp") {
		return
	}
	since := (hit.Sent - t.tripped).Seconds()
	switch refused := t.isRefusal(hit); {
	case hit.Sent > t.tripped && hit.Done < t.tripped+t.OpenDuration-outage.Tolerance && !refused:
		t.wrong.Add("request %d was answered %d by %s %.2f s after the breaker had tripped; it is to refuse all for %s",
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

// judgeChecks judges when it tripped, by the two calm requests: it looks when an answer comes and checkPeriod has passed
// since it last looked (oxy, cbreaker.go), so at the second of them, and next at the first answer so long after that.
func (t *trip) judgeChecks() {
	bySent := func(a, b history.Hit) int { return int(a.Sent - b.Sent) }
	slices.SortFunc(t.calmHits, bySent)
	slices.SortFunc(t.trippingHits, bySent)
	n := len(t.calmHits)
	if n < 2 || t.tripped == 0 {
		return
	}
	looked := t.calmHits[n-1]
	if looked.Sent-t.calmHits[n-2].Done < t.CheckPeriod || looked.Server == "" {
		return
	}
	if t.tripped < looked.Sent+t.CheckPeriod {
		t.wrong.Add("it tripped %.2f s after it had looked at request %d; it is to look every %s",
			(t.tripped - looked.Sent).Seconds(), looked.Seq, units.Duration(t.CheckPeriod))
	}
	known := time.Duration(0) // when it must have tripped
	for _, hit := range t.trippingHits {
		switch {
		case hit.Sent >= t.tripped:
			return
		case known > 0 && hit.Sent > known+outage.Tolerance && hit.Done < t.tripped:
			t.wrong.Add("request %d was let in %.2f s after it had looked at request %d; it is to look every %s",
				hit.Seq, (hit.Sent - looked.Done).Seconds(), looked.Seq, units.Duration(t.CheckPeriod))
			return
		case known == 0 && hit.Sent > looked.Done+t.CheckPeriod+outage.Tolerance:
			known = hit.Done
		}
	}
}

// judgeRecovery judges how many it lets in while it recovers: so many that their share of all requests since then stays
// below a half of the share of recoveryDuration that has passed (oxy, ratio.go). Two requests more or fewer are room
// for those under way when that began.
func (t *trip) judgeRecovery() {
	const room = 2
	first := slices.IndexFunc(t.trippingHits, func(hit history.Hit) bool { return hit.Sent > t.tripped+t.OpenDuration })
	if first < 0 || t.tripped == 0 || t.lastFailure > t.tripped+t.OpenDuration {
		return
	}
	begun, in, all := t.trippingHits[first].Done, 0, 0
	for _, hit := range t.trippingHits[first:] {
		if hit.Sent > t.tripped+t.OpenDuration+t.RecoveryDuration {
			return
		}
		all++
		refused := t.isRefusal(hit)
		least := 0.5 * max(0, hit.Sent-begun-outage.Tolerance).Seconds() / t.RecoveryDuration.Seconds() * float64(all-room)
		recovered := hit.Done - t.tripped - t.OpenDuration + outage.Tolerance + 2*time.Second/trippingRate
		most := 0.5 * recovered.Seconds() / t.RecoveryDuration.Seconds() * float64(all+room)
		switch {
		case refused && float64(in+1+room) < least:
			t.wrong.Add("request %d was refused %.2f s after it had begun to recover, when %s of %s had been let "+
				"in; %.0f are to be by then", hit.Seq, (hit.Sent - begun).Seconds(), units.Number(in), units.Number(all), least)
		case !refused && float64(in+1-room) > most:
			t.wrong.Add("request %d was let in %.2f s after it had begun to recover, and %s of %s before; %.0f are "+
				"to be by then",
				hit.Seq, (hit.Sent - begun).Seconds(), units.Number(in), units.Number(all), most)
		}
		if !refused {
			in++
		}
	}
}

// contradictions are what it did otherwise.
func (t *trip) contradictions() []string {
	switch {
	case t.firstFailure > 0 && t.tripped == 0:
		t.wrong.Add("no request was refused, though the backends failed from %.2f s on", t.firstFailure.Seconds())
	case t.tripped-t.firstFailure > 2*t.CheckPeriod+check.WaitMargin:
		t.wrong.Add("it tripped %.2f s after the first failure", (t.tripped - t.firstFailure).Seconds())
	case t.readmitted == 0:
		t.wrong.Add("no request was let in after it had been open for %s", units.Duration(t.OpenDuration))
	}
	return t.wrong.List()
}
