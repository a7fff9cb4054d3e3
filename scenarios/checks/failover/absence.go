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

// seeErrors judges a server of whose answers a part are errors, by what nginx must count, and what it may: failures add
// up until a good answer to a request that was sent more than fail_timeout after the last of them, in whole seconds;
// once there are max_fails the server is left alone, and after that time one more failure has it left alone again.
func (a *absence) seeErrors(e *outage.Episode, h history.History, counted bool) {
	certain, possible := 0, 0 // failures counted
	failed, before, out := time.Duration(0), time.Duration(0), false
	for _, c := range e.Answers(h, counted) {
		gap := c.At - failed
		late := before > 0 && c.At-before > e.Pick()+outage.Slack
		switch {
		case gap < outage.Slack: // it was under way by then
		case certain >= a.fails && gap < a.out-outage.Slack:
			a.wrong.Add("%s was sent a request %.2f s after %s; it is to be left alone for %g s",
				e.Server.Host, gap.Seconds(), a.failures(a.fails), a.out.Seconds())
		case e.Turns && possible < a.fails && late:
			a.wrong.Add("%s was left alone for %.2f s at %.2f s, after %s only",
				e.Server.Host, (c.At - before).Seconds(), before.Seconds(), a.failures(possible))
		case out && gap > a.out-outage.Slack:
			a.n, a.told, a.away, out = a.n+1, a.told+1, append(a.away, gap), false
			if e.Turns && gap > a.out+time.Second+e.Pick()+outage.Slack {
				a.wrong.Add("%s was left alone for %.2f s after %s; %g s is promised at most",
					e.Server.Host, gap.Seconds(), a.failures(a.fails), a.out.Seconds()+1)
			}
		}
		before = c.At
		switch {
		case c.Failed:
			certain, possible, failed = certain+1, possible+1, c.At
			out = certain >= a.fails
		case gap > a.out+time.Second:
			certain, possible = 0, 0
		case gap > a.out || possible >= a.fails:
			certain = 0
		}
	}
}

// failures is as "3 failed attempts".
func (a *absence) failures(n int) string { return units.Plural(n, "failed attempt") }

