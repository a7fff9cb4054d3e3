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

// failures counts the failed requests in outages.
type failures struct {
	outages              int
	requests, failed     int // sent during outages: all, and those that failed
	minFailed, maxFailed float64
	hanging              int            // further requests, sent while a server hung
	inFlight, timedOut   byMethod       // requests in flight when an outage began, and those that hung
	examples, wrong      check.Examples // failed while a server refused connections; wrongly failed while one hung

	find  routeFinder // for the routes of the claim
	retry *model.Retry
}

// routeFinder returns the route of a request, or nil if it is not evidence.
type routeFinder func(seq uint64) *check.RequestRoute

// newFailures returns a counter for requests to the routes of a group.
func newFailures(h history.History, g check.Group[*model.Retry]) failures {
	find, routes := check.RouteFinder(h), map[string]bool{}
	for _, r := range g.Routes {
		routes[r.Key()] = true
	}
	return failures{inFlight: byMethod{}, timedOut: byMethod{}, retry: g.What, find: func(seq uint64) *check.RequestRoute {
		if j := find(seq); j != nil && routes[j.Key] {
			return j
		}
		return nil
	}}
}

// evidenceOf returns the route of a hit that is evidence of how a pool's requests fare.
func (l *failures) evidenceOf(hit history.Hit, pool model.Pool, allDown []outage.Window) (*check.RequestRoute, bool) {
	j := l.find(hit.Seq)
	if j == nil || j.Route.Pool != pool.Name || hit.Err == history.Tester {
		return nil, false
	}
	answeredLocally := hit.Server == "" && hit.Err == "" && hit.Code < 500 // the balancer's own response
	if answeredLocally || check.MaybeLimited(j.Route, hit) || metIdleClose(hit) {
		return nil, false
	}
	duringAllDown := func(w outage.Window) bool { return hit.Done >= w.From && hit.Sent <= w.To }
	return j, !slices.ContainsFunc(allDown, duringAllDown)
}

// metIdleClose reports whether a request hit the end of an idle connection: the balancer's timeout for idle clients,
// unrelated to servers. A server's outage results in a response.
func metIdleClose(hit history.Hit) bool {
	ended := hit.Err == history.Closed || hit.Err == history.Reset
	return ended && hit.Code == 0 && hit.ConnectTime == 0
}

// byMethod counts all and failed requests by method.
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

// String returns a text such as "0 of 12 GET, 3 of 9 POST".
func (b byMethod) String() string {
	var parts []string
	for _, method := range slices.Sorted(maps.Keys(b)) {
		parts = append(parts, fmt.Sprintf("%s of %s %s",
			units.Number(b[method][1]), units.Number(b[method][0]), method))
	}
	return strings.Join(parts, ", ")
}

// addOutage counts a pool's requests around an outage.
func (l *failures) addOutage(e *outage.Outage, h history.History, pool model.Pool, allDown []outage.Window) {
	if e.Rate == 0 {
		return
	}
	l.outages++
	requests := 0
	for hit := range h.Hits {
		if hit.Done < e.LastAlive || hit.Sent > e.Fault.EndsAfter {
			continue
		}
		j, ok := l.evidenceOf(hit, pool, allDown)
		if !ok {
			continue
		}
		failed := hit.Err != "" || isGatewayError(hit.Code)
		if hit.Sent < e.Fault.StartsBy { // it may have reached the server before the outage
			l.inFlight.add(j.Request.Method, failed)
			continue
		}
		if requests++; failed {
			l.failed++
			l.examples.Add("request %d (%s %s), sent %.2f s after %s went down, failed: %s",
				hit.Seq, j.Request.Method, j.Request.Path,
				(hit.Sent - e.Fault.StartsBy).Seconds(), e.Server.Host, check.OutcomeOf(hit))
		}
	}
	l.requests += requests
	l.predict(e, pool, requests)
}

// isGatewayError reports whether a status means that a gateway got no response (RFC 9110, sections 15.6.3–15.6.5).
func isGatewayError(code int) bool { return code >= 502 && code <= 504 }

// predict adds how many requests were due to the server before its outage was detected.
func (l *failures) predict(e *outage.Outage, pool model.Pool, requests int) {
	a := e.Server.HealthCheck
	if a == nil {
		return
	}
	soonest, latest, _ := a.DetectionTime()
	duration := e.Fault.EndsAfter - e.Fault.StartsBy
	share := float64(max(1, e.Server.Weight)) / float64(totalWeight(pool))
	due := float64(requests) * share / duration.Seconds()             // per second
	if l.retry.Next == model.NextInRotation && l.retry.Attempts > 1 { // each attempt may hit it (λ·p^attempts·T)
		due *= math.Pow(share, float64(l.retry.Attempts-1))
		soonest = 0 // with few requests in flight, the next attempt goes elsewhere
	}
	l.minFailed += due * min(soonest, duration).Seconds()
	l.maxFailed += due * min(latest+e.Fault.StartsBy-e.LastAlive+outage.Tolerance, duration).Seconds()
}

// addHanging counts a pool's requests while a server hung. A failed request must have waited until its timeout. It must
// not fail at all if timeouts are retried elsewhere, and the server cannot have seen it or it may be repeated.
func (l *failures) addHanging(e *outage.Outage, h history.History, pool model.Pool, allDown []outage.Window) {
	timeout := e.AttemptTimeout(h.Plan.Config, pool.Name)
	if e.Rate == 0 || timeout == 0 || e.Fault.EndsAfter-e.Fault.StartsBy < timeout+outage.Tolerance {
		return
	}
	l.outages++
	for hit := range h.Hits {
		if hit.Sent < e.Fault.StartsBy || hit.Sent > e.Fault.EndsAfter-timeout {
			continue
		}
		j, ok := l.evidenceOf(hit, pool, allDown)
		if !ok {
			continue
		}
		l.hanging++
		method := j.Request.Method
		if hit.Server != "" || hit.Err == history.Timeout {
			l.timedOut.add(method, false)
		}
		if hit.Err == history.Timeout || hit.Err == "" && !isGatewayError(hit.Code) { // the client gave up, or got a response
			continue
		}
		switch took := hit.Done - hit.Sent; {
		case l.mustBeResent(e, method, timeout):
			l.wrong.Add("request %d (%s %s), sent while %s hung, failed instead of being retried elsewhere: %s",
				hit.Seq, method, j.Request.Path, e.Server.Host, check.OutcomeOf(hit))
		case took < timeout-outage.Tolerance:
			l.wrong.Add("request %d (%s %s), sent while %s hung, failed after %.2f s (timeout %s): %s",
				hit.Seq, method, j.Request.Path, e.Server.Host, took.Seconds(), units.Duration(timeout), check.OutcomeOf(hit))
		default:
			l.timedOut.add(method, true)
		}
	}
}

// mustBeResent reports whether a request that waits for a hanging server is certainly retried on another one.
func (l *failures) mustBeResent(e *outage.Outage, method string, timeout time.Duration) bool {
	t := l.retry
	if t.Attempts == 1 || t.Timeout > 0 && timeout >= t.Timeout {
		return false
	}
	unreachable := e.Fault.Event.Fault.Effect() == plan.EffectUnreachable // by the server
	if unreachable && retriesElsewhere(t) {
		return true
	}
	byTimeout := t.Next == model.NextOther && t.Failures.HasCause(model.CauseTimeout)
	return byTimeout && (unreachable || t.RetriesMethod(method))
}
