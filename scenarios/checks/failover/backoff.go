package failover

import (
	"fmt"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// Traefik waits before it tries a request again: by chance 0.5 to 1.5 times initialInterval at first, then longer
// (retry.go, with github.com/cenkalti/backoff's ExponentialBackOff and its RandomizationFactor of 0.5). So much time
// passes at least until a request that met a dead server arrives at another, and half of those that met it once have
// waited for no longer than the interval.

// backoff is how long requests took that met a dead server and were tried again.
type backoff struct {
	wait     time.Duration
	attempts int
	share    float64         // of a dead server in its pool's turns, at most: so many of the second attempts meet it again
	met      int             // attempts on dead servers
	late     []time.Duration // from when a request was sent to its arrival elsewhere, or failure: of those that waited
	answered []time.Duration // of them, those that were answered
	quiet    []time.Duration // of those during which no dead server was tried
}

// manyLate is how many requests that waited tell how long requests wait.
const manyLate = 20

// backoffOf says how long requests wait before they are tried again; ok is false where they do not.
func backoffOf(t *model.Retry) (b backoff, ok bool) {
	return backoff{wait: t.Each, attempts: t.Attempts}, t.Wait == model.ExponentialWait && t.Attempts > 1
}

// most is how long a request may wait in all: no wait is longer than three halves of twice the interval.
func (b *backoff) most() time.Duration { return 3 * time.Duration(b.attempts-1) * b.wait }

// see takes down how long requests to a pool took while one of its servers refused connections, of those that were sent
// so early that they must have been answered meanwhile.
func (b *backoff) see(dead []*outage.Episode, h history.History, pool model.Pool, find finder) {
	for _, e := range dead {
		b.share = max(b.share, e.Share)
		if e.Rate > 0 && !shares(h.Plan.Config, pool.Name) { // attempts may be those of another pool's requests
			early, _ := slices.BinarySearch(e.Attempts, e.Mark.Ended-b.most())
			b.met += early
		}
	}
	reached := firstArrivals(h, dead)
	for hit := range h.Hits {
		e, j := during(dead, hit.Sent), find(hit.Seq)
		if e == nil || j == nil || j.Route.Pool != pool.Name {
			continue
		}
		late := hit.Sent > e.Mark.Ended-b.most()
		if late || hit.Load != e.Mark.Event.Phase || hit.Err != "" {
			continue
		}
		at, answered := reached[hit.Seq]
		b.add(e, hit, at, answered)
	}
	slices.Sort(b.quiet)
	slices.Sort(b.answered)
	slices.Sort(b.late)
}

// during is the death at a time of a server that an open loop asked for; nil where there is none.
func during(dead []*outage.Episode, at time.Duration) *outage.Episode {
	i := slices.IndexFunc(dead, func(e *outage.Episode) bool {
		return e.Rate > 0 && at >= e.Mark.From && at <= e.Mark.Ended
	})
	if i < 0 {
		return nil
	}
	return dead[i]
}

// firstArrivals are when requests reached a server, those that did during a death.
func firstArrivals(h history.History, dead []*outage.Episode) map[uint64]time.Duration {
	reached := map[uint64]time.Duration{}
	for a := range h.Arrivals {
		if a.Seq == 0 || during(dead, a.At) == nil {
			continue
		}
		if at, known := reached[a.Seq]; !known || a.At < at {
			reached[a.Seq] = a.At
		}
	}
	return reached
}

// add enters a request that reached a server at a time, if it was answered, and that may have met a dead one before.
func (b *backoff) add(e *outage.Episode, hit history.Hit, at time.Duration, answered bool) {
	if !answered {
		at = hit.Done
	}
	took := at - hit.Sent
	met := e.Attempted(hit.Sent, at)
	late := met && took >= b.wait/4
	switch {
	case !met && answered:
		b.quiet = append(b.quiet, took)
	case late && answered:
		b.answered = append(b.answered, took)
		b.late = append(b.late, took)
	case late && hit.Code == 502:
		b.late = append(b.late, took)
	}
}

// usual is how long requests take that do not wait, but for one in twenty.
func (b *backoff) usual() time.Duration { return b.quiet[len(b.quiet)*95/100] }

// none says whether requests that met dead servers did not wait at all.
func (b *backoff) none() bool { return b.met >= manyMet && 2*b.attempts*len(b.late) < b.met }

// unseen says why nothing can be said of the waits; empty where it can.
func (b *backoff) unseen() string {
	switch {
	case len(b.late) < manyLate && !b.none() || len(b.quiet) < manyLate:
		return fmt.Sprintf("how long requests wait before they are tried again: %s did, and %d would tell",
			units.Plural(len(b.late), "request"), manyLate)
	case b.usual() >= b.wait/4: // a slow machine may have made the others late
		return "how long requests wait before they are tried again: those that are not tried again take as long"
	}
	return ""
}

// wrong says in what the waits are not as configured; empty where they are, or where nothing can be said of them. Of
// the late requests one in ten may be late for another reason.
func (b *backoff) wrong(alpha float64) string {
	if b.unseen() != "" {
		return ""
	}
	first := fmt.Sprintf("the first wait is %s to %s", units.Span(b.wait/2), units.Span(b.wait*3/2))
	if b.none() {
		return fmt.Sprintf("%s on dead servers made %s wait, where %s",
			units.Plural(b.met, "attempt"), units.Plural(len(b.late), "request"), first)
	}
	if soon, _ := slices.BinarySearch(b.late, b.wait/2); soon >= check.Often && 10*soon > len(b.late) {
		least := units.Span(b.late[0].Round(time.Millisecond))
		return fmt.Sprintf("%s of %s that were tried again waited less than %s, the least %s, where %s",
			units.Number(soon), units.Plural(len(b.late), "request"), units.Span(b.wait/2), least, first)
	}
	within, _ := slices.BinarySearch(b.answered, b.wait+b.usual()) // of those that met it once, half
	if _, least := stats.BinomialTails(len(b.answered), within, (1-b.share)/2); least < alpha {
		return fmt.Sprintf("%s of %s that were tried again waited no longer than %s, where %s and half of those "+
			"that met it once wait no longer",
			units.Number(within), units.Plural(len(b.answered), "request"), units.Span(b.wait), first)
	}
	return ""
}

// String is as "988 requests were tried again, half of them within 108ms".
func (b *backoff) String() string {
	half := b.late[len(b.late)/2].Round(time.Millisecond)
	return fmt.Sprintf("%s were tried again, half of them within %s",
		units.Plural(len(b.late), "request"), units.Span(half))
}
