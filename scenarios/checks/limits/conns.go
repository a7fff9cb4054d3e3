package limits

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

var Conns = check.Check{
	Name: plan.CheckConns,
	Doc:  "A server is given no more requests at a time than its limit (max_conns, maxconn).",
	Law: "the most in flight at the backend never exceeds it, once per independent state: counted while the " +
		"service is known to take as long at least for every answer; 503 sooner than the line's timeout refutes, " +
		"as do requests that nginx does not give to a server with room",
	Claims: func(cfg model.Config) []plan.Claim {
		return check.EachPool(cfg, func(p model.Pool) []plan.Claim {
			var claims []plan.Claim
			for _, s := range p.Servers {
				if isLimited(s) {
					claims = append(claims, connsClaim(p, s))
				}
			}
			return claims
		})
	},
	Trials: connsTrials,
	Judge:  judgeConns,
}

// isLimited reports whether a server is given only so many requests at a time.
func isLimited(s model.Server) bool { return s.Conns != nil && s.Conns.Value > 0 }

func connsClaim(p model.Pool, s model.Server) plan.Claim {
	name := check.ServerName(s)
	c := plan.Claim{
		ID: check.ClaimID(plan.CheckConns, p.Name, name), Check: plan.CheckConns, Subject: p.Name, Pos: s.Conns.Pos,
		Params: plan.Params{plan.ParamMost: plan.Amount(s.Conns.Value)},
		Text:   fmt.Sprintf("%s has at most %d requests of %s in flight; more %s.", name, s.Conns.Value, p.Name, beyond(p)),
	}
	if !p.SharedState {
		c.Assumes = []string{"each worker counts for itself, so that all together may reach the limit times the workers (no zone)"}
	}
	return c
}

// connsTrials ask a pool for more at a time than all its servers may be given, while they take their time. One does
// for all.
func connsTrials(cfg model.Config, claim plan.Claim, terms check.Terms) []check.Trial {
	pool, _ := cfg.Pool(claim.Subject)
	r, ok := check.RequestToPool(cfg, pool.Name)
	first := slices.IndexFunc(pool.Servers, isLimited)
	if !ok || check.ClaimID(plan.CheckConns, pool.Name, check.ServerName(pool.Servers[first])) != claim.ID {
		return nil
	}
	most := 0
	t := check.Trial{
		Kind: plan.KindCrowd, About: pool.Name,
		Shows: fmt.Sprintf("one request more than its limit at a time given to a server of %s", pool.Name),
	}
	limited := slices.DeleteFunc(outage.Overflow(pool), func(s model.Server) bool { return !isLimited(s) })
	for _, s := range append(check.Rotation(pool), limited...) {
		if !isLimited(s) || s.Conns.Value > mostCrowd {
			return nil // it takes all, or more than a trial can ask of it
		}
		most += int(s.Conns.Value) * check.StatesOf(cfg, pool, terms.CPUs)
		t.Slow = append(t.Slow, check.Slowed{Host: s.Host, Delay: outage.BearableDelay(cfg, pool, dwell)})
	}
	// Who is denied comes back over another connection, to a worker that may have room: with multi_accept one takes
	// most of what comes at once.
	t.Load = plan.Phase{Count: 4 * most, Concurrency: 2 * most, Requests: []plan.Request{r}, Fresh: !pool.SharedState}
	return []check.Trial{t}
}

// mostCrowd is the largest limit at a time that a trial goes beyond.
const mostCrowd = 500

