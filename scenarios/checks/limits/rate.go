package limits

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// admitter bounds the number of admitted requests.
type admitter interface {
	Admits([]stats.TimeBounds) (least, most []int)
}

// lawOf returns the law of a limit with its burst and rate multiplied by factors.
func lawOf(l model.Limit, burst, rate float64) admitter {
	more := func(n int) float64 { // changes n by at least 1
		step := math.Round(float64(n) * (burst - 1))
		if burst != 1 && step == 0 {
			step = math.Copysign(1, burst-1)
		}
		return max(0, float64(n)+step)
	}
	switch l.Algorithm {
	case model.CountWindow:
		return stats.Window{Period: time.Duration(float64(l.Window) / rate), Limit: int(more(l.Burst))}
	case model.TokenBucket: // delays requests by up to half an interval (Traefik's rate_limiter.go)
		r, maxDelay := l.Rate*rate, 0.5 // in seconds
		if r >= 1 {
			maxDelay = 0.5 / math.Floor(r)
		}
		return stats.Bucket{Capacity: max(1, more(l.Burst)+r*maxDelay), Rate: r}
	}
	return stats.Bucket{Capacity: 1 + more(l.Burst), Rate: l.Rate * rate}
}

// hasLowerBound reports whether a key's requests also bound the count from below: Traefik's bucket loses tokens when it
// refuses two concurrent requests (golang/go #56924).
func hasLowerBound(l model.Limit, all []limitedRequest) bool {
	if l.Algorithm != model.TokenBucket {
		return true
	}
	for i := 1; i < len(all); i++ {
		if all[i].hit.Sent < all[i-1].hit.Done {
			return false
		}
	}
	return true
}

// findViolation describes the first count outside the bounds of a law, or returns "".
func findViolation(l model.Limit, law admitter, all []limitedRequest) string {
	at, decided := make([]stats.TimeBounds, len(all)), latestDecisions(all)
	for i, a := range all {
		at[i] = a.TimeBounds
		if l.Delay >= 0 && l.Algorithm == model.LeakyBucket {
			at[i].Latest = decided[i]
		}
	}
	least, most := law.Admits(at)
	both, in := hasLowerBound(l, all), 0
	for i, a := range all {
		if a.admitted {
			in++
		}
		switch since := (a.hit.Sent - all[0].hit.Sent).Seconds(); {
		case in > most[i]:
			return fmt.Sprintf("%s of %s admitted within %.2f s (last: request %d); at most %d allowed",
				units.Number(in), units.Number(i+1), since, a.hit.Seq, most[i])
		case both && i+1 == len(all) && in < least[i]:
			return fmt.Sprintf("only %s of %s admitted within %.2f s; at least %d required",
				units.Number(in), units.Number(i+1), since, least[i])
		}
	}
	return ""
}

// wrongLimits returns the wrong limits that a run must distinguish from the right one, as factors of burst and rate
// with a name.
func wrongLimits(l model.Limit) []struct {
	burst, rate float64
	what        string
} {
	type wrong = struct {
		burst, rate float64
		what        string
	}
	out := []wrong{{1 + tolerance, 1, "a larger burst"}, {1, 1 + tolerance, "a higher rate"}}
	if l.Algorithm == model.CountWindow {
		return append(out, wrong{1 - tolerance, 1, "a smaller burst"}) // a longer window only shows after it has passed
	}
	return append(out, wrong{1 - tolerance, 1, "a smaller burst"}, wrong{1, 1 - tolerance, "a lower rate"})
}

// rateTally summarises a limit's keys.
type rateTally struct {
	limit             model.Limit
	admitted, refused int
	waitsVisible      bool            // delays could be seen
	distinguished     map[string]bool // wrong limits that some key rules out
	wrong             check.Examples
}

// judgeRate judges a rate, key by key.
func judgeRate(h history.History, g check.Group[model.Limit]) check.Finding {
	l := g.What
	byKey, unexpected, broken := collect(h, g)
	f := check.Finding{
		Inconclusive: broken,
		Test:         "bounds on admitted requests from send and response times, per key; false alarm rate 0",
		Predicted:    "each key within its bounds",
		Power:        fmt.Sprintf("would have caught a burst or rate off by %.0f %%", 100*tolerance),
	}
	r := rateTally{limit: l, waitsVisible: l.Algorithm != model.LeakyBucket, distinguished: map[string]bool{}}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		f.N += len(byKey[key])
		r.add(key, byKey[key])
	}
	f.CounterExamples = append(r.wrong.List(), unexpected.List()...)
	f.Measured = fmt.Sprintf("%s admitted, %s refused, %s",
		units.Number(r.admitted), units.Number(r.refused), units.Plural(len(byKey), "key")) + describePeers(byKey)
	f.Need = f.N
	if !r.waitsVisible {
		f.Need, f.Note = f.N+1, "responses were too slow to show which requests were delayed"
	}
	if undistinguished := r.undistinguished(); len(undistinguished) > 0 && f.N > 0 {
		f.Need = f.N + 1
		f.Note = fmt.Sprintf("these requests cannot distinguish it from %s (by %.0f %%)",
			strings.Join(undistinguished, " or "), 100*tolerance)
	}
	return f
}

