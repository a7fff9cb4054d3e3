package outage

import (
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// Window is a time from when to when.
type Window struct{ From, To time.Duration }

// OverflowBackups are the backups that get what the others have no room for.
func OverflowBackups(pool model.Pool) []model.Server {
	full := func(s model.Server) bool { return s.MaxConns != nil && s.MaxConns.Value > 0 }
	if pool.WhenFull != model.SkipFullServers || !slices.ContainsFunc(check.Rotation(pool), full) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(pool.Servers), func(s model.Server) bool { return !s.Backup })
}

// How servers are made busy: one takes longer than the others, so that whoever minds how busy they are gives it less.
const (
	ReleaseDelay = 20 * time.Millisecond // an answer's end until the balancer counts it no more: the same turn of its loop
)

// ToleratedDelay is a delay, or half of what the routes to a pool wait for an answer, where that is less.
func ToleratedDelay(cfg model.Config, pool model.Pool, delay time.Duration) time.Duration {
	for _, r := range cfg.Routes {
		for _, t := range r.Timeouts {
			if r.Pool == pool.Name && t.Kind == model.ReadTimeout && t.Duration > 0 {
				delay = min(delay, t.Duration/2)
			}
		}
	}
	return delay
}

// SlowPeriod is a time in which every server of a pool's rotation is known to take as long at least for its answers.
type SlowPeriod struct {
	From, To  time.Duration
	Hosts     []string        // the rotation's, and backups after them
	MinDelays []time.Duration // by host
}

// SlowPeriods are the times at which all servers of a pool's rotation were slow, by the faults of a phase each, and
// which others were.
func SlowPeriods(h history.History, pool model.Pool) []SlowPeriod {
	var all []SlowPeriod
	active := check.Rotation(pool)
	if len(active) == 0 {
		return nil
	}
	for phase := range h.Plan.Phases {
		s := SlowPeriod{To: TrafficEnd(h)}
		for _, server := range append(active, OverflowBackups(pool)...) {
			if m, delay, ok := findSlowFault(h, phase, server.Host); ok {
				s.Hosts, s.MinDelays = append(s.Hosts, server.Host), append(s.MinDelays, delay)
				s.From, s.To = max(s.From, m.StartsBy), min(s.To, m.EndsAfter)
			}
		}
		quick := func(o model.Server) bool { return !slices.Contains(s.Hosts, o.Host) }
		if s.From < s.To && !slices.ContainsFunc(active, quick) {
			all = append(all, s)
		}
	}
	return all
}

// findSlowFault is the first fault of a phase that makes all answers of a server late, and by how much.
func findSlowFault(h history.History, phase int, host string) (mark history.FaultWindow, delay time.Duration, ok bool) {
	for _, m := range h.Env.Faults {
		if m.Event.Phase != phase || m.Event.Target != host || m.Err != "" {
			continue
		}
		delay, ok := m.Event.Settings.Delay()
		if ok && m.Event.Fault == plan.FaultSlow && m.Event.Settings.AffectsAll() {
			return m, delay, true
		}
	}
	return history.FaultWindow{}, 0, false
}

// NoServerUp says why no request can show anything of a pool whose servers are all out of rotation.
const NoServerUp = "no server of the pool is in rotation, so that no request can show it"

// IsAllDown says whether a pool has no server that could answer a request.
func IsAllDown(cfg model.Config, pool string) bool {
	p, ok := cfg.Pool(pool)
	return ok && !slices.ContainsFunc(p.Servers, func(s model.Server) bool { return !s.Down && !s.Drain })
}
