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

// How long it takes until servers are unreachable, and the minimum request rate meanwhile.
const (
	unreachableDelay = 3 * time.Second
	unreachableRate  = 5.
)

// connectAttempts returns how many connections the balancer tries for one request. untestable explains why the time of
// one attempt is not observable.
func connectAttempts(cfg model.Config, r model.Route, t model.Timeout) (n int, untestable string) {
	pool, _ := cfg.Pool(r.Pool)
	n = 1
	switch {
	case r.Retry != nil && r.Retry.Attempts > 0:
		n = r.Retry.Attempts
	case r.Retry != nil:
		n = max(1, len(pool.Servers))
	}
	all := time.Duration(n) * t.Duration
	for _, s := range pool.Servers {
		if s.HealthCheck != nil {
			if soonest, _, _ := s.HealthCheck.DetectionTime(); soonest < time.Second {
				return n, fmt.Sprintf("health checks eject servers after %s, before requests reach them", units.Duration(soonest))
			}
		}
	}
	for _, o := range r.Timeouts {
		if o.Kind == model.ReadTimeout && o.Duration > 0 && o.Duration <= t.Duration {
			return n, "the response timeout is not longer than the connect timeout"
		}
	}
	if t.Duration == 0 || all > check.MaxWait {
		return n, fmt.Sprintf("needs %d attempts of %s; lbproof waits at most %s",
			n, units.Duration(t.Duration), units.Duration(check.MaxWait))
	}
	return n, ""
}

// judgeConnect evaluates the first requests after all servers of a pool became unreachable: each response of the
// balancer must come after a whole number of attempts. Later requests do not count, because the balancer may have
// ejected the servers by then; neither do connections opened earlier.
func judgeConnect(h history.History, r model.Route, t model.Timeout) check.Finding {
	n, untestable := connectAttempts(h.Plan.Config, r, t)
	f := check.Finding{
		Untestable: untestable, Need: check.Repetitions,
		Test:      "time until the balancer gives up a request while all servers are unreachable",
		Predicted: fmt.Sprintf("%s per attempt, up to %d attempts", units.Duration(t.Duration), n),
	}
	first := time.Duration(0)
	for took := range connectWaits(h, r, t) {
		if f.N++; first == 0 || took < first {
			first = took
		}
	}
	if f.N == 0 {
		return f
	}
	f.Measured = fmt.Sprintf("the first of %s was given up after %s",
		units.Plural(f.N, "request"), units.Duration(first.Round(time.Millisecond)))
	f.Power = fmt.Sprintf("detects a timeout 25 %% off, unless a multiple of it equals a multiple of %s",
		units.Duration(t.Duration))
	if f.Inconclusive = check.WhyNodeExited(h); f.Inconclusive == "" && !fitsAttempts(first, t.Duration, n) {
		f.CounterExamples = []string{"the balancer gave up after " + units.Duration(first.Round(time.Millisecond))}
	}
	return f
}

// connectWaits yields how long the balancer tried to connect for each request that it gave up before it could know
// that the servers were unreachable.
func connectWaits(h history.History, r model.Route, t model.Timeout) iter.Seq[time.Duration] {
	pool, _ := h.Plan.Config.Pool(r.Pool)
	from := unreachableSince(h, r.Pool)
	until := from + undetectedTime(pool, t)
	_, via, _ := entryRequest(h.Plan.Config, r, "")
	statuses := t.Statuses
	if via.Key() != r.Key() {
		statuses = []int{via.Auth.FailureCode}
	}
	find := check.RouteFinder(h)
	return func(yield func(time.Duration) bool) {
		for hit := range h.Hits {
			j := find(hit.Seq)
			if j == nil || j.Key != via.Key() || from == 0 || hit.Sent < from || hit.Sent > until {
				continue
			}
			duration := hit.Done - hit.Sent
			gaveUp := hit.Server == "" && slices.Contains(statuses, hit.Code)
			leftAlone := hit.Code == 502 && duration < t.Duration*3/10 // because another request failed
			if gaveUp && !leftAlone && !yield(duration) {
				return
			}
		}
	}
}

// unreachableSince returns when the last server of a pool became unreachable; 0 if none did.
func unreachableSince(h history.History, pool string) (last time.Duration) {
	for _, m := range h.Env.Faults {
		if m.Event.Fault == plan.FaultBlackhole && m.Err == "" && check.HasServer(h.Plan.Config, pool, m.Event.Target) {
			last = max(last, m.StartsBy)
		}
	}
	return last
}

// fitsAttempts reports whether took is the duration of 1 to times connection attempts of length after.
func fitsAttempts(took, after time.Duration, times int) bool {
	for k := 1; k <= times; k++ {
		at := time.Duration(k) * after
		if took >= at-min(earlyTolerance, after/4) && took <= at+firstTolerance(after) {
			return true
		}
	}
	return false
}

// undetectedTime returns how long neither health checks nor earlier requests can reveal that the servers of a pool
// are unreachable.
func undetectedTime(pool model.Pool, t model.Timeout) time.Duration {
	duration := t.Duration / 2
	for _, s := range pool.Servers {
		if s.HealthCheck != nil {
			soonest, _, _ := s.HealthCheck.DetectionTime()
			duration = min(duration, soonest/2)
		}
	}
	return duration
}
