package failover

import (
	"fmt"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

var Backup = check.Check{
	Name:     plan.CheckBackup,
	Doc:      "A backup server gets requests only while all primary servers of its pool are down.",
	Law:      "no arrivals while a primary server is in rotation, and some while none is",
	Evidence: check.Evidence{Undisturbed: true},
	Claims: func(cfg model.Config) []plan.Claim {
		return check.EachPool(cfg, func(p model.Pool) []plan.Claim {
			var claims []plan.Claim
			for _, s := range p.Servers {
				if !s.Backup {
					continue
				}
				claims = append(claims, plan.Claim{
					ID:    check.ClaimID(plan.CheckBackup, p.Name, check.ServerName(s)),
					Check: plan.CheckBackup, Subject: p.Name, Detail: check.ServerName(s), Pos: s.Pos,
					Params: plan.Params{plan.ParamShare: 0},
					Text: fmt.Sprintf("%s gets all requests to %s while every primary server (%s) is down, and "+
						"none otherwise.",
						check.ServerName(s), p.Name, units.Join(check.ServerNames(check.Rotation(p)))),
				})
			}
			return claims
		})
	},
	Requirements: backupRequirements,
	Judge:        judgeBackup,
}

// backupRequirements requests an outage of all primary servers.
func backupRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	return allDownRequirements(cfg, claim.Subject, "a backup that gets requests too early, or none when it is needed")
}

// allDownRequirements requests an outage of all primary servers of a pool at once.
func allDownRequirements(cfg model.Config, name, detects string) []check.Requirement {
	pool, _ := cfg.Pool(name)
	r, ok := check.RequestToPool(cfg, name)
	if !ok {
		return nil
	}
	t := check.Requirement{
		Kind: plan.KindBackups, Detects: detects,
		Phase: plan.Phase{Rate: outageRate / 2, Concurrency: 512, Count: 1, Requests: []plan.Request{r}},
	}
	for _, s := range check.Rotation(pool) {
		t.AllDown = append(t.AllDown, s.Host)
	}
	return []check.Requirement{t}
}

func judgeBackup(claim plan.Claim, h history.History) check.Finding {
	pool, _ := h.Plan.Config.Pool(claim.Subject)
	i := slices.IndexFunc(pool.Servers, func(s model.Server) bool {
		return check.ClaimID(plan.CheckBackup, pool.Name, check.ServerName(s)) == claim.ID
	})
	if i < 0 {
		return check.Finding{Untestable: "server not found in the configuration"}
	}
	name := pool.Servers[i].Host
	knownDown := knownAllDown(h, pool)
	all, served, wrong := countBackupRequests(name, h, pool)
	f := check.Finding{
		N: all, Need: check.RequestsNeeded(h), Inconclusive: check.WhyLedgerIncomplete(h), Power: check.RequestPower(all, h),
		Test:      "number of requests that reached the backup while a primary server was up",
		Predicted: "0 while a primary server is up, some while none is",
		Measured: fmt.Sprintf("%s of %s while a primary server was up, %s while none was",
			units.Number(wrong.Total), units.Number(all), units.Number(served)),
	}
	switch {
	case f.Inconclusive != "":
	case wrong.Total > 0:
		f.CounterExamples = wrong.List()
	case served == 0 && len(knownDown) == 0:
		f.Inconclusive = "the primary servers were never all known to be down; --scenario backup takes them down"
	case served == 0:
		f.CounterExamples = []string{fmt.Sprintf(
			"%s got no requests from %.2f s to %.2f s while all primary servers were down",
			name, knownDown[0].From.Seconds(), knownDown[0].To.Seconds())}
	}
	return f
}

