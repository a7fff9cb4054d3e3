package failover

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// addErrors judges a server that answers some requests with errors, by the failures that nginx must and may count: they
// add up until a request sent more than fail_timeout after the last failure succeeds, in whole seconds. After max_fails
// the server is ejected for fail_timeout; after that, one more failure ejects it again.
func (a *ejections) addErrors(e *outage.Outage, h history.History, counted bool) {
	certain, possible := 0, 0 // failures counted
	failed, before, ejected := time.Duration(0), time.Duration(0), false
	for _, c := range e.Responses(h, counted) {
		gap := c.At - failed
		late := before > 0 && c.At-before > e.MaxRequestGap()+outage.Tolerance
		switch {
		case gap < outage.Tolerance: // it was in flight
		case certain >= a.fails && gap < a.ejectedFor-outage.Tolerance:
			a.wrong.Add("%s got a request %.2f s after %s (ejected for %g s)",
				e.Server.Host, gap.Seconds(), a.formatFailures(a.fails), a.ejectedFor.Seconds())
		case e.RoundRobin && possible < a.fails && late:
			a.wrong.Add("%s got no requests for %.2f s from %.2f s on, after only %s",
				e.Server.Host, (c.At - before).Seconds(), before.Seconds(), a.formatFailures(possible))
		case ejected && gap > a.ejectedFor-outage.Tolerance:
			a.outages, a.conclusive, a.returnTimes, ejected = a.outages+1, a.conclusive+1, append(a.returnTimes, gap), false
			if e.RoundRobin && gap > a.ejectedFor+time.Second+e.MaxRequestGap()+outage.Tolerance {
				a.wrong.Add("%s was ejected for %.2f s after %s (max %g s)",
					e.Server.Host, gap.Seconds(), a.formatFailures(a.fails), a.ejectedFor.Seconds()+1)
			}
		}
		before = c.At
		switch {
		case c.Failed:
			certain, possible, failed = certain+1, possible+1, c.At
			ejected = certain >= a.fails
		case gap > a.ejectedFor+time.Second:
			certain, possible = 0, 0
		case gap > a.ejectedFor || possible >= a.fails:
			certain = 0
		}
	}
}

// formatFailures returns a text such as "3 failed attempts".
func (a *ejections) formatFailures(n int) string { return units.Plural(n, "failed attempt") }

// addConsecutive judges a server that is ejected after failures in a row, and comes back after a fixed time or by its
// health checks. A passed health check ends the streak as well: a streak that may contain one is inconclusive.
func (a *ejections) addConsecutive(e *outage.Outage, h history.History, soonest, latest time.Duration) {
	streak, first, failed, before := 0, time.Duration(0), time.Duration(0), time.Duration(0)
	for _, c := range e.Responses(h, true) {
		gap := c.At - failed
		ejected := streak >= a.fails
		if ejected && e.Server.HealthCheck != nil && e.HasAttempt(first-outage.Tolerance, failed+outage.Tolerance) {
			ejected, before = false, 0
		}
		late := before > 0 && c.At-before > e.MaxRequestGap()+outage.Tolerance
		switch {
		case ejected && gap < outage.Tolerance: // it was in flight
			continue
		case ejected && gap < soonest-outage.Tolerance:
			a.wrong.Add("%s got a request %.2f s after %s in a row (ejected for %g s)",
				e.Server.Host, gap.Seconds(), units.Plural(a.fails, "failure"), soonest.Seconds())
		case ejected && e.RoundRobin && gap > latest+e.MaxRequestGap()+outage.Tolerance:
			a.wrong.Add("%s was ejected for %.2f s after %s in a row (max %g s)",
				e.Server.Host, gap.Seconds(), units.Plural(a.fails, "failure"), latest.Seconds())
		case !ejected && e.RoundRobin && late:
			a.wrong.Add("%s got no requests for %.2f s from %.2f s on, after only %s in a row",
				e.Server.Host, (c.At - before).Seconds(), before.Seconds(), units.Plural(streak, "failure"))
		}
		if ejected {
			a.outages, a.returnTimes, streak = a.outages+1, append(a.returnTimes, gap), 0
		}
		if streak >= a.fails { // a health check may have ended it
			streak = 0
		}
		if before = c.At; !c.Failed {
			streak = 0
			continue
		}
		if streak == 0 {
			first = c.At
		}
		streak, failed = streak+1, c.At
	}
}