// add judges one key.
func (r *rateTally) add(key string, all []limitedRequest) {
	for _, a := range all {
		if a.admitted {
			r.admitted++
		} else {
			r.refused++
		}
	}
	if why := findViolation(r.limit, lawOf(r.limit, 1, 1), all); why != "" {
		r.wrong.Add("key %s: %s", key, why)
	}
	if r.limit.Algorithm == model.LeakyBucket {
		r.waitsVisible = judgeDelay(r.limit, key, all, &r.wrong) || r.waitsVisible
	}
	for _, w := range wrongLimits(r.limit) {
		known := r.distinguished[w.what]
		if !known && findViolation(r.limit, lawOf(r.limit, w.burst, w.rate), all) != "" {
			r.distinguished[w.what] = true
		}
	}
}

// undistinguished names the wrong limits that no key rules out.
func (r *rateTally) undistinguished() []string {
	var names []string
	for _, w := range wrongLimits(r.limit) {
		if !r.distinguished[w.what] {
			names = append(names, w.what)
		}
	}
	return names
}

// countAdmitted counts the requests admitted by the balancer, whose name is "", and by its peers.
func countAdmitted(byKey map[string][]limitedRequest) map[string]int {
	counts := map[string]int{}
	for key, all := range byKey {
		_, peer, _ := strings.Cut(key, " through ")
		for _, a := range all {
			if a.admitted {
				counts[peer]++
			}
		}
	}
	return counts
}

// describePeers describes the requests that peers of the balancer admitted, or returns "".
func describePeers(byKey map[string][]limitedRequest) string {
	counts, text := countAdmitted(byKey), ""
	for _, peer := range slices.Sorted(maps.Keys(counts)) {
		if peer != "" {
			text += fmt.Sprintf(", of which %s admitted %s", peer, units.Number(counts[peer]))
		}
	}
	if text != "" {
		text += fmt.Sprintf(": each of %d balancers counts independently", len(counts))
	}
	return text
}

// slowestRefusal returns the longest response time of a refusal, which is never delayed.
func slowestRefusal(all []limitedRequest) time.Duration {
	longest := time.Duration(0)
	for _, a := range all {
		if !a.admitted {
			longest = max(longest, a.hit.Done-a.hit.Sent)
		}
	}
	return longest
}

// judgeDelay judges the delays: beyond l.Delay each request waits for its slot, with nodelay none does. It reports
// whether delays could be seen.
func judgeDelay(l model.Limit, key string, all []limitedRequest, wrong *check.Examples) (visible bool) {
	var at []stats.TimeBounds
	var in []limitedRequest
	slowest, decided := slowestRefusal(all), latestDecisions(all)
	for i, a := range all {
		if l.Delay < 0 { // nodelay: requests that are not delayed show how fast it decides
			decided[i] = min(a.Latest, a.hit.Sent+decisionSlack+slowest)
		}
		if a.admitted {
			at = append(at, stats.TimeBounds{Earliest: a.Earliest, Latest: decided[i]})
			in = append(in, a)
		}
	}
	if l.Delay < 0 {
		return judgeNoDelay(l, key, at, in, slowest, wrong)
	}
	for i, slot := range bucketOf(l).MinWaits(at, l.Delay) {
		if latency := in[i].hit.Done - in[i].hit.Sent; latency+outage.Tolerance < slot {
			wrong.Add("key %s: request %d passed after %.3f s; its slot was after %.3f s",
				key, in[i].hit.Seq, latency.Seconds(), slot.Seconds())
		}
	}
	return true
}

// bucketOf returns the leaky bucket that gives each request its slot.
func bucketOf(l model.Limit) stats.Bucket {
	return stats.Bucket{Capacity: float64(l.Burst + 1), Rate: l.Rate}
}

// minDue is the number of requests above the rate that shows whether such requests are delayed.
const minDue = 5

// judgeNoDelay judges a limit with nodelay by the requests that it admitted and the bounds on their decisions. It
// reports whether delays could be seen.
func judgeNoDelay(
	l model.Limit, key string, at []stats.TimeBounds, in []limitedRequest, slowest time.Duration, wrong *check.Examples,
) (visible bool) {
	sent := slices.Clone(at)
	for i := range sent {
		sent[i].Latest = max(sent[i].Earliest, in[i].hit.Sent)
	}
	waited, due, longest := 0, 0, bucketOf(l).MinWaits(sent, 0)
	for i, slot := range bucketOf(l).MinWaits(at, 0) {
		latency := in[i].hit.Done - in[i].hit.Sent
		switch {
		case longest[i] == 0: // requests below the rate are not delayed either, unless servers are slow
			slowest = max(slowest, latency)
		case slot >= 2*outage.Tolerance:
			if due++; latency >= slot {
				waited++
			}
		}
	}
	visible = due >= minDue && slowest < outage.Tolerance
	if visible && waited == due {
		wrong.Add("key %s: all %s admitted above the rate were delayed, as without nodelay",
			key, units.Plural(due, "request"))
	}
	short := float64(l.Burst) < l.Rate*(4*outage.Tolerance).Seconds() // no delay is long enough to be seen
	return visible || short
}
