package failover

import (
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

// judgeConsecutive judges a pool whose servers are ejected after failures in a row: by HAProxy until health checks
// pass, by Traefik for its window.
func judgeConsecutive(h history.History, pool model.Pool, server model.Server) check.Finding {
	p, a := server.Ejection, ejections{fails: server.Ejection.MaxFails}
	soonest, latest := p.Duration, p.Duration
	if p.EndedBy == model.EndedByHealthChecks {
		if server.HealthCheck == nil || p.Action != model.ActionEject {
			return check.Finding{Inconclusive: check.NoExperiment + ": effect of errors on health checks"}
		}
		soonest, latest = server.HealthCheck.RecoveryTime()
	}
	for _, e := range outage.FindPartial(h, pool, plan.FaultErrors) {
		if q := e.Server.Ejection; q != nil && q.Equivalent(*p) {
			a.addConsecutive(e, h, soonest, latest)
		}
	}
	f := check.Finding{
		N: a.outages, Need: outagesNeeded(h.Plan.Beta),
		Test: "ejection times after the configured failures in a row, and after fewer",
		Measured: fmt.Sprintf("ejected %s, back %s after the last failure",
			units.Plural(a.outages, "time"), formatRange(a.returnTimes)),
		Predicted: fmt.Sprintf("back %s after the last failure", units.DurationRange(soonest, latest)),
		Power: fmt.Sprintf("detects ejections %.1f times as long (power %g)",
			detectableWidth(max(1, a.outages), h.Plan.Beta), 1-h.Plan.Beta),
	}
	switch {
	case check.WhyNodeExited(h) != "":
		f.Inconclusive = check.WhyNodeExited(h)
	case a.wrong.Total > 0:
		f.CounterExamples = a.wrong.List()
	case a.outages == 0:
		f.Inconclusive = "no server had enough failures in a row; --scenario brown-out causes them"
	}
	return f
}

// subjectOf names servers of a pool as the singular subject of a sentence.
func subjectOf(p model.Pool, servers []model.Server) string {
	switch {
	case len(servers) == 1:
		return check.ServerName(servers[0])
	case len(servers) == len(p.Servers):
		return "Each server of " + p.Name
	}
	return "Each of " + units.Join(check.ServerNames(servers))
}

var Passive = check.Check{
	Name: plan.CheckPassive,
	Doc:  "Failed requests eject a server from rotation; it is retried after a configured time.",
	Law: "HAProxy and Traefik: ejected after the configured failures in a row and not before, back after its health " +
		"checks or its window; nginx: ejected at the latest when every worker has had max_fails failures, for more " +
		"than fail_timeout and at most 1 s longer, because nginx counts whole seconds; meanwhile one attempt per " +
		"instance and period; if clients send bursts, the attempts in an outage are a multiple of max_fails",
	// Authentication subrequests count as well: they show which servers are up. The purpose of an attempt is unknown,
	// which does not matter if every failed attempt ejects its server.
	Evidence: check.Evidence{
		Subrequests: check.Always,
		FailedAttempts: func(cfg model.Config, claim plan.Claim, noted bool) bool {
			return !noted || claim.Params[plan.ParamFails] != 1 || !check.IsOwnAuthService(cfg, claim.Subject)
		},
	},
	Claims: func(cfg model.Config) []plan.Claim {
		return check.EachPool(cfg, func(p model.Pool) []plan.Claim { return passiveClaims(cfg, p) })
	},
	Requirements: passiveRequirements,
	Judge:        judgePassive,
}

func passiveClaims(cfg model.Config, p model.Pool) []plan.Claim {
	if len(check.Rotation(p)) < 2 {
		return nil
	}
	var claims []plan.Claim
	var servers [][]model.Server
	at := map[string]int{}
	for _, s := range p.Servers {
		if s.Ejection == nil {
			continue
		}
		text := passiveText(s)
		i, same := at[text] // one claim for all servers with the same settings
		if !same {
			i = len(claims)
			at[text] = i
			claims = append(claims, plan.Claim{
				ID:    check.ClaimID(plan.CheckPassive, p.Name, check.ServerName(s)),
				Check: plan.CheckPassive, Subject: p.Name, Detail: check.ServerName(s),
				Pos: s.Ejection.Pos, Implicit: s.Ejection.Implicit,
				Params: passiveParams(s.Ejection), Assumptions: passiveAssumptions(cfg, p),
			})
			servers = append(servers, nil)
		}
		servers[i] = append(servers[i], s)
		claims[i].Text = subjectOf(p, servers[i]) + text
	}
	return claims
}

func passiveParams(p *model.Ejection) plan.Params {
	params := plan.Params{plan.ParamFails: plan.Amount(p.MaxFails)}
	if p.Rule == model.FailuresInWindow && p.MaxFails > 0 {
		out := plan.Amount(units.Seconds(p.Duration))
		params[plan.ParamEjectionMin], params[plan.ParamEjectionMax] = out, out+1
	}
	return params
}

// passiveText returns the claim without its subject.
func passiveText(s model.Server) string {
	out, on := s.Ejection, s.Ejection.Failures.Source
	switch {
	case out.MaxFails == 0:
		return " is never ejected for failed requests (max_fails=0)."
	case out.Rule == model.FailuresInWindow:
		by := ""
		if out.Implicit {
			by = fmt.Sprintf(" (default: %s)", out.Source)
		}
		return fmt.Sprintf(" is ejected after %s (%s) and retried %s later%s.",
			units.Plural(out.MaxFails, "failed attempt"), on, units.DurationRange(out.Duration, out.Duration+time.Second), by)
	case out.EndedBy == model.EndedByHealthChecks:
		return fmt.Sprintf(" triggers its on-error action after %s in a row (%s).",
			units.Plural(out.MaxFails, "error"), on)
	}
	return fmt.Sprintf(" is ejected for %s after %s in a row (%s).",
		units.Duration(out.Duration), units.Plural(out.MaxFails, "failure"), on)
}

func passiveAssumptions(cfg model.Config, p model.Pool) []string {
	var assumes []string
	if cfg.Dialect.Instances == model.InstancePerWorker && !p.SharedState {
		assumes = append(assumes, "each worker counts failures separately (no zone), so that clients may see them "+
			"once per worker")
	}
	for _, s := range p.Servers {
		if s.Ejection != nil && s.Ejection.Rule == model.FailuresInWindow && s.Ejection.Failures.HasServerErrors() {
			return append(assumes, "not all servers fail at once; otherwise all are ejected, "+
				"and clients get 502 until the ejection ends, even if the servers have recovered")
		}
	}
	return assumes
}

func judgePassive(claim plan.Claim, h history.History) check.Finding {
	pool, server, ok := ejectedServer(h.Plan.Config, claim)
	if !ok {
		return check.Finding{Untestable: "server not found in the configuration"}
	}
	p := *server.Ejection
	switch unreachable := check.WhyUnreachable(h.Plan.Config, pool.Name); {
	case unreachable != "":
		return check.Finding{Untestable: unreachable}
	case p.MaxFails == 0:
		return check.Finding{Inconclusive: check.NoExperiment}
	case p.Rule != model.FailuresInWindow:
		return judgeConsecutive(h, pool, server)
	case concernsOnlyBackups(pool, p):
		return judgeBackupEjection(h, pool, p)
	}
	return judgeWindow(h, pool, p)
}

// ejectedServer returns the first server of a claim, and its pool.
func ejectedServer(cfg model.Config, claim plan.Claim) (pool model.Pool, server model.Server, ok bool) {
	pool, _ = cfg.Pool(claim.Subject)
	first := slices.IndexFunc(pool.Servers, func(s model.Server) bool {
		return check.ClaimID(plan.CheckPassive, pool.Name, check.ServerName(s)) == claim.ID
	})
	if first < 0 {
		return pool, server, false
	}
	return pool, pool.Servers[first], true
}

// judgeWindow judges a pool whose servers are ejected after failures that add up in a window.
func judgeWindow(h history.History, pool model.Pool, p model.Ejection) check.Finding {
	other, shared := findSharedPool(h.Plan, pool)
	mixed := fmt.Sprintf("its servers are shared with %s, which had requests meanwhile and counts failures separately",
		other)
	a := ejections{fails: p.MaxFails, ejectedFor: p.Duration, instances: h.Env.Workers}
	if pool.SharedState {
		a.instances = 1
	}
	for _, e := range outage.FindPartial(h, pool, slices.Concat(outage.RefusingFaults, outage.HangingFaults)...) {
		switch {
		case !canFail(h, pool, e), hasReloadDuring(h, e):
		case shared && !e.KeepAttemptsFor(h, pool.Name):
			a.outages, a.inconclusive, a.ambiguous = a.outages+1, a.inconclusive+1, a.ambiguous+1
		case hasSameEjection(e.Server, p) && e.Rate > 0 && e.LastArrival > 0:
			a.addOutage(e, h, pool.Name)
		}
	}
	unhealthy := outage.FindPartial(h, pool, plan.FaultErrors)
	if shared && len(unhealthy) > 0 {
		return check.Finding{Inconclusive: mixed}
	}
	for _, e := range unhealthy {
		if hasSameEjection(e.Server, p) && a.instances == 1 {
			a.addErrors(e, h, e.Server.Ejection.Failures.HasStatus(e.Fault.Event.Settings.Status()))
		}
	}
	if a.outages > 0 && a.ambiguous == a.outages {
		return check.Finding{Inconclusive: mixed}
	}
	return a.finding(h)
}

// canFail reports whether an attempt can have failed during an outage.
func canFail(h history.History, pool model.Pool, e *outage.Outage) bool {
	timeout := e.AttemptTimeout(h.Plan.Config, pool.Name)
	return !e.Hangs || timeout > 0 && e.Fault.EndsAfter-e.Fault.StartsBy >= timeout+outage.Tolerance
}

// hasReloadDuring reports whether a reload during an outage created instances with new failure counts.
func hasReloadDuring(h history.History, e *outage.Outage) bool {
	return slices.ContainsFunc(h.Env.Faults, func(m history.FaultWindow) bool {
		return m.Event.Fault == plan.FaultReload && m.RequestedAt < e.Fault.EndsAfter && m.EndsBy > e.Fault.RequestedAt
	})
}

func passiveRequirements(cfg model.Config, claim plan.Claim, terms check.DesignParams) []check.Requirement {
	pool, server, ok := ejectedServer(cfg, claim)
	if !ok {
		return nil
	}
	p := *server.Ejection
	if p.Rule != model.FailuresInWindow || p.MaxFails == 0 {
		return nil
	}
	if concernsOnlyBackups(pool, p) {
		return backupEjectionRequirements(cfg, pool, p, terms.CPUs)
	}
	const detects = "a wrong number of attempts on a server that is down, or a wrong ejection time"
	return outageRequirements(cfg, pool.Name, detects, func(s model.Server) bool { return hasSameEjection(s, p) })
}

// hasSameEjection reports whether a server is ejected by the same rule.
func hasSameEjection(s model.Server, p model.Ejection) bool {
	return s.Ejection != nil && s.Ejection.MaxFails == p.MaxFails && s.Ejection.Duration == p.Duration
}

// findSharedPool returns another pool with servers of this one that gets requests in phases with outages.
func findSharedPool(p plan.Plan, pool model.Pool) (other string, shared bool) {
	for _, e := range p.Events {
		if e.Fault == plan.FaultReload || e.Fault == plan.FaultSlow {
			continue
		}
		isTarget := func(s model.Server) bool {
			mine := func(o model.Server) bool { return o.Addr() == s.Addr() }
			return s.Host == e.Target && slices.ContainsFunc(pool.Servers, mine)
		}
		for _, r := range p.Phases[e.Phase].Requests {
			route, _ := r.RouteIn(p.Config)
			o, ok := p.Config.Pool(route.Pool)
			if ok && o.Name != pool.Name && slices.ContainsFunc(o.Servers, isTarget) {
				return o.Name, true
			}
		}
	}
	return "", false
}
