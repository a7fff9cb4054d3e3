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

// Episodes are the times that servers of a pool were dead by the given faults, and asked by an open loop, while others
// were there.
func Episodes(h history.History, pool model.Pool, kinds ...plan.Fault) []*Episode {
	together := []plan.Kind{plan.KindBackups, plan.KindNobodyLeft}
	return slices.DeleteFunc(EveryEpisode(h, pool, kinds...), func(e *Episode) bool {
		phase := e.Mark.Event.Phase
		return phase < len(h.Plan.Phases) && slices.Contains(together, h.Plan.Phases[phase].Kind)
	})
}

// EveryEpisode has those too in which all were dead at once on purpose.
func EveryEpisode(h history.History, pool model.Pool, kinds ...plan.Fault) []*Episode {
	var all []*Episode
	end := TrafficEnd(h)
	for _, m := range h.Env.Marks {
		i := slices.IndexFunc(pool.Servers, func(s model.Server) bool { return s.Host == m.Event.Target })
		if i < 0 || m.Err != "" || !slices.Contains(kinds, m.Event.Fault) {
			continue
		}
		e := planned(h, pool, pool.Servers[i], m)
		e.Alive, e.Next = m.Before, end
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b *Episode) int { return int(a.Mark.Ordered - b.Mark.Ordered) })
	arranged(h, all)
	hushed(h, pool, all)
	witnessed(h, all)
	return all
}

// planned is what the plan says of a fault of a server, and of the requests that its pool gets meanwhile.
func planned(h history.History, pool model.Pool, server model.Server, m history.Mark) *Episode {
	phase := m.Event.Phase
	turns := pool.Balance.TakesTurns() || keyless(h.Plan, pool, phase)
	if turns && pool.Sticky != nil { // by which clients with cookies go
		turns = !h.Plan.Phases[phase].Clients.Cookies
	}
	return &Episode{
		Server:  server,
		Mark:    m,
		Hangs:   slices.Contains(Hanging, m.Event.Fault),
		Lies:    m.Event.Fault.Effect() == plan.Lies,
		Rate:    meant(h, pool, server, phase),
		Share:   share(pool, server),
		rest:    rest(h.Plan, phase),
		Turns:   turns,
		Eager:   pool.Balance.IsGreedy() && pool.Sticky == nil,
		Several: !pool.SharedState && h.Env.Workers != 1,
	}
}

// arranged enters of episodes, in their order, when each is over, and whether states know of the one before.
func arranged(h history.History, all []*Episode) {
	for i, e := range all {
		for _, later := range all[i+1:] {
			if later.Server.Host == e.Server.Host {
				e.Next = later.Mark.Ordered
				break
			}
		}
		e.Fresh = i == 0 || reloadedBetween(h, all[i-1].Mark.To, e.Mark.Ordered)
	}
}

// reloadedBetween reports whether the balancer took its configuration over between two times.
func reloadedBetween(h history.History, from, to time.Duration) bool {
	return slices.ContainsFunc(h.Env.Marks, func(m history.Mark) bool {
		reloaded := m.Event.Fault == plan.FaultReload && m.Err == ""
		return reloaded && m.Ordered > from && m.To < to
	})
}

// hush is how long nobody asks a pool where what becomes of a server can no more be seen.
const hush = time.Second

// hushed finds until when somebody asked the pool after each death.
func hushed(h history.History, pool model.Pool, all []*Episode) {
	asked, find := make([]map[int]bool, len(all)), check.Journeys(h) // in which pieces of time since a death was over
	for i := range all {
		asked[i] = map[int]bool{}
	}
	for hit := range h.Hits {
		if j := find(hit.Seq); j == nil || j.Route.Pool != pool.Name && j.Route.Pool != "" {
			continue
		}
		for i, e := range all {
			if hit.Sent >= e.Mark.Ended && hit.Sent < e.Next {
				asked[i][int((hit.Sent-e.Mark.Ended)/hush)] = true
			}
		}
	}
	for i, e := range all {
		n := 0
		for asked[i][n] {
			n++
		}
		e.Asked = e.Mark.Ended + time.Duration(max(0, n-1))*hush // the last piece may have ended before
	}
}

// witnessed enters what the servers saw: who tried to connect, and when the last and the first requests came.
func witnessed(h history.History, all []*Episode) {
	for a := range h.Attempts {
		for _, e := range all {
			switch {
			case a.Node != e.Server.Host || a.From == h.Env.Client:
			case a.At >= e.Mark.Ordered && a.At < e.Mark.Ended:
				e.Attempts = append(e.Attempts, a.At)
			case a.At >= e.Mark.Ended && a.At < e.Mark.To:
				e.Early = max(e.Early, a.At)
			}
		}
	}
	for a := range h.Arrivals {
		for _, e := range all {
			if a.Server == e.Server.Host && a.Seq != 0 {
				e.arrived(a.At)
			}
		}
	}
	if slices.ContainsFunc(all, func(e *Episode) bool { return e.Hangs }) {
		returned(h, all)
	}
	for _, e := range all {
		slices.Sort(e.Attempts)
		dead, _ := slices.BinarySearch(e.Attempts, e.Alive+1)
		e.Attempts = e.Attempts[dead:]
	}
}

// returned finds the first request that a server that had hung was sent after it was well: those that had waited reach
// it first.
func returned(h history.History, all []*Episode) {
	for hit := range h.Hits {
		for _, e := range all {
			if e.Hangs && hit.Server == e.Server.Host {
				e.cameBack(hit.Sent)
			}
		}
	}
}
