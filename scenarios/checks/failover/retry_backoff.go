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
	wait           time.Duration
	attempts       int
	share          float64         // of a dead server in its pool's turns, at most: so many of the second attempts meet it again
	failedAttempts int             // attempts on dead servers
	waited         []time.Duration // from when a request was sent to its arrival elsewhere, or failure: of those that waited
	answered       []time.Duration // of them, those that were answered
	undisturbed    []time.Duration // of those during which no dead server was tried
}

// minWaited is how many requests that waited tell how long requests wait.
const minWaited = 20

// newBackoff says how long requests wait before they are tried again; ok is false where they do not.
func newBackoff(t *model.Retry) (b backoff, ok bool) {
	return backoff{wait: t.Delay, attempts: t.Attempts}, t.Backoff == model.ExponentialBackoff && t.Attempts > 1
}

// maxWait is how long a request may wait in all: no wait is longer than three halves of twice the interval.
func (b *backoff) maxWait() time.Duration { return 3 * time.Duration(b.attempts-1) * b.wait }

// addOutages takes down how long requests to a pool took while one of its servers refused connections, of those that were sent
// so early that they must have been answered meanwhile.
func (b *backoff) addOutages(dead []*outage.Outage, h history.History, pool model.Pool, find routeFinder) {
	for _, e := range dead {
		b.share = max(b.share, e.Share)
		if e.Rate > 0 && !sharesServers(h.Plan.Config, pool.Name) { // attempts may be those of another pool's requests
			early, _ := slices.BinarySearch(e.Attempts, e.Fault.EndsAfter-b.maxWait())
			b.failedAttempts += early
		}
	}
	reached := firstArrivals(h, dead)
	for hit := range h.Hits {
		e, j := outageAt(dead, hit.Sent), find(hit.Seq)
		if e == nil || j == nil || j.Route.Pool != pool.Name {
			continue
		}
		late := hit.Sent > e.Fault.EndsAfter-b.maxWait()
		if late || hit.Phase != e.Fault.Event.Phase || hit.Err != "" {
			continue
		}
		at, answered := reached[hit.Seq]
		b.add(e, hit, at, answered)
	}
	slices.Sort(b.undisturbed)
	slices.Sort(b.answered)
	slices.Sort(b.waited)
}

// outageAt is the death at a time of a server that an open loop asked for; nil where there is none.
func outageAt(dead []*outage.Outage, at time.Duration) *outage.Outage {
	i := slices.IndexFunc(dead, func(e *outage.Outage) bool {
		return e.Rate > 0 && at >= e.Fault.StartsBy && at <= e.Fault.EndsAfter
	})
	if i < 0 {
		return nil
	}
	return dead[i]
}

// firstArrivals are when requests reached a server, those that did during a death.
func firstArrivals(h history.History, dead []*outage.Outage) map[uint64]time.Duration {
	reached := map[uint64]time.Duration{}
	for a := range h.Arrivals {
		if a.Seq == 0 || outageAt(dead, a.At) == nil {
			continue
		}
		if at, known := reached[a.Seq]; !known || a.At < at {
			reached[a.Seq] = a.At
		}
	}
	return reached
}

// add enters a request that reached a server at a time, if it was answered, and that may have met a dead one before.
func (b *backoff) add(e *outage.Outage, hit history.Hit, at time.Duration, answered bool) {
	if !answered {
		at = hit.Done
	}
	took := at - hit.Sent
	met := e.HasAttempt(hit.Sent, at)
	late := met && took >= b.wait/4
	switch {
	case !met && answered:
		b.undisturbed = append(b.undisturbed, took)
	case late && answered:
		b.answered = append(b.answered, took)
		b.waited = append(b.waited, took)
	case late && hit.Code == 502:
		b.waited = append(b.waited, took)
	}
}

// usualLatency is how long requests take that do not wait, but for one in twenty.
func (b *backoff) usualLatency() time.Duration { return b.undisturbed[len(b.undisturbed)*95/100] }

// neverWaited says whether requests that met dead servers did not wait at all.
func (b *backoff) neverWaited() bool {
	return b.failedAttempts >= minAttempts && 2*b.attempts*len(b.waited) < b.failedAttempts
}

// whyInconclusive says why nothing can be said of the waits; empty where it can.
func (b *backoff) whyInconclusive() string {
	switch {
	case len(b.waited) < minWaited && !b.neverWaited() || len(b.undisturbed) < minWaited:
		return fmt.Sprintf("how long requests wait before they are tried again: %s did, and %d would tell",
			units.Plural(len(b.waited), "request"), minWaited)
	case b.usualLatency() >= b.wait/4: // a slow machine may have made the others late
		return "how long requests wait before they are tried again: those that are not tried again take as long"
	}
	return ""
}

// mismatch says in what the waits are not as configured; empty where they are, or where nothing can be said of them. Of
// the late requests one in ten may be late for another reason.
func (b *backoff) mismatch(alpha float64) string {
	if b.whyInconclusive() != "" {
		return ""
	}
	first := fmt.Sprintf("the first wait is %s to %s", units.Duration(b.wait/2), units.Duration(b.wait*3/2))
	if b.neverWaited() {
		return fmt.Sprintf("%s on dead servers made %s wait, where %s",
			units.Plural(b.failedAttempts, "attempt"), units.Plural(len(b.waited), "request"), first)
	}
	if soon, _ := slices.BinarySearch(b.waited, b.wait/2); soon >= check.Repetitions && 10*soon > len(b.waited) {
		least := units.Duration(b.waited[0].Round(time.Millisecond))
		return fmt.Sprintf("%s of %s that were tried again waited less than %s, the least %s, where %s",
			units.Number(soon), units.Plural(len(b.waited), "request"), units.Duration(b.wait/2), least, first)
	}
	within, _ := slices.BinarySearch(b.answered, b.wait+b.usualLatency()) // of those that met it once, half
	if _, least := stats.BinomialTails(len(b.answered), within, (1-b.share)/2); least < alpha {
		return fmt.Sprintf("%s of %s that were tried again waited no longer than %s, where %s and half of those "+
			"that met it once wait no longer",
			units.Number(within), units.Plural(len(b.answered), "request"), units.Duration(b.wait), first)
	}
	return ""
}

// String is as "988 requests were tried again, half of them within 108ms".
func (b *backoff) String() string {
	half := b.waited[len(b.waited)/2].Round(time.Millisecond)
	return fmt.Sprintf("%s were tried again, half of them within %s",
		units.Plural(len(b.waited), "request"), units.Duration(half))
}
