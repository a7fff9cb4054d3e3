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
	Doc:  "A server never has more requests in flight than its limit (max_conns, maxconn).",
	Law: "requests in flight at slowed backends, per instance; 503 before the queue timeout refutes, and so do " +
		"requests that nginx does not send to a server with room",
	Claims: func(cfg model.Config) []plan.Claim {
		return check.EachPool(cfg, func(p model.Pool) []plan.Claim {
			var claims []plan.Claim
			for _, s := range p.Servers {
				if hasLimit(s) {
					claims = append(claims, connsClaim(p, s))
				}
			}
			return claims
		})
	},
	Requirements: connsRequirements,
	Judge:        judgeConns,
}

// hasLimit reports whether a server's requests in flight are limited.
func hasLimit(s model.Server) bool { return s.MaxConns != nil && s.MaxConns.Value > 0 }

func connsClaim(p model.Pool, s model.Server) plan.Claim {
	name := check.ServerName(s)
	c := plan.Claim{
		ID:    check.ClaimID(plan.CheckConns, p.Name, name),
		Check: plan.CheckConns, Subject: p.Name, Detail: name, Pos: s.MaxConns.Pos,
		Params: plan.Params{plan.ParamMaxConcurrent: plan.Amount(s.MaxConns.Value)},
		Text: fmt.Sprintf("%s has at most %d requests to %s in flight; more %s.", name, s.MaxConns.Value, p.Name,
			describeOverflow(p)),
	}
	if !p.SharedState {
		const assumed = "each worker counts independently (no zone): the total may reach the limit times the workers"
		c.Assumptions = []string{assumed}
	}
	return c
}

// connsRequirements send a slowed pool more concurrent requests than the limits of its servers allow. One requirement
// serves all limits of the pool.
func connsRequirements(cfg model.Config, claim plan.Claim, params check.DesignParams) []check.Requirement {
	pool, _ := cfg.Pool(claim.Subject)
	r, ok := check.RequestToPool(cfg, pool.Name)
	first := slices.IndexFunc(pool.Servers, hasLimit)
	if !ok || check.ClaimID(plan.CheckConns, pool.Name, check.ServerName(pool.Servers[first])) != claim.ID {
		return nil
	}
	most := 0
	t := check.Requirement{
		Kind: plan.KindSaturation, About: pool.Name,
		Detects: fmt.Sprintf("one request in flight above the limit of a server of %s", pool.Name),
	}
	limited := slices.DeleteFunc(outage.OverflowBackups(pool), func(s model.Server) bool { return !hasLimit(s) })
	for _, s := range append(check.Rotation(pool), limited...) {
		if !hasLimit(s) || s.MaxConns.Value > maxTestedLimit {
			return nil // it has no limit, or one too large to test
		}
		most += int(s.MaxConns.Value) * check.CountInstances(cfg, pool, params.CPUs)
		t.SlowServers = append(t.SlowServers,
			check.SlowServer{Host: s.Host, Delay: outage.ToleratedDelay(cfg, pool, serviceTime)})
	}
	// Refused clients retry over another connection, to a worker that may have room: with multi_accept one worker takes
	// most simultaneous connections.
	t.Phase = plan.Phase{
		Count: 4 * most, Concurrency: 2 * most, Requests: []plan.Request{r},
		NewConnections: !pool.SharedState,
	}
	return []check.Requirement{t}
}

// maxTestedLimit is the largest concurrency limit that is tested.
const maxTestedLimit = 500

func judgeConns(claim plan.Claim, h history.History) check.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	i := slices.IndexFunc(pool.Servers, func(s model.Server) bool {
		return check.ClaimID(plan.CheckConns, pool.Name, check.ServerName(s)) == claim.ID
	})
	if !ok || i < 0 {
		return check.Finding{Untestable: "the configuration has no such server"}
	}
	server, instances := pool.Servers[i], max(1, h.Env.Workers)
	if pool.SharedState {
		instances = 1
	}
	limit := int(server.MaxConns.Value) * instances
	most, slowed := maxInFlight(h, pool, server.Host)
	f := check.Finding{
		N: most, Need: minToReach(limit), Test: fmt.Sprintf("most requests in flight, %s",
			units.Plural(instances, "independent instance")),
		Measured: units.Number(most) + " in flight", Predicted: fmt.Sprintf("at most %s", units.Number(limit)),
		Power: "would have caught one more in flight",
	}
	impatient, denied := findRefusedEarly(h, pool), findRefusedWithRoom(h, pool, server)
	switch {
	case check.WhyNodeExited(h) != "" || h.Env.Workers == 0:
		f.Inconclusive = cmp.Or(check.WhyNodeExited(h), "the number of workers is unknown, and each counts independently")
	case most > limit:
		f.CounterExamples = []string{fmt.Sprintf("%s had %s in flight; the limit is %s",
			server.Host, units.Plural(most, "request"), units.Number(limit))}
	case impatient.Total > 0:
		f.CounterExamples = impatient.List()
	case denied.Total >= check.Repetitions:
		f.CounterExamples = denied.List()
	case !slowed:
		f.Inconclusive = "the server's response time is unknown; --scenario queue sets it"
	case most < minToReach(limit):
		f.Inconclusive = fmt.Sprintf("at most %s in flight, too few to reach the limit of %s",
			units.Plural(most, "request"), units.Number(limit))
	}
	return f
}

