package outage

import (
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// TrafficEnd returns the end of the last phase.
func TrafficEnd(h history.History) time.Duration {
	last := time.Duration(0)
	for _, p := range h.Env.Phases {
		last = max(last, p.End)
	}
	return last
}

// FindPartial returns the outages of a pool's servers by the given faults while other servers were up.
func FindPartial(h history.History, pool model.Pool, kinds ...plan.Fault) []*Outage {
	allDownKinds := []plan.PhaseKind{plan.KindBackups, plan.KindAllDown}
	return slices.DeleteFunc(FindAll(h, pool, kinds...), func(e *Outage) bool {
		phase := e.Fault.Event.Phase
		return phase < len(h.Plan.Phases) && slices.Contains(allDownKinds, h.Plan.Phases[phase].Kind)
	})
}

// FindAll is FindPartial with the outages of all servers at once.
func FindAll(h history.History, pool model.Pool, kinds ...plan.Fault) []*Outage {
	var all []*Outage
	end := TrafficEnd(h)
	for _, m := range h.Env.Faults {
		i := slices.IndexFunc(pool.Servers, func(s model.Server) bool { return s.Host == m.Event.Target })
		if i < 0 || m.Err != "" || !slices.Contains(kinds, m.Event.Fault) {
			continue
		}
		e := newOutage(h, pool, pool.Servers[i], m)
		e.LastAlive, e.End = m.StartsAfter, end
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b *Outage) int { return int(a.Fault.RequestedAt - b.Fault.RequestedAt) })
	setEnds(h, all)
	setTrafficUntil(h, pool, all)
	addObservations(h, all)
	return all
}

// newOutage returns what the plan tells about a fault and the traffic to the pool meanwhile.
func newOutage(h history.History, pool model.Pool, server model.Server, m history.FaultWindow) *Outage {
	phase := m.Event.Phase
	rotates := pool.Balance.IsRoundRobin() || isKeyless(h.Plan, pool, phase)
	if rotates && pool.Sticky != nil { // clients with cookies stay with their servers
		rotates = !h.Plan.Phases[phase].Clients.Cookies
	}
	return &Outage{
		Server:         server,
		Fault:          m,
		Hangs:          slices.Contains(HangingFaults, m.Event.Fault),
		OnlyChecksFail: m.Event.Fault.Effect() == plan.EffectUnhealthy,
		Rate:           expectedRate(h, pool, server, phase),
		Share:          rotationShare(pool, server),
		burstGap:       burstGap(h.Plan, phase),
		RoundRobin:     rotates,
		LeastConn:      pool.Balance.ComparesAllServers() && pool.Sticky == nil,
		PerWorker:      !pool.SharedState && h.Env.Workers != 1,
	}
}

// setEnds sets End and CountsReset of outages in order.
func setEnds(h history.History, all []*Outage) {
	for i, e := range all {
		for _, later := range all[i+1:] {
			if later.Server.Host == e.Server.Host {
				e.End = later.Fault.RequestedAt
				break
			}
		}
		e.CountsReset = i == 0 || hasReloadBetween(h, all[i-1].Fault.EndsBy, e.Fault.RequestedAt)
	}
}

// hasReloadBetween reports whether the balancer reloaded between two times.
func hasReloadBetween(h history.History, from, to time.Duration) bool {
	return slices.ContainsFunc(h.Env.Faults, func(m history.FaultWindow) bool {
		reloaded := m.Event.Fault == plan.FaultReload && m.Err == ""
		return reloaded && m.RequestedAt > from && m.EndsBy < to
	})
}

// maxTrafficGap is the longest gap in the requests to a pool in which the state of a server is still observable.
const maxTrafficGap = time.Second

// setTrafficUntil sets TrafficUntil of all outages.
func setTrafficUntil(h history.History, pool model.Pool, all []*Outage) {
	traffic, find := make([]map[int]bool, len(all)), check.RouteFinder(h) // by outage: intervals after it with requests
	for i := range all {
		traffic[i] = map[int]bool{}
	}
	for hit := range h.Hits {
		if j := find(hit.Seq); j == nil || j.Route.Pool != pool.Name && j.Route.Pool != "" {
			continue
		}
		for i, e := range all {
			if hit.Sent >= e.Fault.EndsAfter && hit.Sent < e.End {
				traffic[i][int((hit.Sent-e.Fault.EndsAfter)/maxTrafficGap)] = true
			}
		}
	}
	for i, e := range all {
		n := 0
		for traffic[i][n] {
			n++
		}
		e.TrafficUntil = e.Fault.EndsAfter + time.Duration(max(0, n-1))*maxTrafficGap // the last interval may be incomplete
	}
}

// addObservations records the connection attempts, and the last and first requests that reached the servers.
func addObservations(h history.History, all []*Outage) {
	for a := range h.Attempts {
		for _, e := range all {
			switch {
			case a.Node != e.Server.Host || a.SourceAddr == h.Env.ClientAddr:
			case a.At >= e.Fault.RequestedAt && a.At < e.Fault.EndsAfter:
				e.Attempts = append(e.Attempts, a.At)
			case a.At >= e.Fault.EndsAfter && a.At < e.Fault.EndsBy:
				e.LastEarlyAttempt = max(e.LastEarlyAttempt, a.At)
			}
		}
	}
	for a := range h.Arrivals {
		for _, e := range all {
			if a.Server == e.Server.Host && a.Seq != 0 {
				e.addArrival(a.At)
			}
		}
	}
	if slices.ContainsFunc(all, func(e *Outage) bool { return e.Hangs }) {
		addHangingReturns(h, all)
	}
	for _, e := range all {
		slices.Sort(e.Attempts)
		first, _ := slices.BinarySearch(e.Attempts, e.LastAlive+1)
		e.Attempts = e.Attempts[first:]
	}
}

// addHangingReturns finds the first request sent after a server stopped hanging: requests that have waited reach it
// before.
func addHangingReturns(h history.History, all []*Outage) {
	for hit := range h.Hits {
		for _, e := range all {
			if e.Hangs && hit.Server == e.Server.Host {
				e.addReturn(hit.Sent)
			}
		}
	}
}
