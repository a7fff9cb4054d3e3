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
	Trials: breakerTrials,
	Judge:  judgeBreaker,
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
					plan.ParamOpen: plan.Amount(units.Seconds(b.Open)), plan.ParamRecovery: plan.Amount(units.Seconds(b.Recovery)),
					plan.ParamCheckEvery: plan.Amount(units.Seconds(b.Every)), plan.ParamCode: plan.Amount(b.Code),
				},
				Text: fmt.Sprintf("All requests to %s are refused with %d for %s once %s holds (looked at every "+
					"%s), then more and more are let in for %s.",
					g.Paths(), b.Code, units.Span(b.Open), b.Trips, units.Span(b.Every), units.Span(b.Recovery)),
				Assumes: []string{"there is no least number of requests: on a quiet route the first failure may " +
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
	if len(routes) == 0 || !routes[0].Breaker.Trips.ByErrors() {
		return b, r, false
	}
	return *routes[0].Breaker, routes[0], true
}

// breakerTrials let backends fail until the breaker must have looked at it, then be well until it has recovered, even
// if it has tripped twice.
func breakerTrials(cfg model.Config, claim plan.Claim, _ check.Terms) []check.Trial {
	b, r, ok := breakerOf(cfg, claim)
	fails, well := b.Every+2*time.Second, b.Open+b.Recovery+b.Every+check.Grace
	if !ok || fails+well > 2*check.Patience {
		return nil
	}
	trial := func(kind plan.Kind, says, shows string, lasts time.Duration) check.Trial {
		request, _ := check.WishingRequest(cfg, r, says)
		return check.Trial{Kind: kind, Shows: shows, Load: plan.Phase{
			Rate: trippingRate, Count: int(trippingRate * lasts.Seconds()), Concurrency: 64, Requests: []plan.Request{request},
		}}
	}
	return []check.Trial{
		calm(trial(plan.KindCalm, "status=200&for=calm", "that it is closed before, and when it looks", b.Every), b),
		trial(plan.KindTripping, "status=500&for=tripping", "when the breaker trips", fails),
		trial(plan.KindTripped, "status=200&for=tripped", "for how long it refuses, and that it recovers", well),
	}
}

// calm sends two requests, so far apart that the breaker looks at the second, which makes the time of its next look
// known.
func calm(t check.Trial, b model.Breaker) check.Trial {
	t.Load.Count, t.Load.Rate = 2, 1/(b.Every+time.Second).Seconds()
	return t
}

// judgeBreaker looks at when the first request was refused, and at what became of those after it.
func judgeBreaker(claim plan.Claim, h history.History) check.Finding {
	b, r, ok := breakerOf(h.Plan.Config, claim)
	if !ok {
		return check.Finding{Broken: check.NoExperiment + ": lbproof knows no failure that trips it"}
	}
	f := check.Finding{Need: 2 * trippingRate, Test: "times of the first and the last refusal after the backends " +
		"began to fail, and of every answer between"}
	find := check.Journeys(h)
	t := trip{Breaker: b, asks: func(hit history.Hit) string {
		if j := find(hit.Seq); j != nil && j.Key == r.Key() && hit.Err != history.Tester {
			return j.Request.Header[history.WishHeader]
		}
		return ""
	}}
	for hit := range h.Hits {
		t.time(hit)
	}
	t.looks()
	for hit := range h.Hits {
		t.see(hit)
	}
	t.recovers()
	f.N = t.n
	f.Predicted = fmt.Sprintf("trips within %s, refuses all for %s, none after %s more",
		units.Span(2*b.Every+time.Second), units.Span(b.Open), units.Span(b.Recovery))
	f.Power = "would have caught a breaker that does not trip, lets requests in before its time, or does not recover"
	if f.N == 0 {
		return f
	}
	f.Measured = fmt.Sprintf("tripped %.2f s after the first failure, refused the last request %.2f s after that",
		(t.tripped - t.failing).Seconds(), (t.latest - t.tripped).Seconds())
	if f.Broken = check.NodeDied(h); f.Broken == "" {
		f.Counter = t.contradictions()
	}
	return f
}

// trip is what became of a breaker: when backends failed first and last, when it refused first and last.
type trip struct {
	model.Breaker
	asks func(history.Hit) string // what a hit of the experiment asks backends for

	n, again                         int // hits, and those let in after it had been open
	failing, failed, tripped, latest time.Duration
	calm                             []history.Hit // before, in the order in which they were sent
	tried                            []history.Hit // since the backends began to fail, in that order
	wrong                            check.Examples
}

func (t *trip) refused(hit history.Hit) bool { return hit.Server == "" && hit.Code == t.Code }