func judgeConns(claim plan.Claim, h history.History) check.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	i := slices.IndexFunc(pool.Servers, func(s model.Server) bool {
		return check.ClaimID(plan.CheckConns, pool.Name, check.ServerName(s)) == claim.ID
	})
	if !ok || i < 0 {
		return check.Finding{Cannot: "the configuration has no such server"}
	}
	server, states := pool.Servers[i], max(1, h.Env.Workers)
	if pool.SharedState {
		states = 1
	}
	limit := int(server.Conns.Value) * states
	most, slowed := atATime(h, pool, server.Host)
	f := check.Finding{
		N: most, Need: reached(limit), Test: fmt.Sprintf("the most requests at a time, %s", units.Plural(states, "independent state")),
		Measured: units.Number(most) + " at a time", Predicted: fmt.Sprintf("at most %s", units.Number(limit)),
		Power: "would have caught one more at a time",
	}
	impatient, denied := turnedAway(h, pool), deniedWithRoom(h, pool, server)
	switch {
	case check.NodeDied(h) != "" || h.Env.Workers == 0:
		f.Broken = cmp.Or(check.NodeDied(h), "it is not known how many workers ran, each with a count of its own")
	case most > limit:
		f.Counter = []string{fmt.Sprintf("%s had %s in flight, where %s are promised at most",
			server.Host, units.Plural(most, "request"), units.Number(limit))}
	case impatient.Total > 0:
		f.Counter = impatient.List()
	case denied.Total >= check.Often:
		f.Counter = denied.List()
	case !slowed:
		f.Broken = "it is not known how long the server took for its answers; --scenario queue makes it known"
	case most < reached(limit):
		f.Broken = fmt.Sprintf("at most %s at a time were asked of it, too few to meet its limit of %s",
			units.Plural(most, "request"), units.Number(limit))
	}
	return f
}

// turnedAway are the requests that got no server though they had not waited in line for as long as they may.
func turnedAway(h history.History, pool model.Pool) (wrong check.Examples) {
	if pool.Queue == nil {
		return wrong
	}
	find := check.Journeys(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		refused := hit.Code == 503 && hit.Server == ""
		if j == nil || j.Route.Pool != pool.Name || !refused {
			continue
		}
		if check.MaybeLimited(j.Route, hit) || missing(h, hit) {
			continue
		}
		if waited := hit.Done - hit.Sent; waited < pool.Queue.After-outage.Slack {
			wrong.Add("request %d got 503 after %.2f s in line; it may wait for %g s",
				hit.Seq, waited.Seconds(), pool.Queue.After.Seconds())
		}
	}
	return wrong
}

// deniedWithRoom are the requests that a backup or nobody got while a server had fewer in flight, counted from when
// they were sent to when they were answered, than even one worker may give it. They tell where the balancer has just
// begun to count failures, and had none to count.
func deniedWithRoom(h history.History, pool model.Pool, server model.Server) (wrong check.Examples) {
	if pool.Full != model.FullIsPassedOver || server.Backup {
		return wrong
	}
	fresh, slow, ok := freshAndSlow(h, server)
	if !ok {
		return wrong
	}
	given, denied := givenAndDenied(h, pool, server, fresh, slow)
	for _, hit := range denied {
		inFlight := 0
		for _, other := range given {
			if other.Sent <= hit.Done && other.Done >= hit.Sent {
				inFlight++
			}
		}
		if inFlight < reached(int(server.Conns.Value)) {
			wrong.Add("request %d was not given to %s, which had %s in flight at most, where %d are promised",
				hit.Seq, server.Host, units.Number(inFlight), server.Conns.Value)
		}
	}
	return wrong
}

// freshAndSlow are the last time in which a server was slow, and the last reload before it.
func freshAndSlow(h history.History, server model.Server) (fresh, slow history.Mark, ok bool) {
	for _, m := range slowMarks(h, server.Host) {
		slow = m
	}
	for _, m := range h.Env.Marks {
		if m.Event.Fault == plan.FaultReload && m.Err == "" && m.To < slow.Ordered {
			fresh = m
		}
	}
	return fresh, slow, fresh.To != 0
}

