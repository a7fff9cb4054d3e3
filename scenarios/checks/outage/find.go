package outage

import (
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// TrafficEnd says when the last hit was done.
func TrafficEnd(h history.History) time.Duration {
	last := time.Duration(0)
	for _, p := range h.Env.Phases {
		last = max(last, p.End)
	}
	return last
}

// FindPartial are the times that servers of a pool were dead by the given faults, and asked by an open loop, while others
// were there.
func FindPartial(h history.History, pool model.Pool, kinds ...plan.Fault) []*Outage {
	together := []plan.PhaseKind{plan.KindBackups, plan.KindAllDown}
	return slices.DeleteFunc(FindAll(h, pool, kinds...), func(e *Outage) bool {
		phase := e.Fault.Event.Phase
		return phase < len(h.Plan.Phases) && slices.Contains(together, h.Plan.Phases[phase].Kind)
	})
}

// FindAll has those too in which all were dead at once on purpose.
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

// newOutage is what the plan says of a fault of a server, and of the requests that its pool gets meanwhile.
func newOutage(h history.History, pool model.Pool, server model.Server, m history.FaultWindow) *Outage {
	phase := m.Event.Phase
	turns := pool.Balance.IsRoundRobin() || isKeyless(h.Plan, pool, phase)
	if turns && pool.Sticky != nil { // by which clients with cookies go
		turns = !h.Plan.Phases[phase].Clients.Cookies
	}
	return &Outage{
		Server:         server,
		Fault:          m,
		Hangs:          slices.Contains(HangingFaults, m.Event.Fault),
		OnlyChecksFail: m.Event.Fault.Effect() == plan.EffectUnhealthy,
		Rate:           expectedRate(h, pool, server, phase),
		Share:          rotationShare(pool, server),
		burstGap:       burstGap(h.Plan, phase),
		RoundRobin:     turns,
		LeastConn:      pool.Balance.ComparesAllServers() && pool.Sticky == nil,
		PerWorker:      !pool.SharedState && h.Env.Workers != 1,
	}
}

// setEnds enters of episodes, in their order, when each is over, and whether states know of the one before.
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

// hasReloadBetween reports whether the balancer took its configuration over between two times.
func hasReloadBetween(h history.History, from, to time.Duration) bool {
	return slices.ContainsFunc(h.Env.Faults, func(m history.FaultWindow) bool {
		reloaded := m.Event.Fault == plan.FaultReload && m.Err == ""
		return reloaded && m.RequestedAt > from && m.EndsBy < to
	})
}

// maxTrafficGap is how long nobody asks a pool where what becomes of a server can no more be seen.
const maxTrafficGap = time.Second

// setTrafficUntil finds until when somebody asked the pool after each death.
func setTrafficUntil(h history.History, pool model.Pool, all []*Outage) {
	asked, find := make([]map[int]bool, len(all)), check.RouteFinder(h) // in which pieces of time since a death was over
	for i := range all {
		asked[i] = map[int]bool{}
	}
	for hit := range h.Hits {
		if j := find(hit.Seq); j == nil || j.Route.Pool != pool.Name && j.Route.Pool != "" {
			continue
		}
		for i, e := range all {
			if hit.Sent >= e.Fault.EndsAfter && hit.Sent < e.End {
				asked[i][int((hit.Sent-e.Fault.EndsAfter)/maxTrafficGap)] = true
			}
		}
	}
	for i, e := range all {
		n := 0
		for asked[i][n] {
			n++
		}
		e.TrafficUntil = e.Fault.EndsAfter + time.Duration(max(0, n-1))*maxTrafficGap // the last piece may have ended before
	}
}

// addObservations enters what the servers saw: who tried to connect, and when the last and the first requests came.
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
		dead, _ := slices.BinarySearch(e.Attempts, e.LastAlive+1)
		e.Attempts = e.Attempts[dead:]
	}
}

// addHangingReturns finds the first request that a server that had hung was sent after it was well: those that had waited reach
// it first.
func addHangingReturns(h history.History, all []*Outage) {
	for hit := range h.Hits {
		for _, e := range all {
			if e.Hangs && hit.Server == e.Server.Host {
				e.addReturn(hit.Sent)
			}
		}
	}
}