// inRow judges a server that is taken out by so many failures in a row, and comes back by the clock or by its health
// checks. Where health is checked a check that passes ends the row too, so that one that may have come between makes it
// no row for certain.
func (a *absence) inRow(e *outage.Episode, h history.History, soonest, latest time.Duration) {
	row, first, failed, before := 0, time.Duration(0), time.Duration(0), time.Duration(0)
	for _, c := range e.Answers(h, true) {
		gap := c.At - failed
		out := row >= a.fails
		if out && e.Server.Active != nil && e.Attempted(first-outage.Slack, failed+outage.Slack) {
			out, before = false, 0
		}
		late := before > 0 && c.At-before > e.Pick()+outage.Slack
		switch {
		case out && gap < outage.Slack: // it was under way by then
			continue
		case out && gap < soonest-outage.Slack:
			a.wrong.Add("%s was sent a request %.2f s after %s in a row; it is to be left alone for %g s",
				e.Server.Host, gap.Seconds(), units.Plural(a.fails, "failure"), soonest.Seconds())
		case out && e.Turns && gap > latest+e.Pick()+outage.Slack:
			a.wrong.Add("%s was left alone for %.2f s after %s in a row; %g s is promised at most",
				e.Server.Host, gap.Seconds(), units.Plural(a.fails, "failure"), latest.Seconds())
		case !out && e.Turns && late:
			a.wrong.Add("%s was left alone for %.2f s at %.2f s, after %s in a row only",
				e.Server.Host, (c.At - before).Seconds(), before.Seconds(), units.Plural(row, "failure"))
		}
		if out {
			a.n, a.away, row = a.n+1, append(a.away, gap), 0
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

// absence is what the deaths of servers have shown of how long nginx leaves them alone.
type absence struct {
	fails, states int
	out           time.Duration

	n, told     int // deaths, and counts of states that were seen to be reached
	silent      int // deaths that show none
	mixed       int // of them: those whose attempts may be another pool's
	asked, most int // attempts on dead servers, and how many there may be
	odd         int // deaths with a number of attempts that no workers come to
	away        []time.Duration
	wrong       check.Examples
	soon        check.Examples // requests too soon; one may be of a client whose own server failed too
}

// finding is what all deaths together say.
func (a *absence) finding(h history.History) check.Finding {
	asked, most := units.Plural(a.asked, "attempt"), units.Plural(a.most, "attempt")
	died, states := units.Plural(a.n, "death"), units.Plural(a.states, "independent state")
	f := check.Finding{
		N: a.told, Need: check.Often, Broken: noDeaths(h, a.n),
		Test:     fmt.Sprintf("attempts on the dead server and how long it was left alone, %s", states),
		Measured: fmt.Sprintf("%s on dead servers in %s, back %s after the first", asked, died, spread(a.away)),
		Predicted: fmt.Sprintf("at most %s, back %g s to %g s after the first",
			most, a.out.Seconds(), a.out.Seconds()+1),
	}
	if a.most == 0 && a.n > 0 { // it was never dead
		f.Measured = fmt.Sprintf("out %s, back %s after the last failure", units.Plural(a.n, "time"), spread(a.away))
		f.Predicted = fmt.Sprintf("back %g s to %g s after it", a.out.Seconds(), a.out.Seconds()+1)
	}
	if a.silent > 0 {
		f.Note = fmt.Sprintf("at %s the dead server was asked too seldom, or too often at a time, for a count of %d "+
			"to be reached "+
			"for certain, by %s", units.Plural(a.silent, "death"), a.fails, units.Plural(a.states, "state"))
	}
	if a.n >= check.Often && a.told < check.Often && len(h.Plan.Checks) == 0 {
		f.Note += "; --checks passive has it die more often"
	}
	// One may be: a worker was asked the end of a row when the server died, and never again (s(1-s)^50 < 0.01).
	if a.odd > 1 {
		a.wrong.Add("at %s the dead server was asked a number of times that is no multiple of %d, "+
			"though every client asked often enough for that", units.Plural(a.odd, "death"), a.fails)
	}
	if a.asked > a.most {
		a.wrong.Add("%s on dead servers in %s, where %s are promised at most", asked, died, units.Number(a.most))
	}
	if a.soon.Total < 2 {
		a.soon = check.Examples{}
	}
	if a.wrong.Total+a.soon.Total > 0 {
		f.Broken = check.NodeDied(h)
	}
	if f.Broken == "" {
		f.Counter = append(a.wrong.List(), a.soon.List()...)
		f.Power = "would have caught, at every death, more attempts than that and an absence that is a second " +
			"longer, or shorter"
	}
	return f
}

// see judges one death by what nginx counts: a state makes so many attempts, then none for more than fail_timeout and
// at most a second longer, because it counts whole seconds, then one in each such period
// (ngx_http_upstream_round_robin.c). A client's connection stays with its worker, and so with one state. Where the
// server hangs, all that is sent until the first attempt has failed goes there too.
func (a *absence) see(e *outage.Episode, h history.History, pool string) {
	a.n++
	waits := e.Waits(h.Plan.Config, pool)
	a.most += a.states * (a.fails + int((e.Mark.Ended-e.Alive)/(a.out+waits)))
	if e.Hangs {
		a.seeHung(e, h, waits)
		return
	}
	a.backTooSoon(e)
	sure := len(e.Sure(h, pool))
	a.asked += sure
	seen := a.count(e, h, pool, sure)
	a.returned(e, 0)
	retried := e.Mark.Ended-e.Alive >= a.out // so that it is tried again while it is dead
	if !e.Rows(h, a.fails) || retried {
		a.tellCounts(e, seen, sure, retried)
		return
	}
	a.tellRows(e, seen, sure)
}

// all is how many attempts all states make until each has met its count.
func (a *absence) all() int { return a.states * a.fails }

// seeHung judges a death at which attempts fail only after a time.
func (a *absence) seeHung(e *outage.Episode, h history.History, waits time.Duration) {
	a.asked += len(e.Attempts)
	a.most += stats.PoissonMost(e.Rate*waits.Seconds(), h.Plan.Alpha)
	a.leftAlone(e, waits)
	a.returned(e, waits)
	a.tell(len(e.Attempts) >= a.all(), 1)
}

// backTooSoon judges when a server was asked again that one state counts for. Of several states one may have made more
// attempts than its count, at a time, and another none.
func (a *absence) backTooSoon(e *outage.Episode) {
	if a.states != 1 || len(e.Attempts) < a.fails || e.Back == 0 {
		return
	}
	if since := e.Back - e.Attempts[a.fails-1]; since < a.out-outage.Slack {
		a.wrong.Add("%s was sent a request %.2f s after its count of %d was reached; it is to be left alone for %g s",
			e.Server.Host, since.Seconds(), a.fails, a.out.Seconds())
	}
}

// counts are the attempts on a dead server by the connections that they were for.
type counts struct {
	failed  map[int][]time.Duration // when a connection's attempts failed, since the last one that did not
	met     map[int]bool            // connections with attempts that failed
	reached int                     // the most that failed in a row, on one connection
	taken   int                     // requests that the server had taken when it died, any number at a time
	owned   int                     // attempts that one connection alone can have made
}

// add enters a contact.
func (n *counts) add(c outage.Contact) {
	if !c.Failed {
		delete(n.failed, c.Conn)
		return
	}
	if c.Taken {
		n.taken++
	} else {
		n.owned++
	}
	n.failed[c.Conn] = append(n.failed[c.Conn], c.At)
	n.met[c.Conn] = true
	n.reached = max(n.reached, len(n.failed[c.Conn]))
}

// count judges each contact with a server by what its connection had met there before, and counts all.
func (a *absence) count(e *outage.Episode, h history.History, pool string, sure int) counts {
	p, _ := h.Plan.Config.Pool(pool)
	keyed := p.Balance.Key().IsAddress() // all requests of a connection have one server
	n := counts{failed: map[int][]time.Duration{}, met: map[int]bool{}}
	contacts := e.Contacts(h, pool)
	taken := slices.ContainsFunc(contacts, func(c outage.Contact) bool { return c.Taken })
	everyone := sure == a.all() && len(e.Attempts) == a.all() && !taken // has met its count
	for _, c := range contacts {
		a.onSameConnection(e, c, n.failed[c.Conn])
		if everyone && !c.Failed {
			a.afterEveryone(e, h, c)
		}
		if c.Spared && keyed {
			a.afterSparing(e, c)
		}
		n.add(c)
	}
	return n
}

// onSameConnection judges a contact by when attempts on the same connection had failed before.
func (a *absence) onSameConnection(e *outage.Episode, c outage.Contact, failed []time.Duration) {
	if len(failed) < a.fails {
		return
	}
	last := failed[len(failed)-1]
	if c.At-last < a.out-outage.Slack {
		a.wrong.Add("%s was sent a request %.2f s after its failure at %.2f s, on the same connection; it is to be "+
			"left alone for %g s",
			e.Server.Host, (c.At - last).Seconds(), last.Seconds(), a.out.Seconds())
	}
}

// afterEveryone judges a contact with a server that every worker has met its count of, unless it forgot that by a
// reload.
func (a *absence) afterEveryone(e *outage.Episode, h history.History, c outage.Contact) {
	reloaded := slices.ContainsFunc(h.Env.Marks, func(m history.Mark) bool {
		return m.Event.Fault == plan.FaultReload && m.Ordered > e.Alive && m.Ordered < c.At
	})
	if !reloaded && c.At < e.Attempts[a.fails-1]+a.out-outage.Slack {
		a.soon.Add("%s was sent a request by %.2f s, though every worker had met its count since it died at %.2f s; "+
			"it is to be left alone for %g s", e.Server.Host, c.At.Seconds(), e.Alive.Seconds(), a.out.Seconds())
	}
}

// afterSparing judges a contact on a connection whose requests had gone elsewhere since the server died.
func (a *absence) afterSparing(e *outage.Episode, c outage.Contact) {
	if e.Fresh && c.At < e.Alive+a.out-outage.Slack {
		a.soon.Add("%s was sent a request at %.2f s, of a connection whose requests had gone elsewhere since it "+
			"died at %.2f s; "+
			"it is to be left alone for %g s", e.Server.Host, c.At.Seconds(), e.Alive.Seconds(), a.out.Seconds())
	}
}

// tellCounts tells which states have reached their counts where no rows of requests show it.
func (a *absence) tellCounts(e *outage.Episode, n counts, sure int, retried bool) {
	within := retried || sure <= a.all()
	if a.fails == 1 && within && sure > 0 { // whoever's attempts they were
		a.tell(true, min(sure, a.states))
		return
	}
	oneAlone := len(e.Attempts) == n.owned && len(n.met) == 1 && n.reached >= a.fails
	everyone := len(e.Attempts)+n.taken >= a.all() && within
	a.tell(oneAlone || everyone, 1)
}

// tellRows tells which states have reached their counts where clients send rows, so that attempts are a multiple of the
// count.
func (a *absence) tellRows(e *outage.Episode, n counts, sure int) {
	attempts := len(e.Attempts)
	multiple := attempts%a.fails == 0
	if n.taken == 0 && attempts == n.owned && !multiple {
		a.odd++
	}
	states := 1 // at least
	if sure == attempts {
		states = attempts / a.fails
	}
	a.tell(attempts > 0 && n.taken == 0 && multiple, states)
}

// tell counts a death at which so many states must have reached their counts.
func (a *absence) tell(told bool, states int) {
	if !told {
		a.silent++
		return
	}
	a.told += states
}

// leftAlone judges the time after so many attempts on a server that hangs have failed, where one state counts for all.
func (a *absence) leftAlone(e *outage.Episode, waits time.Duration) {
	if a.states != 1 || len(e.Attempts) < a.fails {
		return
	}
	known := e.Attempts[a.fails-1] + waits
	for _, at := range e.Attempts {
		if at > known+outage.Slack && at < min(known+a.out, e.Mark.Ended)-outage.Slack {
			a.wrong.Add("%s was sent a request %.2f s after %s on it had failed; it is to be left alone for %g s",
				e.Server.Host, (at - known).Seconds(), units.Plural(a.fails, "attempt"), a.out.Seconds())
		}
	}
}

// returned judges when the server got its first request after it had come back. An attempt takes as long to fail as
// waits says.
func (a *absence) returned(e *outage.Episode, waits time.Duration) {
	lastAsked := e.Alive
	if n := len(e.Attempts); n > 0 {
		lastAsked = e.Attempts[n-1] + waits
	}
	if e.Early > 0 { // by a worker that is asked only while the start of the server keeps the others busy
		lastAsked = e.Early + waits
	}
	if e.Back > 0 && len(e.Attempts) > 0 && !e.Hangs {
		a.away = append(a.away, e.Back-e.Attempts[0])
	}
	latest := max(lastAsked+a.out+time.Second, e.Mark.To) + e.Pick()*time.Duration(a.states) + outage.Slack
	if until := cmp.Or(e.Back, e.Next); e.Turns && until > latest && e.Asked > latest {
		a.wrong.Add("%s was back at %.2f s and sent no request until %.2f s, %.2f s after its last failure; %g s is "+
			"promised at most",
			e.Server.Host, e.Mark.To.Seconds(), until.Seconds(), (until - lastAsked).Seconds(), a.out.Seconds()+1)
	}
}