// time notes when it began.
func (t *trip) time(hit history.Hit) {
	asks := t.asks(hit)
	if strings.Contains(asks, "&for=calm") {
		t.calm = append(t.calm, hit)
	}
	if !strings.Contains(asks, "&for=tripp") {
		return
	}
	t.n++
	t.tried = append(t.tried, hit)
	if strings.Contains(asks, "for=tripping") {
		t.failed = max(t.failed, hit.Sent)
		if t.failing == 0 || hit.Sent < t.failing {
			t.failing = hit.Sent
		}
	}
	if t.refused(hit) && (t.tripped == 0 || hit.Done < t.tripped) {
		t.tripped = hit.Done
	}
}

// see judges a hit by that.
func (t *trip) see(hit history.Hit) {
	if t.tripped == 0 || !strings.Contains(t.asks(hit), "&for=tripp") {
		return
	}
	since := (hit.Sent - t.tripped).Seconds()
	switch refused := t.refused(hit); {
	case hit.Sent > t.tripped && hit.Done < t.tripped+t.Open-outage.Slack && !refused:
		t.wrong.Add("request %d was answered %d by %s %.2f s after the breaker had tripped; it is to refuse all for %s",
			hit.Seq, hit.Code, check.AnsweredBy(hit), since, units.Span(t.Open))
	case hit.Sent > max(t.tripped, t.failed)+t.Open+t.Recovery+t.Every+time.Second && refused:
		t.wrong.Add("request %d was refused %.2f s after the last failure", hit.Seq, (hit.Sent - t.failed).Seconds())
	case hit.Sent > t.tripped+t.Open+outage.Slack && !refused:
		t.again++
	}
	if t.refused(hit) {
		t.latest = max(t.latest, hit.Sent)
	}
}

// looks judges when it tripped, by the two calm requests: it looks when an answer comes and checkPeriod has passed
// since it last looked (oxy, cbreaker.go), so at the second of them, and next at the first answer so long after that.
func (t *trip) looks() {
	bySent := func(a, b history.Hit) int { return int(a.Sent - b.Sent) }
	slices.SortFunc(t.calm, bySent)
	slices.SortFunc(t.tried, bySent)
	n := len(t.calm)
	if n < 2 || t.tripped == 0 {
		return
	}
	looked := t.calm[n-1]
	if looked.Sent-t.calm[n-2].Done < t.Every || looked.Server == "" {
		return
	}
	if t.tripped < looked.Sent+t.Every {
		t.wrong.Add("it tripped %.2f s after it had looked at request %d; it is to look every %s",
			(t.tripped - looked.Sent).Seconds(), looked.Seq, units.Span(t.Every))
	}
	known := time.Duration(0) // when it must have tripped
	for _, hit := range t.tried {
		switch {
		case hit.Sent >= t.tripped:
			return
		case known > 0 && hit.Sent > known+outage.Slack && hit.Done < t.tripped:
			t.wrong.Add("request %d was let in %.2f s after it had looked at request %d; it is to look every %s",
				hit.Seq, (hit.Sent - looked.Done).Seconds(), looked.Seq, units.Span(t.Every))
			return
		case known == 0 && hit.Sent > looked.Done+t.Every+outage.Slack:
			known = hit.Done
		}
	}
}

// recovers judges how many it lets in while it recovers: so many that their share of all requests since then stays
// below a half of the share of recoveryDuration that has passed (oxy, ratio.go). Two requests more or fewer are room
// for those under way when that began.
func (t *trip) recovers() {
	const room = 2
	first := slices.IndexFunc(t.tried, func(hit history.Hit) bool { return hit.Sent > t.tripped+t.Open })
	if first < 0 || t.tripped == 0 || t.failed > t.tripped+t.Open {
		return
	}
	begun, in, all := t.tried[first].Done, 0, 0
	for _, hit := range t.tried[first:] {
		if hit.Sent > t.tripped+t.Open+t.Recovery {
			return
		}
		all++
		refused := t.refused(hit)
		least := 0.5 * max(0, hit.Sent-begun-outage.Slack).Seconds() / t.Recovery.Seconds() * float64(all-room)
		recovered := hit.Done - t.tripped - t.Open + outage.Slack + 2*time.Second/trippingRate
		most := 0.5 * recovered.Seconds() / t.Recovery.Seconds() * float64(all+room)
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
	case t.failing > 0 && t.tripped == 0:
		t.wrong.Add("no request was refused, though the backends failed from %.2f s on", t.failing.Seconds())
	case t.tripped-t.failing > 2*t.Every+check.Grace:
		t.wrong.Add("it tripped %.2f s after the first failure", (t.tripped - t.failing).Seconds())
	case t.again == 0:
		t.wrong.Add("no request was let in after it had been open for %s", units.Span(t.Open))
	}
	return t.wrong.List()
}