// givenAndDenied are the requests between two marks that a server got, and those that a backup or nobody got for want
// of room. There are none where the balancer may have counted a failure.
func givenAndDenied(
	h history.History, pool model.Pool, server model.Server, fresh, slow history.Mark,
) (given, denied []history.Hit) {
	find, at := check.Journeys(h), map[uint64]string{}
	for a := range h.Arrivals {
		if j := find(a.Seq); j != nil && j.Route.Pool == pool.Name {
			at[a.Seq] = a.Server
		}
	}
	isBackup := func(host string) bool {
		return slices.ContainsFunc(pool.Servers, func(s model.Server) bool { return s.Host == host && s.Backup })
	}
	for hit := range h.Hits {
		j := find(hit.Seq)
		outside := hit.Done < fresh.Ordered || hit.Sent > slow.Ended
		if j == nil || j.Route.Pool != pool.Name || outside {
			continue
		}
		host, arrived := at[hit.Seq]
		overflowed, unserved := arrived && isBackup(host), !arrived && hit.Code == 502
		turned := overflowed || unserved
		atOnce := hit.Done-hit.Sent < time.Second && hit.Sent > slow.From
		// What was not answered was not sent on, and may have been counted as a failure.
		failed := hit.Err == history.Timeout || hit.Code >= 500
		switch {
		case turned && atOnce:
			denied = append(denied, hit)
		case turned || failed:
			return nil, nil
		case host == server.Host:
			given = append(given, hit)
		}
	}
	return given, denied
}

// missing reports whether servers may have been missing, and not only taken, while a hit was under way.
func missing(h history.History, hit history.Hit) bool {
	return slices.ContainsFunc(h.Env.Marks, func(m history.Mark) bool {
		return m.Event.Fault != plan.FaultSlow && hit.Done >= m.Ordered && hit.Sent <= m.To+check.HealTime
	})
}

// reached is how many requests at a time show that a limit was met, and held.
func reached(limit int) int { return limit - limit/10 }

// atATime counts the most requests of a pool that a server had at a time for certain: each for as long as the fault
// slow makes its answers take at least, and no longer than its client waited. slowed reports whether there was such a
// fault.
func atATime(h history.History, pool model.Pool, server string) (most int, slowed bool) {
	slow := slowMarks(h, server)
	if len(slow) == 0 {
		return 0, false
	}
	find, began := check.Journeys(h), map[uint64]time.Duration{}
	for a := range h.Arrivals {
		if j := find(a.Seq); a.Server == server && j != nil && j.Route.Pool == pool.Name {
			began[a.Seq] = a.At
		}
	}
	var edges []edge
	for hit := range h.Hits {
		at, mine := began[hit.Seq]
		k := slices.IndexFunc(slow, func(m history.Mark) bool { return at > m.From && at < m.Ended })
		if !mine || k < 0 || hit.Done <= at {
			continue
		}
		least, _ := slow[k].Event.With.Delay()
		edges = append(edges, edge{at, 1}, edge{min(at+least, hit.Done), -1})
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), a.step-b.step) })
	now := 0
	for _, e := range edges {
		now += e.step
		most = max(most, now)
	}
	return most, true
}

// slowMarks are the times in which a server took longer for every answer.
func slowMarks(h history.History, server string) (slow []history.Mark) {
	for _, m := range h.Env.Marks {
		slows := m.Event.Fault == plan.FaultSlow && m.Event.Target == server
		if slows && m.Err == "" && m.Event.With.Whole() {
			slow = append(slow, m)
		}
	}
	return slow
}

// edge is where a request begins or ends.
type edge struct {
	at   time.Duration
	step int
}

// beyond says what becomes of requests that no server may take.
func beyond(p model.Pool) string {
	switch {
	case p.Full == model.FullIsPassedOver:
		return "go to other servers, and get 502 where all are full"
	case p.Queue != nil:
		return fmt.Sprintf("wait up to %s, then get 503", units.Span(p.Queue.After))
	}
	return "wait in a queue, as long as timeout connect allows"
}
