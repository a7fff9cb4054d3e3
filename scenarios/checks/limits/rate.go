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

// admitter bounds how many requests are let in.
type admitter interface {
	Admits([]stats.Instant) (least, most []int)
}

// lawful is the law of a limit whose burst and rate are so many times what it says.
func lawful(l model.Limit, burst, rate float64) admitter {
	more := func(n int) float64 { // at least by one
		step := math.Round(float64(n) * (burst - 1))
		if burst != 1 && step == 0 {
			step = math.Copysign(1, burst-1)
		}
		return max(0, float64(n)+step)
	}
	switch l.Law {
	case model.CountWindow:
		return stats.Window{Period: time.Duration(float64(l.Window) / rate), Limit: int(more(l.Burst))}
	case model.TokenBucket: // who waits for less than half a request's time is let in (Traefik's rate_limiter.go)
		r, patience := l.Rate*rate, 0.5
		if r >= 1 {
			patience = 0.5 / math.Floor(r)
		}
		return stats.Bucket{Room: max(1, more(l.Burst)+r*patience), Rate: r}
	}
	return stats.Bucket{Room: 1 + more(l.Burst), Rate: l.Rate * rate}
}

// twoSided says whether a key's requests bound the count from below too: Traefik's bucket loses tokens where two are refused at a
// time (golang/go #56924).
func twoSided(l model.Limit, all []asked) bool {
	if l.Law != model.TokenBucket {
		return true
	}
	for i := 1; i < len(all); i++ {
		if all[i].hit.Sent < all[i-1].hit.Done {
			return false
		}
	}
	return true
}

// crossed says where a key's count leaves the bounds of a law; empty where it does not.
func crossed(l model.Limit, law admitter, all []asked) string {
	at, decided := make([]stats.Instant, len(all)), decidedBy(all)
	for i, a := range all {
		at[i] = a.Instant
		if l.Delay >= 0 && l.Law == model.LeakyBucket {
			at[i].Before = decided[i]
		}
	}
	least, most := law.Admits(at)
	both, in := twoSided(l, all), 0
	for i, a := range all {
		if a.in {
			in++
		}
		switch since := (a.hit.Sent - all[0].hit.Sent).Seconds(); {
		case in > most[i]:
			return fmt.Sprintf("%s of %s let in within %.2f s, request %d the last; at most %d may be", units.Number(in), units.Number(i+1), since, a.hit.Seq, most[i])
		case both && i+1 == len(all) && in < least[i]:
			return fmt.Sprintf("only %s of %s let in within %.2f s; at least %d must be", units.Number(in), units.Number(i+1), since, least[i])
		}
	}
	return ""
}

// wrongs are the wrong limits that a run must tell from the right one: factors of burst and rate, and their names.
func wrongs(l model.Limit) []struct {
	burst, rate float64
	what        string
} {
	type wrong = struct {
		burst, rate float64
		what        string
	}
	out := []wrong{{1 + off, 1, "a larger burst"}, {1, 1 + off, "a higher rate"}}
	if l.Law == model.CountWindow {
		return append(out, wrong{1 - off, 1, "a smaller burst"}) // a longer period shows only after it
	}
	return append(out, wrong{1 - off, 1, "a smaller burst"}, wrong{1, 1 - off, "a lower rate"})
}