// countBackupRequests counts the requests to a pool while a primary server was up, collects those that reached the
// backup, and counts those that the backup served while none was up.
func countBackupRequests(backup string, h history.History, pool model.Pool) (all, served int, wrong check.Examples) {
	down, find := allDownWindows(h, pool), check.RouteFinder(h)
	for a := range h.Arrivals {
		j := find(a.Seq)
		if j == nil || j.Route.Pool != pool.Name {
			continue
		}
		allDown := slices.ContainsFunc(down, func(w outage.Window) bool { return w.From <= a.At && a.At <= w.To })
		switch {
		case allDown && a.Server == backup:
			served++
		case allDown: // the balancer may not know yet
		case mayBeFull(pool, h.Plan.Phases[j.Phase]): // the primary servers may have been full
		default:
			if all++; a.Server == backup {
				wrong.Add("request %d reached %s at %.2f s while a primary server was up",
					a.Seq, backup, a.At.Seconds())
			}
		}
	}
	return all, served, wrong
}

// knownAllDown returns the periods in which all servers in a pool's rotation were down, the balancer must have known
// it, and requests were sent to the pool.
func knownAllDown(h history.History, pool model.Pool) (sent []outage.Window) {
	common := []outage.Window{{From: 0, To: outage.TrafficEnd(h)}}
	for _, s := range check.Rotation(pool) {
		var next []outage.Window
		for _, e := range outage.FindAll(h, pool, append(slices.Clone(outage.RefusingFaults), outage.HangingFaults...)...) {
			from := e.Fault.StartsBy + outage.SettleTime
			if a := e.Server.HealthCheck; a != nil {
				_, refused, hangs := a.DetectionTime()
				from = e.Fault.StartsBy + max(outage.SettleTime, refused, hangs)
			}
			if e.Server.Host == s.Host {
				next = append(next, intersect(common, outage.Window{From: from, To: e.Fault.EndsAfter})...)
			}
		}
		common = next
	}
	find := check.RouteFinder(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.Route.Pool != pool.Name || hit.Err == history.Tester {
			continue
		}
		i := slices.IndexFunc(common, func(w outage.Window) bool { return w.From <= hit.Sent && hit.Done <= w.To })
		if i >= 0 && !slices.Contains(sent, common[i]) {
			sent = append(sent, common[i])
		}
	}
	return sent
}

// intersect returns the parts of windows that are inside another one.
func intersect(times []outage.Window, other outage.Window) (parts []outage.Window) {
	for _, w := range times {
		if w = (outage.Window{From: max(w.From, other.From), To: min(w.To, other.To)}); w.From < w.To {
			parts = append(parts, w)
		}
	}
	return parts
}

// mayBeFull reports whether a phase may have more requests in flight than a primary server accepts.
func mayBeFull(pool model.Pool, l plan.Phase) bool {
	return slices.ContainsFunc(check.Rotation(pool), func(s model.Server) bool {
		return s.MaxConns != nil && s.MaxConns.Value > 0 && int64(l.Concurrency) >= s.MaxConns.Value
	})
}

// allDownWindows returns the periods in which all servers in a pool's rotation were down, extended until the balancer
// may have noticed that one is back.
func allDownWindows(h history.History, pool model.Pool) []outage.Window {
	common := []outage.Window{{From: 0, To: outage.TrafficEnd(h)}}
	for _, s := range check.Rotation(pool) {
		var next []outage.Window
		for _, e := range outage.FindAll(h, pool, append(slices.Clone(outage.RefusingFaults), outage.HangingFaults...)...) {
			if e.Server.Host != s.Host {
				continue
			}
			until := e.End
			if e.ReturnedAt > 0 {
				until = e.ReturnedAt
			}
			next = append(next, intersect(common, outage.Window{From: e.Fault.RequestedAt, To: until})...)
		}
		common = next
	}
	return common
}

// severalDownWindows returns when two servers of a pool were down at once, so that a retry may hit the other one.
func severalDownWindows(h history.History, pool model.Pool) []outage.Window {
	var out []outage.Window
	all := outage.FindPartial(h, pool, append(slices.Clone(outage.RefusingFaults), outage.HangingFaults...)...)
	for i, a := range all {
		for _, b := range all[i+1:] {
			w := outage.Window{
				From: max(a.Fault.RequestedAt, b.Fault.RequestedAt),
				To:   min(a.Fault.EndsBy, b.Fault.EndsBy) + outage.SettleTime,
			}
			if a.Server.Host != b.Server.Host && w.From < w.To {
				out = append(out, w)
			}
		}
	}
	return out
}
