package failover

import (
	"fmt"
	"maps"
	"math"
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

// failures are the failures that clients met when servers died.
type failures struct {
	outages              int
	requests, failed     int // requests after a death: all, and those that failed
	minFailed, maxFailed float64
	hanging              int            // requests while a server hung, beside those
	inFlight, timedOut   byMethod       // those under way when it died, and those that hung: all, and those that failed
	examples, wrong      check.Examples // of those that failed when one refused, and of those that should not have when one hung

	find  routeFinder // of requests to the routes that the promise is about
	retry *model.Retry
}

// routeFinder finds a request on its way.
type routeFinder func(seq uint64) *check.RequestRoute

// newFailures counts the failures of requests to routes that share a promise.
func newFailures(h history.History, g check.Group[*model.Retry]) failures {
	find, mine := check.RouteFinder(h), map[string]bool{}
	for _, r := range g.Routes {
		mine[r.Key()] = true
	}
	return failures{inFlight: byMethod{}, timedOut: byMethod{}, retry: g.What, find: func(seq uint64) *check.RequestRoute {
		if j := find(seq); j != nil && mine[j.Key] {
			return j
		}
		return nil
	}}
}

// evidenceOf says whether a hit is evidence of what becomes of a pool's requests.
func (l *failures) evidenceOf(hit history.Hit, pool model.Pool, gone []outage.Window) (*check.RequestRoute, bool) {
	j := l.find(hit.Seq)
	if j == nil || j.Route.Pool != pool.Name || hit.Err == history.Tester {
		return nil, false
	}
	own := hit.Server == "" && hit.Err == "" && hit.Code < 500 // the balancer's answer, which no server had to do with
	if own || check.MaybeLimited(j.Route, hit) || metIdleClose(hit) {
		return nil, false
	}
	nobodyLeft := func(w outage.Window) bool { return hit.Done >= w.From && hit.Sent <= w.To }
	return j, !slices.ContainsFunc(gone, nobodyLeft)
}

// metIdleClose says whether a request met the end of a connection that had rested: the balancer's timeout for idle
// clients, which no server has to do with. What a server's death comes to is an answer.
func metIdleClose(hit history.Hit) bool {
	ended := hit.Err == history.Closed || hit.Err == history.Reset
	return ended && hit.Code == 0 && hit.ConnectTime == 0
}

// byMethod counts requests and, of them, those that failed.
type byMethod map[string][2]int

func (b byMethod) add(method string, failed bool) {
	n := b[method]
	if n[0]++; failed {
		n[1]++
	}
	b[method] = n
}

func (b byMethod) failed() (n int) {
	for _, one := range b {
		n += one[1]
	}
	return n
}

// String is as 0 of 12 GET, 3 of 9 POST.
func (b byMethod) String() string {
	var parts []string
	for _, method := range slices.Sorted(maps.Keys(b)) {
		parts = append(parts, fmt.Sprintf("%s of %s %s",
			units.Number(b[method][1]), units.Number(b[method][0]), method))
	}
	return strings.Join(parts, ", ")
}

// addOutage counts what became of a pool's requests around a death.
func (l *failures) addOutage(e *outage.Outage, h history.History, pool model.Pool, gone []outage.Window) {
	if e.Rate == 0 {
		return
	}
	l.outages++
	asked := 0
	for hit := range h.Hits {
		if hit.Done < e.LastAlive || hit.Sent > e.Fault.EndsAfter {
			continue
		}
		j, ok := l.evidenceOf(hit, pool, gone)
		if !ok {
			continue
		}
		failed := hit.Err != "" || isGatewayError(hit.Code)
		if hit.Sent < e.Fault.StartsBy { // it may have been with the server when that died
			l.inFlight.add(j.Request.Method, failed)
			continue
		}
		if asked++; failed {
			l.failed++
			l.examples.Add("request %d (%s %s), sent %.2f s after the death of %s, came to %s",
				hit.Seq, j.Request.Method, j.Request.Path,
				(hit.Sent - e.Fault.StartsBy).Seconds(), e.Server.Host, formatOutcome(hit))
		}
	}
	l.requests += asked
	l.predict(e, pool, asked)
}

// isGatewayError reports whether a status says that a gateway got no answer (RFC 9110, section 15.6.3 on).
func isGatewayError(code int) bool { return code >= 502 && code <= 504 }

// predict adds how many of the requests that were sent during a death were meant for the dead server before it was
// known to be dead.
func (l *failures) predict(e *outage.Outage, pool model.Pool, asked int) {
	a := e.Server.HealthCheck
	if a == nil {
		return
	}
	soonest, latest, _ := a.DetectionTime()
	dead := e.Fault.EndsAfter - e.Fault.StartsBy
	share := float64(max(1, e.Server.Weight)) / float64(totalWeight(pool))
	meant := float64(asked) * share / dead.Seconds()                  // a second
	if l.retry.Next == model.NextInRotation && l.retry.Attempts > 1 { // each attempt meets it in its turn (λ·p^attempts·T)
		meant *= math.Pow(share, float64(l.retry.Attempts-1))
		soonest = 0 // where few are under way the next turn is another's
	}
	l.minFailed += meant * min(soonest, dead).Seconds()
	l.maxFailed += meant * min(latest+e.Fault.StartsBy-e.LastAlive+outage.Tolerance, dead).Seconds()
}

// addHanging counts what became of a pool's requests while a server hung. One that failed had waited for as long as it
// may; where timeouts send requests elsewhere, and the server cannot have seen this one or it may be repeated, it does
// not fail at all.
func (l *failures) addHanging(e *outage.Outage, h history.History, pool model.Pool, gone []outage.Window) {
	waits := e.AttemptTimeout(h.Plan.Config, pool.Name)
	if e.Rate == 0 || waits == 0 || e.Fault.EndsAfter-e.Fault.StartsBy < waits+outage.Tolerance {
		return
	}
	l.outages++
	for hit := range h.Hits {
		if hit.Sent < e.Fault.StartsBy || hit.Sent > e.Fault.EndsAfter-waits {
			continue
		}
		j, ok := l.evidenceOf(hit, pool, gone)
		if !ok {
			continue
		}
		l.hanging++
		method := j.Request.Method
		if hit.Server != "" || hit.Err == history.Timeout {
			l.timedOut.add(method, false)
		}
		if hit.Err == history.Timeout || hit.Err == "" && !isGatewayError(hit.Code) { // the client's own, or an answer
			continue
		}
		switch took := hit.Done - hit.Sent; {
		case l.mustBeResent(e, method, waits):
			l.wrong.Add("request %d (%s %s), sent while %s hung, came to %s, where it is to be sent to another server",
				hit.Seq, method, j.Request.Path, e.Server.Host, formatOutcome(hit))
		case took < waits-outage.Tolerance:
			l.wrong.Add("request %d (%s %s), sent while %s hung, came to %s after %.2f s; it may wait for %g s",
				hit.Seq, method, j.Request.Path, e.Server.Host, formatOutcome(hit), took.Seconds(), waits.Seconds())
		default:
			l.timedOut.add(method, true)
		}
	}
}

// mustBeResent reports whether a request that a hanging server has kept waiting is sent to another one for certain.
func (l *failures) mustBeResent(e *outage.Outage, method string, waits time.Duration) bool {
	t := l.retry
	if t.Attempts == 1 || t.Timeout > 0 && waits >= t.Timeout {
		return false
	}
	unseen := e.Fault.Event.Fault.Effect() == plan.EffectUnreachable // by the server
	if unseen && retriesElsewhere(t) {
		return true
	}
	byTimeout := t.Next == model.NextOther && t.Failures.HasCause(model.CauseTimeout)
	return byTimeout && (unseen || t.RetriesMethod(method))
}

// formatOutcome is what a client saw: a status, or why there was none.
func formatOutcome(hit history.Hit) string {
	if hit.Err != "" {
		return string(hit.Err)
	}
	return fmt.Sprint(hit.Code)
}
