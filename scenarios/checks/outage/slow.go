package outage

import (
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// Window is a period of a run.
type Window struct{ From, To time.Duration }

// OverflowBackups returns the backups that get requests when the other servers are full.
func OverflowBackups(pool model.Pool) []model.Server {
	full := func(s model.Server) bool { return s.MaxConns != nil && s.MaxConns.Value > 0 }
	if pool.WhenFull != model.SkipFullServers || !slices.ContainsFunc(check.Rotation(pool), full) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(pool.Servers), func(s model.Server) bool { return !s.Backup })
}

// ReleaseDelay is how long after the end of a response the balancer may still count the request as in flight.
const ReleaseDelay = 20 * time.Millisecond

// ToleratedDelay limits a delay to half of the shortest response timeout of the routes to a pool.
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

// SlowPeriod is a period in which every server in a pool's rotation delays its responses.
type SlowPeriod struct {
	From, To  time.Duration
	Hosts     []string        // in rotation, followed by backups
	MinDelays []time.Duration // minimum delay by host
}

// SlowPeriods returns the periods in which all servers in a pool's rotation were slow, at most one per phase.
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
		isFast := func(o model.Server) bool { return !slices.Contains(s.Hosts, o.Host) }
		if s.From < s.To && !slices.ContainsFunc(active, isFast) {
			all = append(all, s)
		}
	}
	return all
}

// findSlowFault returns the first fault of a phase that delays all responses of a server, and the delay.
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

// NoServerUp is the reason for a claim about a pool without servers in rotation.
const NoServerUp = "no server of the pool is in rotation"

// IsAllDown reports whether all servers of a pool are marked down or drained.
func IsAllDown(cfg model.Config, pool string) bool {
	p, ok := cfg.Pool(pool)
	return ok && !slices.ContainsFunc(p.Servers, func(s model.Server) bool { return !s.Down && !s.Drain })
}
