package requests

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// How servers are made to vanish: how long until they have, and how many requests per second are sent meanwhile, at
// least.
const (
	vanishTime   = 3 * time.Second
	vanishedRate = 5.
)

// connects is how many connections are tried for one request; cannot says why the time of one is not to be seen.
func connects(cfg model.Config, r model.Route, t model.TimeLimit) (n int, cannot string) {
	pool, _ := cfg.Pool(r.Pool)
	n = 1
	switch {
	case r.Retry != nil && r.Retry.Attempts > 0:
		n = r.Retry.Attempts
	case r.Retry != nil:
		n = max(1, len(pool.Servers))
	}
	all := time.Duration(n) * t.After
	for _, s := range pool.Servers {
		if s.Active != nil {
			if soonest, _, _ := s.Active.Down(); soonest < time.Second {
				return n, fmt.Sprintf("health checks take servers out after %s, before requests have met them", units.Span(soonest))
			}
		}
	}
	for _, o := range r.Timeouts {
		if o.For == model.ReadTimeout && o.After > 0 && o.After <= t.After {
			return n, "the wait for an answer is no longer than that for a connection"
		}
	}
	if t.After == 0 || all > check.Patience {
		return n, fmt.Sprintf("it takes %d attempts of %s, and lbproof waits %s at most",
			n, units.Span(t.After), units.Span(check.Patience))
	}
	return n, ""
}

// judgeConnect looks at the first requests after all servers of a pool have vanished: what is answered by the
// balancer came after one attempt or several. Later requests find servers that are left alone, and connections from
// before are another matter.
func judgeConnect(h history.History, r model.Route, t model.TimeLimit) check.Finding {
	n, cannot := connects(h.Plan.Config, r, t)
	f := check.Finding{
		Cannot: cannot, Need: check.Often, Test: "when the balancer gives up a request whose servers have vanished",
		Predicted: fmt.Sprintf("%s for each of up to %d attempts", units.Span(t.After), n),
	}
	first := time.Duration(0)
	for took := range givenUp(h, r, t) {
		if f.N++; first == 0 || took < first {
			first = took
		}
	}
	if f.N == 0 {
		return f
	}
	f.Measured = fmt.Sprintf("the first of %s after %s",
		units.Plural(f.N, "request"), units.Span(first.Round(time.Millisecond)))
	f.Power = fmt.Sprintf("would have caught a time that is a quarter off, unless some attempts of it take as long as some of %s", units.Span(t.After))
	if f.Broken = check.NodeDied(h); f.Broken == "" && !fitsAttempts(first, t.After, n) {
		f.Counter = []string{"the balancer gave up after " + units.Span(first.Round(time.Millisecond))}
	}
	return f
}

// givenUp is how long the requests took that the balancer gave up while nobody could know that the servers had
// vanished.
func givenUp(h history.History, r model.Route, t model.TimeLimit) iter.Seq[time.Duration] {
	pool, _ := h.Plan.Config.Pool(r.Pool)
	from := vanished(h, r.Pool)
	until := from + unnoticed(pool, t)
	_, via, _ := way(h.Plan.Config, r, "")
	statuses := t.Answers
	if via.Key() != r.Key() {
		statuses = []int{via.Auth.Failed}
	}
	find := check.Journeys(h)
	return func(yield func(time.Duration) bool) {
		for hit := range h.Hits {
			j := find(hit.Seq)
			if j == nil || j.Key != via.Key() || from == 0 || hit.Sent < from || hit.Sent > until {
				continue
			}
			took := hit.Done - hit.Sent
			gaveUp := hit.Server == "" && slices.Contains(statuses, hit.Code)
			leftAlone := hit.Code == 502 && took < t.After*3/10 // for what happened to another request
			if gaveUp && !leftAlone && !yield(took) {
				return
			}
		}
	}
}

// vanished is when the last server of a pool had vanished; 0 where none has.
func vanished(h history.History, pool string) (last time.Duration) {
	for _, m := range h.Env.Marks {
		if m.Event.Fault == plan.FaultBlackhole && m.Err == "" && check.Serves(h.Plan.Config, pool, m.Event.Target) {
			last = max(last, m.From)
		}
	}
	return last
}

// fitsAttempts reports whether a time is that of one of so many attempts, or of several, each as long as after.
func fitsAttempts(took, after time.Duration, times int) bool {
	for k := 1; k <= times; k++ {
		at := time.Duration(k) * after
		if took >= at-min(early, after/4) && took <= at+firstLate(after) {
			return true
		}
	}
	return false
}

// unnoticed is for how long nobody can know that the servers of a pool have vanished: neither health checks nor
// requests that waited.
func unnoticed(pool model.Pool, t model.TimeLimit) time.Duration {
	lasts := t.After / 2
	for _, s := range pool.Servers {
		if s.Active != nil {
			soonest, _, _ := s.Active.Down()
			lasts = min(lasts, soonest/2)
		}
	}
	return lasts
}