// ejections is the evidence of outages on when and for how long servers are ejected.
type ejections struct {
	fails, instances int
	ejectedFor       time.Duration

	outages, conclusive   int // outages, and the failure counts that were certainly reached in them
	inconclusive          int // inconclusive outages
	ambiguous             int // of them: those with attempts that may be another pool's
	attempts, maxAttempts int // attempts during outages, actual and maximum
	oddCounts             int // outages with an impossible number of attempts
	returnTimes           []time.Duration
	wrong                 check.Examples
	tooEarly              check.Examples // early requests; one may be from a client whose own server failed as well
}

// finding summarizes all outages.
func (a *ejections) finding(h history.History) check.Finding {
	attempts, limit := units.Plural(a.attempts, "attempt"), units.Plural(a.maxAttempts, "attempt")
	outages, instances := units.Plural(a.outages, "outage"), units.Plural(a.instances, "independent instance")
	f := check.Finding{
		N: a.conclusive, Need: check.Repetitions, Inconclusive: whyNoOutage(h, a.outages),
		Test:     fmt.Sprintf("attempts on the server during its outage, and its ejection time, %s", instances),
		Measured: fmt.Sprintf("%s in %s, retried %s after the first", attempts, outages, formatRange(a.returnTimes)),
		Predicted: fmt.Sprintf("at most %s, retried %g–%g s after the first",
			limit, a.ejectedFor.Seconds(), a.ejectedFor.Seconds()+1),
	}
	if a.maxAttempts == 0 && a.outages > 0 { // it was never down
		f.Measured = fmt.Sprintf("ejected %s, back %s after the last failure",
			units.Plural(a.outages, "time"), formatRange(a.returnTimes))
		f.Predicted = fmt.Sprintf("back %g–%g s after the last failure", a.ejectedFor.Seconds(), a.ejectedFor.Seconds()+1)
	}
	f.Note = a.note(h)
	// One is possible: a worker got the end of a burst when the outage began, and no further request (s(1-s)^50 < 0.01).
	if a.oddCounts > 1 {
		a.wrong.Add("in %s the number of attempts was not a multiple of max_fails=%d although each burst was long enough",
			units.Plural(a.oddCounts, "outage"), a.fails)
	}
	if a.attempts > a.maxAttempts {
		a.wrong.Add("%s in %s (max %s)", attempts, outages, units.Number(a.maxAttempts))
	}
	if a.tooEarly.Total < 2 {
		a.tooEarly = check.Examples{}
	}
	if a.wrong.Total+a.tooEarly.Total > 0 {
		f.Inconclusive = check.WhyNodeExited(h)
	}
	if f.Inconclusive == "" {
		f.CounterExamples = append(a.wrong.List(), a.tooEarly.List()...)
		f.Power = "detects more attempts in any outage, and ejections 1 s longer or shorter"
	}
	return f
}

// note explains why outages are inconclusive, and how to get more.
func (a *ejections) note(h history.History) (note string) {
	if a.inconclusive > 0 {
		note = fmt.Sprintf("in %s the request pattern could not prove that max_fails=%d was reached (%s)",
			units.Plural(a.inconclusive, "outage"), a.fails, units.Plural(a.instances, "instance"))
	}
	if a.outages >= check.Repetitions && a.conclusive < check.Repetitions && len(h.Plan.Checks) == 0 {
		note = appendNote(note, "use --checks passive for more outages")
	}
	return note
}

// addOutage judges one outage by what nginx counts: an instance makes max_fails attempts, then none for more than
// fail_timeout and at most 1 s longer, because it counts whole seconds, then one in each such period
// (ngx_http_upstream_round_robin.c). A client's connection stays with its worker, and so with one instance. If the
// server hangs, all requests sent until the first attempt fails go there as well.
func (a *ejections) addOutage(e *outage.Outage, h history.History, pool string) {
	a.outages++
	timeout := e.AttemptTimeout(h.Plan.Config, pool)
	a.maxAttempts += a.instances * (a.fails + int((e.Fault.EndsAfter-e.LastAlive)/(a.ejectedFor+timeout)))
	if e.Hangs {
		a.addHanging(e, h, timeout)
		return
	}
	a.checkEarlyReturn(e)
	independent := len(e.IndependentAttempts(h, pool))
	a.attempts += independent
	counts := a.countAttempts(e, h, pool, independent)
	a.checkReturn(e, 0)
	retried := e.Fault.EndsAfter-e.LastAlive >= a.ejectedFor // during the outage
	if !e.BurstsReachCount(h, a.fails) || retried {
		a.concludeByCount(e, counts, independent, retried)
		return
	}
	a.concludeByBursts(e, counts, independent)
}

