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

// What passive health makes of a server that answers, in part with errors.

// addErrors judges a server of whose answers a part are errors, by what nginx must count, and what it may: failures add
// up until a good answer to a request that was sent more than fail_timeout after the last of them, in whole seconds;
// once there are max_fails the server is left alone, and after that time one more failure has it left alone again.
func (a *ejections) addErrors(e *outage.Outage, h history.History, counted bool) {
	certain, possible := 0, 0 // failures counted
	failed, before, out := time.Duration(0), time.Duration(0), false
	for _, c := range e.Responses(h, counted) {
		gap := c.At - failed
		late := before > 0 && c.At-before > e.MaxRequestGap()+outage.Tolerance
		switch {
		case gap < outage.Tolerance: // it was under way by then
		case certain >= a.fails && gap < a.ejectedFor-outage.Tolerance:
			a.wrong.Add("%s was sent a request %.2f s after %s; it is to be left alone for %g s",
				e.Server.Host, gap.Seconds(), a.formatFailures(a.fails), a.ejectedFor.Seconds())
		case e.RoundRobin && possible < a.fails && late:
			a.wrong.Add("%s was left alone for %.2f s at %.2f s, after %s only",
				e.Server.Host, (c.At - before).Seconds(), before.Seconds(), a.formatFailures(possible))
		case out && gap > a.ejectedFor-outage.Tolerance:
			a.outages, a.conclusive, a.returnTimes, out = a.outages+1, a.conclusive+1, append(a.returnTimes, gap), false
			if e.RoundRobin && gap > a.ejectedFor+time.Second+e.MaxRequestGap()+outage.Tolerance {
				a.wrong.Add("%s was left alone for %.2f s after %s; %g s is promised at most",
					e.Server.Host, gap.Seconds(), a.formatFailures(a.fails), a.ejectedFor.Seconds()+1)
			}
		}
		before = c.At
		switch {
		case c.Failed:
			certain, possible, failed = certain+1, possible+1, c.At
			out = certain >= a.fails
		case gap > a.ejectedFor+time.Second:
			certain, possible = 0, 0
		case gap > a.ejectedFor || possible >= a.fails:
			certain = 0
		}
	}
}

// formatFailures is as "3 failed attempts".
func (a *ejections) formatFailures(n int) string { return units.Plural(n, "failed attempt") }

// addConsecutive judges a server that is taken out by so many failures in a row, and comes back by the clock or by its health
// checks. Where health is checked a check that passes ends the row too, so that one that may have come between makes it
// no row for certain.
func (a *ejections) addConsecutive(e *outage.Outage, h history.History, soonest, latest time.Duration) {
	row, first, failed, before := 0, time.Duration(0), time.Duration(0), time.Duration(0)
	for _, c := range e.Responses(h, true) {
		gap := c.At - failed
		out := row >= a.fails
		if out && e.Server.HealthCheck != nil && e.HasAttempt(first-outage.Tolerance, failed+outage.Tolerance) {
			out, before = false, 0
		}
		late := before > 0 && c.At-before > e.MaxRequestGap()+outage.Tolerance
		switch {
		case out && gap < outage.Tolerance: // it was under way by then
			continue
		case out && gap < soonest-outage.Tolerance:
			a.wrong.Add("%s was sent a request %.2f s after %s in a row; it is to be left alone for %g s",
				e.Server.Host, gap.Seconds(), units.Plural(a.fails, "failure"), soonest.Seconds())
		case out && e.RoundRobin && gap > latest+e.MaxRequestGap()+outage.Tolerance:
			a.wrong.Add("%s was left alone for %.2f s after %s in a row; %g s is promised at most",
				e.Server.Host, gap.Seconds(), units.Plural(a.fails, "failure"), latest.Seconds())
		case !out && e.RoundRobin && late:
			a.wrong.Add("%s was left alone for %.2f s at %.2f s, after %s in a row only",
				e.Server.Host, (c.At - before).Seconds(), before.Seconds(), units.Plural(row, "failure"))
		}
		if out {
			a.outages, a.returnTimes, row = a.outages+1, append(a.returnTimes, gap), 0
		}
		if row >= a.fails { // which a check may have ended
			row = 0
		}
		if before = c.At; !c.Failed {
			row = 0
			continue
		}
		if row == 0 {
			first = c.At
		}
		row, failed = row+1, c.At
	}
}

