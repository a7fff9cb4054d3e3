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

// Traefik waits before a retry: first a random time of 0.5 to 1.5 times initialInterval, then longer (retry.go, with
// ExponentialBackOff of github.com/cenkalti/backoff and its RandomizationFactor of 0.5). A request with a failed
// attempt takes at least half of initialInterval to arrive at another server, and half of the requests with one failed
// attempt wait at most initialInterval.

// backoff is the evidence of latencies on how long requests wait for a retry.
type backoff struct {
	wait           time.Duration
	attempts       int
	share          float64         // maximum, of a server in its pool's rotation; second attempts hit it as often
	failedAttempts int             // attempts on servers that are down
	waited         []time.Duration // latency until arrival elsewhere or failure, of requests that waited
	answered       []time.Duration // of them, those that were answered
	undisturbed    []time.Duration // latency of requests without a failed attempt meanwhile
}

// minWaited is how many requests must have waited to judge the delay.
const minWaited = 20

// newBackoff returns the configured delay before retries; ok is false if there is none.
func newBackoff(t *model.Retry) (b backoff, ok bool) {
	return backoff{wait: t.Delay, attempts: t.Attempts}, t.Backoff == model.ExponentialBackoff && t.Attempts > 1
}

// maxWait returns how long a request may wait in total: a single wait is at most 1.5 times twice the interval.
func (b *backoff) maxWait() time.Duration { return 3 * time.Duration(b.attempts-1) * b.wait }

// addOutages records the latency of requests to a pool while one of its servers refused connections, if they were sent
// early enough to be answered before its end.
func (b *backoff) addOutages(outages []*outage.Outage, h history.History, pool model.Pool, find routeFinder) {
	for _, e := range outages {
		b.share = max(b.share, e.Share)
		if e.Rate > 0 && !sharesServers(h.Plan.Config, pool.Name) { // otherwise attempts may belong to another pool
			early, _ := slices.BinarySearch(e.Attempts, e.Fault.EndsAfter-b.maxWait())
			b.failedAttempts += early
		}
	}
	reached := firstArrivals(h, outages)
	for hit := range h.Hits {
		e, j := outageAt(outages, hit.Sent), find(hit.Seq)
		if e == nil || j == nil || j.Route.Pool != pool.Name {
			continue
		}
		hasWaited := hit.Sent > e.Fault.EndsAfter-b.maxWait()
		if hasWaited || hit.Phase != e.Fault.Event.Phase || hit.Err != "" {
			continue
		}
		at, answered := reached[hit.Seq]
		b.add(e, hit, at, answered)
	}
	slices.Sort(b.undisturbed)
	slices.Sort(b.answered)
	slices.Sort(b.waited)
}

// outageAt returns the outage of a server with open-loop traffic at a given time; nil if there is none.
func outageAt(outages []*outage.Outage, at time.Duration) *outage.Outage {
	i := slices.IndexFunc(outages, func(e *outage.Outage) bool {
		return e.Rate > 0 && at >= e.Fault.StartsBy && at <= e.Fault.EndsAfter
	})
	if i < 0 {
		return nil
	}
	return outages[i]
}

// firstArrivals returns when each request first reached a server during an outage.
func firstArrivals(h history.History, outages []*outage.Outage) map[uint64]time.Duration {
	reached := map[uint64]time.Duration{}
	for a := range h.Arrivals {
		if a.Seq == 0 || outageAt(outages, a.At) == nil {
			continue
		}
		if at, known := reached[a.Seq]; !known || a.At < at {
			reached[a.Seq] = a.At
		}
	}
	return reached
}

// add records a request that arrived at a given time, if it was answered, and that may have had a failed attempt
// before.
func (b *backoff) add(e *outage.Outage, hit history.Hit, at time.Duration, answered bool) {
	if !answered {
		at = hit.Done
	}
	took := at - hit.Sent
	hadAttempt := e.HasAttempt(hit.Sent, at)
	hasWaited := hadAttempt && took >= b.wait/4
	switch {
	case !hadAttempt && answered:
		b.undisturbed = append(b.undisturbed, took)
	case hasWaited && answered:
		b.answered = append(b.answered, took)
		b.waited = append(b.waited, took)
	case hasWaited && hit.Code == 502:
		b.waited = append(b.waited, took)
	}
}

// usualLatency returns the 95 % quantile of the latency of requests that do not wait.
func (b *backoff) usualLatency() time.Duration { return b.undisturbed[len(b.undisturbed)*95/100] }

// neverWaited reports whether requests with failed attempts did not wait at all.
func (b *backoff) neverWaited() bool {
	return b.failedAttempts >= minAttempts && 2*b.attempts*len(b.waited) < b.failedAttempts
}

// whyInconclusive explains why the delays cannot be judged, or returns "".
func (b *backoff) whyInconclusive() string {
	switch {
	case len(b.waited) < minWaited && !b.neverWaited() || len(b.undisturbed) < minWaited:
		return fmt.Sprintf("retry delay: only %s waited (need %d)",
			units.Plural(len(b.waited), "request"), minWaited)
	case b.usualLatency() >= b.wait/4: // the machine may be slow
		return "retry delay: requests without a retry take as long"
	}
	return ""
}

// mismatch describes how the delays differ from the configuration, or returns "". One in ten of the slow requests may
// be slow for another reason.
func (b *backoff) mismatch(alpha float64) string {
	if b.whyInconclusive() != "" {
		return ""
	}
	first := fmt.Sprintf("initial delay %s", units.DurationRange(b.wait/2, b.wait*3/2))
	if b.neverWaited() {
		return fmt.Sprintf("after %s on servers that were down, only %s waited (%s)",
			units.Plural(b.failedAttempts, "attempt"), units.Plural(len(b.waited), "request"), first)
	}
	if early, _ := slices.BinarySearch(b.waited, b.wait/2); early >= check.Repetitions && 10*early > len(b.waited) {
		return fmt.Sprintf("%s of %s waited less than %s for a retry, the shortest wait was %s (%s)",
			units.Number(early), units.Plural(len(b.waited), "request"), units.Duration(b.wait/2),
			units.Duration(b.waited[0]), first)
	}
	within, _ := slices.BinarySearch(b.answered, b.wait+b.usualLatency()) // half of those with one failed attempt
	if _, least := stats.BinomialTails(len(b.answered), within, (1-b.share)/2); least < alpha {
		return fmt.Sprintf("%s of %s waited at most %s for a retry (%s; expected of half of those with one failed attempt)",
			units.Number(within), units.Plural(len(b.answered), "request"), units.Duration(b.wait), first)
	}
	return ""
}

// String returns a text such as "988 requests were retried, half of them within 108 ms".
func (b *backoff) String() string {
	return fmt.Sprintf("%s were retried, half of them within %s",
		units.Plural(len(b.waited), "request"), units.Duration(b.waited[len(b.waited)/2]))
}