// fullCount returns how many attempts all instances make until each has reached its count.
func (a *ejections) fullCount() int { return a.instances * a.fails }

// addHanging judges an outage in which attempts fail only after a timeout.
func (a *ejections) addHanging(e *outage.Outage, h history.History, timeout time.Duration) {
	a.attempts += len(e.Attempts)
	a.maxAttempts += stats.PoissonUpper(e.Rate*timeout.Seconds(), h.Plan.Alpha)
	a.checkEjected(e, timeout)
	a.checkReturn(e, timeout)
	a.conclude(len(e.Attempts) >= a.fullCount(), 1)
}

// checkEarlyReturn judges when a single instance retried the server. With several instances, one may have made more
// concurrent attempts than its count, and another none.
func (a *ejections) checkEarlyReturn(e *outage.Outage) {
	if a.instances != 1 || len(e.Attempts) < a.fails || e.ReturnedAt == 0 {
		return
	}
	if since := e.ReturnedAt - e.Attempts[a.fails-1]; since < a.ejectedFor-outage.Tolerance {
		a.wrong.Add("%s got a request %.2f s after max_fails=%d was reached (ejected for %g s)",
			e.Server.Host, since.Seconds(), a.fails, a.ejectedFor.Seconds())
	}
}

// attemptCounts counts the attempts during an outage by client connection.
type attemptCounts struct {
	failed        map[int][]time.Duration // by connection: failed attempts since the last success
	failedConns   map[int]bool            // connections with failed attempts
	longestStreak int                     // most failures in a row on one connection
	inFlight      int                     // requests that had reached the server when the outage began
	unambiguous   int                     // attempts that only one connection can have caused
}

// add counts a forwarded request.
func (n *attemptCounts) add(c outage.ForwardedRequest) {
	if !c.Failed {
		delete(n.failed, c.Conn)
		return
	}
	if c.InFlight {
		n.inFlight++
	} else {
		n.unambiguous++
	}
	n.failed[c.Conn] = append(n.failed[c.Conn], c.At)
	n.failedConns[c.Conn] = true
	n.longestStreak = max(n.longestStreak, len(n.failed[c.Conn]))
}

// countAttempts judges each forwarded request by the previous attempts on its connection, and counts all.
func (a *ejections) countAttempts(e *outage.Outage, h history.History, pool string, independent int) attemptCounts {
	p, _ := h.Plan.Config.Pool(pool)
	keyed := p.Balance.Key().IsAddress() // all requests of a connection go to one server
	n := attemptCounts{failed: map[int][]time.Duration{}, failedConns: map[int]bool{}}
	requests := e.ForwardedRequests(h, pool)
	anyInFlight := slices.ContainsFunc(requests, func(c outage.ForwardedRequest) bool { return c.InFlight })
	allEjected := independent == a.fullCount() && len(e.Attempts) == a.fullCount() && !anyInFlight // has reached its count
	for _, c := range requests {
		a.checkSameConnection(e, c, n.failed[c.Conn])
		if allEjected && !c.Failed {
			a.checkAfterAllEjected(e, h, c)
		}
		if c.AfterSkip && keyed {
			a.checkAfterSkip(e, c)
		}
		n.add(c)
	}
	return n
}

// checkSameConnection judges a forwarded request by earlier failed attempts on its connection.
func (a *ejections) checkSameConnection(e *outage.Outage, c outage.ForwardedRequest, failed []time.Duration) {
	if len(failed) < a.fails {
		return
	}
	last := failed[len(failed)-1]
	if c.At-last < a.ejectedFor-outage.Tolerance {
		a.wrong.Add("%s got a request %.2f s after its failure at %.2f s on the same connection (ejected for %g s)",
			e.Server.Host, (c.At - last).Seconds(), last.Seconds(), a.ejectedFor.Seconds())
	}
}

// checkAfterAllEjected judges a request to a server that every worker has ejected, unless a reload reset the counts.
func (a *ejections) checkAfterAllEjected(e *outage.Outage, h history.History, c outage.ForwardedRequest) {
	reloaded := slices.ContainsFunc(h.Env.Faults, func(m history.FaultWindow) bool {
		return m.Event.Fault == plan.FaultReload && m.RequestedAt > e.LastAlive && m.RequestedAt < c.At
	})
	if !reloaded && c.At < e.Attempts[a.fails-1]+a.ejectedFor-outage.Tolerance {
		a.tooEarly.Add("%s got a request by %.2f s although every worker had ejected it after its outage began at %.2f s "+
			"(ejected for %g s)", e.Server.Host, c.At.Seconds(), e.LastAlive.Seconds(), a.ejectedFor.Seconds())
	}
}