// ejections is what the deaths of servers have shown of how long nginx leaves them alone.
type ejections struct {
	fails, instances int
	ejectedFor       time.Duration

	outages, conclusive   int // deaths, and counts of states that were seen to be reached
	inconclusive          int // deaths that show none
	ambiguous             int // of them: those whose attempts may be another pool's
	attempts, maxAttempts int // attempts on dead servers, and how many there may be
	oddCounts             int // deaths with a number of attempts that no workers come to
	returnTimes           []time.Duration
	wrong                 check.Examples
	tooEarly              check.Examples // requests too soon; one may be of a client whose own server failed too
}

// finding is what all deaths together say.
func (a *ejections) finding(h history.History) check.Finding {
	asked, most := units.Plural(a.attempts, "attempt"), units.Plural(a.maxAttempts, "attempt")
	died, states := units.Plural(a.outages, "death"), units.Plural(a.instances, "independent state")
	f := check.Finding{
		N: a.conclusive, Need: check.Repetitions, Inconclusive: whyNoOutage(h, a.outages),
		Test:     fmt.Sprintf("attempts on the dead server and how long it was left alone, %s", states),
		Measured: fmt.Sprintf("%s on dead servers in %s, back %s after the first", asked, died, formatRange(a.returnTimes)),
		Predicted: fmt.Sprintf("at most %s, back %g s to %g s after the first",
			most, a.ejectedFor.Seconds(), a.ejectedFor.Seconds()+1),
	}
	if a.maxAttempts == 0 && a.outages > 0 { // it was never dead
		f.Measured = fmt.Sprintf("out %s, back %s after the last failure", units.Plural(a.outages, "time"), formatRange(a.returnTimes))
		f.Predicted = fmt.Sprintf("back %g s to %g s after it", a.ejectedFor.Seconds(), a.ejectedFor.Seconds()+1)
	}
	if a.inconclusive > 0 {
		f.Note = fmt.Sprintf("at %s the dead server was asked too seldom, or too often at a time, for a count of %d "+
			"to be reached "+
			"for certain, by %s", units.Plural(a.inconclusive, "death"), a.fails, units.Plural(a.instances, "state"))
	}
	if a.outages >= check.Repetitions && a.conclusive < check.Repetitions && len(h.Plan.Checks) == 0 {
		f.Note += "; --checks passive has it die more often"
	}
	// One may be: a worker was asked the end of a row when the server died, and never again (s(1-s)^50 < 0.01).
	if a.oddCounts > 1 {
		a.wrong.Add("at %s the dead server was asked a number of times that is no multiple of %d, "+
			"though every client asked often enough for that", units.Plural(a.oddCounts, "death"), a.fails)
	}
	if a.attempts > a.maxAttempts {
		a.wrong.Add("%s on dead servers in %s, where %s are promised at most", asked, died, units.Number(a.maxAttempts))
	}
	if a.tooEarly.Total < 2 {
		a.tooEarly = check.Examples{}
	}
	if a.wrong.Total+a.tooEarly.Total > 0 {
		f.Inconclusive = check.WhyNodeExited(h)
	}
	if f.Inconclusive == "" {
		f.CounterExamples = append(a.wrong.List(), a.tooEarly.List()...)
		f.Power = "would have caught, at every death, more attempts than that and an absence that is a second " +
			"longer, or shorter"
	}
	return f
}

// addOutage judges one death by what nginx counts: a state makes so many attempts, then none for more than fail_timeout and
// at most a second longer, because it counts whole seconds, then one in each such period
// (ngx_http_upstream_round_robin.c). A client's connection stays with its worker, and so with one state. Where the
// server hangs, all that is sent until the first attempt has failed goes there too.
func (a *ejections) addOutage(e *outage.Outage, h history.History, pool string) {
	a.outages++
	waits := e.AttemptTimeout(h.Plan.Config, pool)
	a.maxAttempts += a.instances * (a.fails + int((e.Fault.EndsAfter-e.LastAlive)/(a.ejectedFor+waits)))
	if e.Hangs {
		a.addHanging(e, h, waits)
		return
	}
	a.checkEarlyReturn(e)
	sure := len(e.IndependentAttempts(h, pool))
	a.attempts += sure
	seen := a.countAttempts(e, h, pool, sure)
	a.checkReturn(e, 0)
	retried := e.Fault.EndsAfter-e.LastAlive >= a.ejectedFor // so that it is tried again while it is dead
	if !e.BurstsReachCount(h, a.fails) || retried {
		a.concludeByCount(e, seen, sure, retried)
		return
	}
	a.concludeByBursts(e, seen, sure)
}