// judgeRate judges rates, key by key.
func judgeRate(h history.History, g check.Group[model.Limit]) check.Finding {
	l := g.What
	f := check.Finding{Test: "interval of what the limit lets in, from the times of sending and answering, key by key; false alarm rate 0"}
	byKey, odd, broken := collect(h, g)
	f.Broken = broken
	var wrong check.Examples
	told, in, refused, sighted := map[string]bool{}, 0, 0, l.Law != model.LeakyBucket
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		all := byKey[key]
		f.N += len(all)
		for _, a := range all {
			if a.in {
				in++
			} else {
				refused++
			}
		}
		if why := crossed(l, lawful(l, 1, 1), all); why != "" {
			wrong.Add("key %s: %s", key, why)
		}
		if l.Law == model.LeakyBucket {
			sighted = delayed(l, key, all, &wrong) || sighted
		}
		for _, w := range wrongs(l) {
			told[w.what] = told[w.what] || crossed(l, lawful(l, w.burst, w.rate), all) != ""
		}
	}
	f.Counter = append(wrong.List(), odd.List()...)
	f.Measured = fmt.Sprintf("%s let in, %s refused, %s", units.Number(in), units.Number(refused), units.Plural(len(byKey), "key")) + through(byKey)
	f.Predicted = "each key within its interval"
	var untold []string
	for _, w := range wrongs(l) {
		if !told[w.what] {
			untold = append(untold, w.what)
		}
	}
	f.Need = f.N
	if !sighted {
		f.Need, f.Note = f.N+1, "answers took too long to tell who waited for a turn"
	}
	if len(untold) > 0 && f.N > 0 {
		f.Need = f.N + 1
		f.Note = fmt.Sprintf("these requests cannot tell it from %s (by %.0f %%)", strings.Join(untold, " or "), 100*off)
	}
	f.Power = fmt.Sprintf("would have caught a burst or a rate that is %.0f %% off", 100*off)
	return f
}

// admitted counts the requests that the balancer, which is "", and its peers let in.
func admitted(byKey map[string][]asked) map[string]int {
	let := map[string]int{}
	for key, all := range byKey {
		_, peer, _ := strings.Cut(key, " through ")
		for _, a := range all {
			if a.in {
				let[peer]++
			}
		}
	}
	return let
}

// through says how many requests peers of the balancer let in beside it; empty where there are none.
func through(byKey map[string][]asked) string {
	let, text := admitted(byKey), ""
	for _, peer := range slices.Sorted(maps.Keys(let)) {
		if peer != "" {
			text += fmt.Sprintf(", of which %s let in %s", peer, units.Number(let[peer]))
		}
	}
	if text != "" {
		text += fmt.Sprintf(": each of %d balancers counts for itself", len(let))
	}
	return text
}

// promptness is the longest that a refusal took, which waits for nothing.
func promptness(all []asked) time.Duration {
	longest := time.Duration(0)
	for _, a := range all {
		if !a.in {
			longest = max(longest, a.hit.Done-a.hit.Sent)
		}
	}
	return longest
}

// delayed judges who waits: beyond the delay each request its turn, without one nobody. It says whether that could be seen.
func delayed(l model.Limit, key string, all []asked, wrong *check.Examples) (sighted bool) {
	var at []stats.Instant
	var in []asked
	promptly, decided := promptness(all), decidedBy(all)
	for i, a := range all {
		if l.Delay < 0 { // nobody is to wait, so that those who do not tell how fast it decides
			decided[i] = min(a.Before, a.hit.Sent+unheard+promptly)
		}
		if a.in {
			at = append(at, stats.Instant{After: a.After, Before: decided[i]})
			in = append(in, a)
		}
	}
	bucket := stats.Bucket{Room: float64(l.Burst + 1), Rate: l.Rate}
	if l.Delay >= 0 {
		for i, turn := range bucket.Waits(at, l.Delay) {
			if took := in[i].hit.Done - in[i].hit.Sent; took+outage.Slack < turn {
				wrong.Add("key %s: request %d was let through after %.3f s; its turn came %.3f s after it", key, in[i].hit.Seq, took.Seconds(), turn.Seconds())
			}
		}
		return true
	}
	sent := slices.Clone(at)
	for i := range sent {
		sent[i].Before = max(sent[i].After, in[i].hit.Sent)
	}
	waited, due, longest := 0, 0, bucket.Waits(sent, 0)
	for i, turn := range bucket.Waits(at, 0) {
		took := in[i].hit.Done - in[i].hit.Sent
		switch {
		case longest[i] == 0: // who is not beyond the rate waits for nothing either, unless servers are slow
			promptly = max(promptly, took)
		case turn >= 2*outage.Slack:
			if due++; took >= turn {
				waited++
			}
		}
	}
	sighted = due >= 5 && promptly < outage.Slack
	if sighted && waited == due {
		wrong.Add("key %s: all %s that were let in beyond the rate waited for their turns, as they do without nodelay", key, units.Plural(due, "request"))
	}
	short := float64(l.Burst) < l.Rate*(4*outage.Slack).Seconds() // no wait is long enough to be seen
	return sighted || short
}