// findRefusedEarly returns the requests that got no server although they had not yet queued for the full timeout.
func findRefusedEarly(h history.History, pool model.Pool) (wrong check.Examples) {
	if pool.Queue == nil {
		return wrong
	}
	find := check.RouteFinder(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		refused := hit.Code == 503 && hit.Server == ""
		if j == nil || j.Route.Pool != pool.Name || !refused {
			continue
		}
		if check.MaybeLimited(j.Route, hit) || mayBeDown(h, hit) {
			continue
		}
		if waited := hit.Done - hit.Sent; waited < pool.Queue.Duration-outage.Tolerance {
			wrong.Add("request %d got 503 after %.2f s in the queue; the timeout is %g s",
				hit.Seq, waited.Seconds(), pool.Queue.Duration.Seconds())
		}
	}
	return wrong
}

// findRefusedWithRoom returns the requests that went to a backup or to no server while a server had fewer in flight,
// counted from sending to response, than even one worker may give it. They are conclusive only if the balancer had just
// restarted its failure counts and had no failure to count.
func findRefusedWithRoom(h history.History, pool model.Pool, server model.Server) (wrong check.Examples) {
	if pool.WhenFull != model.SkipFullServers || server.Backup {
		return wrong
	}
	reload, slow, ok := findReloadAndSlow(h, server)
	if !ok {
		return wrong
	}
	given, denied := collectForwarded(h, pool, server, reload, slow)
	for _, hit := range denied {
		inFlight := 0
		for _, other := range given {
			if other.Sent <= hit.Done && other.Done >= hit.Sent {
				inFlight++
			}
		}
		if inFlight < minToReach(int(server.MaxConns.Value)) {
			wrong.Add("request %d was not sent to %s, which had at most %s in flight; the limit is %d",
				hit.Seq, server.Host, units.Number(inFlight), server.MaxConns.Value)
		}
	}
	return wrong
}

// findReloadAndSlow returns the last window in which a server was slow, and the last reload before it.
func findReloadAndSlow(h history.History, server model.Server) (reload, slow history.FaultWindow, ok bool) {
	for _, m := range slowWindows(h, server.Host) {
		slow = m
	}
	for _, m := range h.Env.Faults {
		if m.Event.Fault == plan.FaultReload && m.Err == "" && m.EndsBy < slow.RequestedAt {
			reload = m
		}
	}
	return reload, slow, reload.EndsBy != 0
}

// collectForwarded returns the requests between two fault windows that a server received, and those that went to a
// backup or to no server because it was full. Both are empty if the balancer may have counted a failure.
func collectForwarded(
	h history.History, pool model.Pool, server model.Server, reload, slow history.FaultWindow,
) (given, denied []history.Hit) {
	find, at := check.RouteFinder(h), map[uint64]string{}
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
		outside := hit.Done < reload.RequestedAt || hit.Sent > slow.EndsAfter
		if j == nil || j.Route.Pool != pool.Name || outside {
			continue
		}
		host, arrived := at[hit.Seq]
		overflowed, unserved := arrived && isBackup(host), !arrived && hit.Code == 502
		turned := overflowed || unserved
		atOnce := hit.Done-hit.Sent < time.Second && hit.Sent > slow.StartsBy
		// A request without a response was not forwarded, and may have been counted as a failure.
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

// mayBeDown reports whether servers may have been down, and not only full, during a hit.
func mayBeDown(h history.History, hit history.Hit) bool {
	return slices.ContainsFunc(h.Env.Faults, func(m history.FaultWindow) bool {
		return m.Event.Fault != plan.FaultSlow && hit.Done >= m.RequestedAt && hit.Sent <= m.EndsBy+check.HealTime
	})
}

// minToReach returns the requests in flight that show that a limit was reached and respected.
func minToReach(limit int) int { return limit - limit/10 }

// maxInFlight returns the largest number of a pool's requests that were certainly at the server together: each for the
// minimum delay of the fault slow, and no longer than its client waited. slowed reports whether there was such a fault.
func maxInFlight(h history.History, pool model.Pool, server string) (most int, slowed bool) {
	slow := slowWindows(h, server)
	if len(slow) == 0 {
		return 0, false
	}
	find, began := check.RouteFinder(h), map[uint64]time.Duration{}
	for a := range h.Arrivals {
		if j := find(a.Seq); a.Server == server && j != nil && j.Route.Pool == pool.Name {
			began[a.Seq] = a.At
		}
	}
	var edges []edge
	for hit := range h.Hits {
		at, mine := began[hit.Seq]
		k := slices.IndexFunc(slow, func(m history.FaultWindow) bool { return at > m.StartsBy && at < m.EndsAfter })
		if !mine || k < 0 || hit.Done <= at {
			continue
		}
		least, _ := slow[k].Event.Settings.Delay()
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

// slowWindows returns the times in which a server delayed every response.
func slowWindows(h history.History, server string) (slow []history.FaultWindow) {
	for _, m := range h.Env.Faults {
		slows := m.Event.Fault == plan.FaultSlow && m.Event.Target == server
		if slows && m.Err == "" && m.Event.Settings.AffectsAll() {
			slow = append(slow, m)
		}
	}
	return slow
}

// edge is the start or the end of a request.
type edge struct {
	at   time.Duration
	step int
}

// describeOverflow describes what happens to requests when all servers are full.
func describeOverflow(p model.Pool) string {
	switch {
	case p.WhenFull == model.SkipFullServers:
		return "go to other servers, or get 502 if all are full"
	case p.Queue != nil:
		return fmt.Sprintf("wait up to %s, then get 503", units.Duration(p.Queue.Duration))
	}
	return "wait in a queue for up to timeout connect"
}