// checkAfterSkip judges a request on a connection whose requests went elsewhere since the outage began.
func (a *ejections) checkAfterSkip(e *outage.Outage, c outage.ForwardedRequest) {
	if e.CountsReset && c.At < e.LastAlive+a.ejectedFor-outage.Tolerance {
		a.tooEarly.Add("%s got a request at %.2f s on a connection whose requests went elsewhere after its outage began "+
			"at %.2f s (ejected for %g s)", e.Server.Host, c.At.Seconds(), e.LastAlive.Seconds(), a.ejectedFor.Seconds())
	}
}

// concludeByCount decides which instances have reached their counts, without bursts.
func (a *ejections) concludeByCount(e *outage.Outage, n attemptCounts, independent int, retried bool) {
	within := retried || independent <= a.fullCount()
	if a.fails == 1 && within && independent > 0 { // regardless of which client caused them
		a.conclude(true, min(independent, a.instances))
		return
	}
	oneConn := len(e.Attempts) == n.unambiguous && len(n.failedConns) == 1 && n.longestStreak >= a.fails
	allEjected := len(e.Attempts)+n.inFlight >= a.fullCount() && within
	a.conclude(oneConn || allEjected, 1)
}

// concludeByBursts decides which instances have reached their counts if clients send bursts, so that attempts are a
// multiple of the count.
func (a *ejections) concludeByBursts(e *outage.Outage, n attemptCounts, independent int) {
	attempts := len(e.Attempts)
	multiple := attempts%a.fails == 0
	if n.inFlight == 0 && attempts == n.unambiguous && !multiple {
		a.oddCounts++
	}
	instances := 1 // at least
	if independent == attempts {
		instances = attempts / a.fails
	}
	a.conclude(attempts > 0 && n.inFlight == 0 && multiple, instances)
}

// conclude counts an outage in which a number of instances certainly reached their counts, or an inconclusive one.
func (a *ejections) conclude(certain bool, instances int) {
	if !certain {
		a.inconclusive++
		return
	}
	a.conclusive += instances
}

// checkEjected judges the time after max_fails attempts on a hanging server, for a single instance.
func (a *ejections) checkEjected(e *outage.Outage, timeout time.Duration) {
	if a.instances != 1 || len(e.Attempts) < a.fails {
		return
	}
	known := e.Attempts[a.fails-1] + timeout
	for _, at := range e.Attempts {
		if at > known+outage.Tolerance && at < min(known+a.ejectedFor, e.Fault.EndsAfter)-outage.Tolerance {
			a.wrong.Add("%s got a request %.2f s after %s had failed (ejected for %g s)",
				e.Server.Host, (at - known).Seconds(), units.Plural(a.fails, "attempt"), a.ejectedFor.Seconds())
		}
	}
}

// checkReturn judges when the server got its first request after the outage. An attempt takes timeout to fail.
func (a *ejections) checkReturn(e *outage.Outage, timeout time.Duration) {
	lastAttempt := e.LastAlive
	if n := len(e.Attempts); n > 0 {
		lastAttempt = e.Attempts[n-1] + timeout
	}
	if e.LastEarlyAttempt > 0 { // by a worker that gets requests only while the starting server keeps the others busy
		lastAttempt = e.LastEarlyAttempt + timeout
	}
	if e.ReturnedAt > 0 && len(e.Attempts) > 0 && !e.Hangs {
		a.returnTimes = append(a.returnTimes, e.ReturnedAt-e.Attempts[0])
	}
	latest := max(lastAttempt+a.ejectedFor+time.Second, e.Fault.EndsBy)
	latest += e.MaxRequestGap()*time.Duration(a.instances) + outage.Tolerance
	if until := cmp.Or(e.ReturnedAt, e.End); e.RoundRobin && until > latest && e.TrafficUntil > latest {
		a.wrong.Add("%s was back at %.2f s and got no requests until %.2f s, %.2f s after its last failure (max %g s)",
			e.Server.Host, e.Fault.EndsBy.Seconds(), until.Seconds(), (until - lastAttempt).Seconds(), a.ejectedFor.Seconds()+1)
	}
}