// fullCount is how many attempts all states make until each has met its count.
func (a *ejections) fullCount() int { return a.instances * a.fails }

// addHanging judges a death at which attempts fail only after a time.
func (a *ejections) addHanging(e *outage.Outage, h history.History, waits time.Duration) {
	a.attempts += len(e.Attempts)
	a.maxAttempts += stats.PoissonUpper(e.Rate*waits.Seconds(), h.Plan.Alpha)
	a.checkEjected(e, waits)
	a.checkReturn(e, waits)
	a.conclude(len(e.Attempts) >= a.fullCount(), 1)
}

// checkEarlyReturn judges when a server was asked again that one state counts for. Of several states one may have made more
// attempts than its count, at a time, and another none.
func (a *ejections) checkEarlyReturn(e *outage.Outage) {
	if a.instances != 1 || len(e.Attempts) < a.fails || e.ReturnedAt == 0 {
		return
	}
	if since := e.ReturnedAt - e.Attempts[a.fails-1]; since < a.ejectedFor-outage.Tolerance {
		a.wrong.Add("%s was sent a request %.2f s after its count of %d was reached; it is to be left alone for %g s",
			e.Server.Host, since.Seconds(), a.fails, a.ejectedFor.Seconds())
	}
}

// attemptCounts are the attempts on a dead server by the connections that they were for.
type attemptCounts struct {
	failed        map[int][]time.Duration // when a connection's attempts failed, since the last one that did not
	failedConns   map[int]bool            // connections with attempts that failed
	longestStreak int                     // the most that failed in a row, on one connection
	inFlight      int                     // requests that the server had taken when it died, any number at a time
	unambiguous   int                     // attempts that one connection alone can have made
}

// add enters a contact.
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

// countAttempts judges each contact with a server by what its connection had met there before, and counts all.
func (a *ejections) countAttempts(e *outage.Outage, h history.History, pool string, sure int) attemptCounts {
	p, _ := h.Plan.Config.Pool(pool)
	keyed := p.Balance.Key().IsAddress() // all requests of a connection have one server
	n := attemptCounts{failed: map[int][]time.Duration{}, failedConns: map[int]bool{}}
	contacts := e.ForwardedRequests(h, pool)
	taken := slices.ContainsFunc(contacts, func(c outage.ForwardedRequest) bool { return c.InFlight })
	everyone := sure == a.fullCount() && len(e.Attempts) == a.fullCount() && !taken // has met its count
	for _, c := range contacts {
		a.checkSameConnection(e, c, n.failed[c.Conn])
		if everyone && !c.Failed {
			a.checkAfterAllEjected(e, h, c)
		}
		if c.AfterSkip && keyed {
			a.checkAfterSkip(e, c)
		}
		n.add(c)
	}
	return n
}

// checkSameConnection judges a contact by when attempts on the same connection had failed before.
func (a *ejections) checkSameConnection(e *outage.Outage, c outage.ForwardedRequest, failed []time.Duration) {
	if len(failed) < a.fails {
		return
	}
	last := failed[len(failed)-1]
	if c.At-last < a.ejectedFor-outage.Tolerance {
		a.wrong.Add("%s was sent a request %.2f s after its failure at %.2f s, on the same connection; it is to be "+
			"left alone for %g s",
			e.Server.Host, (c.At - last).Seconds(), last.Seconds(), a.ejectedFor.Seconds())
	}
}

// checkAfterAllEjected judges a contact with a server that every worker has met its count of, unless it forgot that by a
// reload.
func (a *ejections) checkAfterAllEjected(e *outage.Outage, h history.History, c outage.ForwardedRequest) {
	reloaded := slices.ContainsFunc(h.Env.Faults, func(m history.FaultWindow) bool {
		return m.Event.Fault == plan.FaultReload && m.RequestedAt > e.LastAlive && m.RequestedAt < c.At
	})
	if !reloaded && c.At < e.Attempts[a.fails-1]+a.ejectedFor-outage.Tolerance {
		a.tooEarly.Add("%s was sent a request by %.2f s, though every worker had met its count since it died at %.2f s; "+
			"it is to be left alone for %g s", e.Server.Host, c.At.Seconds(), e.LastAlive.Seconds(), a.ejectedFor.Seconds())
	}
}

