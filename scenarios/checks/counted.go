package checks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
)

// What passive health makes of a server that answers, in part with errors.

// seeErrors judges a server of whose answers a part are errors, by what nginx must count, and what it may: failures add up until
// a good answer to a request that was sent more than fail_timeout after the last of them, in whole seconds; once there are
// max_fails the server is left alone, and after that time one more failure has it left alone again.
func (a *absence) seeErrors(e *episode, h history.History, counted bool) {
	certain, possible := 0, 0 // failures counted
	failed, before, out := time.Duration(0), time.Duration(0), false
	for _, c := range e.answers(h, counted) {
		gap := c.at - failed
		switch {
		case gap < slack: // it was under way by then
		case certain >= a.fails && gap < a.out-slack:
			a.wrong.add("%s was sent a request %.2f s after %s; it is to be left alone for %g s", e.server.Host, gap.Seconds(), plural(a.fails, "failed attempt"), a.out.Seconds())
		case e.turns && possible < a.fails && before > 0 && c.at-before > e.pick()+slack:
			a.wrong.add("%s was left alone for %.2f s at %.2f s, after %s only", e.server.Host, (c.at - before).Seconds(), before.Seconds(), plural(possible, "failed attempt"))
		case out && gap > a.out-slack:
			a.n, a.told, a.away, out = a.n+1, a.told+1, append(a.away, gap), false
			if e.turns && gap > a.out+time.Second+e.pick()+slack {
				a.wrong.add("%s was left alone for %.2f s after %s; %g s is promised at most", e.server.Host, gap.Seconds(), plural(a.fails, "failed attempt"), a.out.Seconds()+1)
			}
		}
		before = c.at
		switch {
		case c.failed:
			certain, possible, failed = certain+1, possible+1, c.at
			out = certain >= a.fails
		case gap > a.out+time.Second:
			certain, possible = 0, 0
		case gap > a.out || possible >= a.fails:
			certain = 0
		}
	}
}

// answers are the requests that reached the episode's server since it was ordered, and which of them failed there: those that
// came to its status, or were sent again elsewhere.
func (e *episode) answers(h history.History, counted bool) []contact {
	var all []contact
	at := map[uint64]int{}
	for a := range h.Arrivals {
		if a.Seq == 0 || a.At < e.mark.Ordered || a.At > e.mark.Ended {
			continue
		}
		if a.Server == e.server.Host {
			at[a.Seq] = len(all)
			all = append(all, contact{at: a.At})
		}
	}
	for hit := range h.Hits {
		if i, ok := at[hit.Seq]; ok && counted {
			all[i].failed = hit.Server != e.server.Host || fmt.Sprint(hit.Code) == e.mark.Event.With["status"]
		}
	}
	slices.SortFunc(all, func(a, b contact) int { return int(a.at - b.at) })
	return all
}

// judgeInRow judges a pool whose servers are taken out by failures in a row: by HAProxy until health checks find them well, by
// Traefik for its window.
func judgeInRow(h history.History, pool model.Pool, server model.Server) Finding {
	p, a := server.Passive, absence{fails: server.Passive.Fails}
	soonest, latest := p.Out, p.Out
	if p.Law == "haproxy" {
		if server.Active == nil || !strings.HasSuffix(p.On, "then mark-down") {
			return Finding{Broken: NoExperiment + " for what errors do to health checks"}
		}
		soonest, latest = server.Active.Up()
	}
	for _, e := range episodes(h, pool, "errors") {
		if q := e.server.Passive; q != nil && *q == (model.Passive{Pos: q.Pos, Implicit: q.Implicit, Fails: p.Fails, Within: p.Within, Out: p.Out, On: p.On, Law: p.Law}) {
			a.inRow(e, h, soonest, latest)
		}
	}
	f := Finding{
		N: a.n, Need: deaths(h.Plan.Beta), Test: "how long the server was left alone after so many failures in a row, and after fewer",
		Measured:  fmt.Sprintf("out %s, back %s after the last failure", plural(a.n, "time"), spread(a.away)),
		Predicted: fmt.Sprintf("back %g s to %g s after it", soonest.Seconds(), latest.Seconds()),
		Power:     fmt.Sprintf("would have caught an absence %.1f times as long with probability %g", swept(max(1, a.n), h.Plan.Beta), 1-h.Plan.Beta),
	}
	switch {
	case died(h) != "":
		f.Broken = died(h)
	case a.wrong.total > 0:
		f.Counter = a.wrong.list()
	case a.n == 0:
		f.Broken = "no server failed often enough in a row; --scenario brown-out has one do so"
	}
	return f
}

// inRow judges a server that is taken out by so many failures in a row, and comes back by the clock or by its health checks. Where
// health is checked a check that passes ends the row too, so that one that may have come between makes it no row for certain.
func (a *absence) inRow(e *episode, h history.History, soonest, latest time.Duration) {
	row, first, failed, before := 0, time.Duration(0), time.Duration(0), time.Duration(0)
	for _, c := range e.answers(h, true) {
		gap := c.at - failed
		out := row >= a.fails
		if out && e.server.Active != nil && e.attempted(first-slack, failed+slack) {
			out, before = false, 0
		}
		switch {
		case out && gap < slack: // it was under way by then
			continue
		case out && gap < soonest-slack:
			a.wrong.add("%s was sent a request %.2f s after %s in a row; it is to be left alone for %g s", e.server.Host, gap.Seconds(), plural(a.fails, "failure"), soonest.Seconds())
		case out && e.turns && gap > latest+e.pick()+slack:
			a.wrong.add("%s was left alone for %.2f s after %s in a row; %g s is promised at most", e.server.Host, gap.Seconds(), plural(a.fails, "failure"), latest.Seconds())
		case !out && e.turns && before > 0 && c.at-before > e.pick()+slack:
			a.wrong.add("%s was left alone for %.2f s at %.2f s, after %s in a row only", e.server.Host, (c.at - before).Seconds(), before.Seconds(), plural(row, "failure"))
		}
		if out {
			a.n, a.away, row = a.n+1, append(a.away, gap), 0
		}
		if row >= a.fails { // which a check may have ended
			row = 0
		}
		if before = c.at; !c.failed {
			row = 0
			continue
		}
		if row == 0 {
			first = c.at
		}
		row, failed = row+1, c.at
	}
}

// attempted says whether somebody tried to connect to the server within a time.
func (e *episode) attempted(from, to time.Duration) bool {
	return slices.ContainsFunc(e.attempts, func(at time.Duration) bool { return from <= at && at <= to })
}