// checkAfterSkip judges a contact on a connection whose requests had gone elsewhere since the server died.
func (a *ejections) checkAfterSkip(e *outage.Outage, c outage.ForwardedRequest) {
	if e.CountsReset && c.At < e.LastAlive+a.ejectedFor-outage.Tolerance {
		a.tooEarly.Add("%s was sent a request at %.2f s, of a connection whose requests had gone elsewhere since it "+
			"died at %.2f s; "+
			"it is to be left alone for %g s", e.Server.Host, c.At.Seconds(), e.LastAlive.Seconds(), a.ejectedFor.Seconds())
	}
}

// concludeByCount tells which states have reached their counts where no rows of requests show it.
func (a *ejections) concludeByCount(e *outage.Outage, n attemptCounts, sure int, retried bool) {
	within := retried || sure <= a.fullCount()
	if a.fails == 1 && within && sure > 0 { // whoever's attempts they were
		a.conclude(true, min(sure, a.instances))
		return
	}
	oneAlone := len(e.Attempts) == n.unambiguous && len(n.failedConns) == 1 && n.longestStreak >= a.fails
	everyone := len(e.Attempts)+n.inFlight >= a.fullCount() && within
	a.conclude(oneAlone || everyone, 1)
}

// concludeByBursts tells which states have reached their counts where clients send rows, so that attempts are a multiple of the
// count.
func (a *ejections) concludeByBursts(e *outage.Outage, n attemptCounts, sure int) {
	attempts := len(e.Attempts)
	multiple := attempts%a.fails == 0
	if n.inFlight == 0 && attempts == n.unambiguous && !multiple {
		a.oddCounts++
	}
	states := 1 // at least
	if sure == attempts {
		states = attempts / a.fails
	}
	a.conclude(attempts > 0 && n.inFlight == 0 && multiple, states)
}

// conclude counts a death at which so many states must have reached their counts.
func (a *ejections) conclude(told bool, states int) {
	if !told {
		a.inconclusive++
		return
	}
	a.conclusive += states
}

// checkEjected judges the time after so many attempts on a server that hangs have failed, where one state counts for all.
func (a *ejections) checkEjected(e *outage.Outage, waits time.Duration) {
	if a.instances != 1 || len(e.Attempts) < a.fails {
		return
	}
	known := e.Attempts[a.fails-1] + waits
	for _, at := range e.Attempts {
		if at > known+outage.Tolerance && at < min(known+a.ejectedFor, e.Fault.EndsAfter)-outage.Tolerance {
			a.wrong.Add("%s was sent a request %.2f s after %s on it had failed; it is to be left alone for %g s",
				e.Server.Host, (at - known).Seconds(), units.Plural(a.fails, "attempt"), a.ejectedFor.Seconds())
		}
	}
}

// checkReturn judges when the server got its first request after it had come back. An attempt takes as long to fail as
// waits says.
func (a *ejections) checkReturn(e *outage.Outage, waits time.Duration) {
	lastAsked := e.LastAlive
	if n := len(e.Attempts); n > 0 {
		lastAsked = e.Attempts[n-1] + waits
	}
	if e.LastEarlyAttempt > 0 { // by a worker that is asked only while the start of the server keeps the others busy
		lastAsked = e.LastEarlyAttempt + waits
	}
	if e.ReturnedAt > 0 && len(e.Attempts) > 0 && !e.Hangs {
		a.returnTimes = append(a.returnTimes, e.ReturnedAt-e.Attempts[0])
	}
	latest := max(lastAsked+a.ejectedFor+time.Second, e.Fault.EndsBy) + e.MaxRequestGap()*time.Duration(a.instances) + outage.Tolerance
	if until := cmp.Or(e.ReturnedAt, e.End); e.RoundRobin && until > latest && e.TrafficUntil > latest {
		a.wrong.Add("%s was back at %.2f s and sent no request until %.2f s, %.2f s after its last failure; %g s is "+
			"promised at most",
			e.Server.Host, e.Fault.EndsBy.Seconds(), until.Seconds(), (until - lastAsked).Seconds(), a.ejectedFor.Seconds()+1)
	}
}
