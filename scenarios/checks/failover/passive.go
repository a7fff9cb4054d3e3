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

// judgeConsecutive judges a pool whose servers are taken out by failures in a row: by HAProxy until health checks find them
// well, by Traefik for its window.
func judgeConsecutive(h history.History, pool model.Pool, server model.Server) check.Finding {
	p, a := server.Ejection, ejections{fails: server.Ejection.MaxFails}
	soonest, latest := p.Duration, p.Duration
	if p.EndedBy == model.EndedByHealthChecks {
		if server.HealthCheck == nil || p.Action != model.ActionEject {
			return check.Finding{Inconclusive: check.NoExperiment + " for what errors do to health checks"}
		}
		soonest, latest = server.HealthCheck.RecoveryTime()
	}
	for _, e := range outage.FindPartial(h, pool, plan.FaultErrors) {
		if q := e.Server.Ejection; q != nil && q.Equivalent(*p) {
			a.addConsecutive(e, h, soonest, latest)
		}
	}
	f := check.Finding{
		N: a.outages, Need: outagesNeeded(h.Plan.Beta), Test: "how long the server was left alone after so many failures in a " +
			"row, and after fewer",
		Measured:  fmt.Sprintf("out %s, back %s after the last failure", units.Plural(a.outages, "time"), formatRange(a.returnTimes)),
		Predicted: fmt.Sprintf("back %g s to %g s after it", soonest.Seconds(), latest.Seconds()),
		Power: fmt.Sprintf("would have caught an absence %.1f times as long with probability %g",
			detectableWidth(max(1, a.outages), h.Plan.Beta), 1-h.Plan.Beta),
	}
	switch {
	case check.WhyNodeExited(h) != "":
		f.Inconclusive = check.WhyNodeExited(h)
	case a.wrong.Total > 0:
		f.CounterExamples = a.wrong.List()
	case a.outages == 0:
		f.Inconclusive = "no server failed often enough in a row; --scenario brown-out has one do so"
	}
	return f
}

// subjectOf names servers of a pool as the subject of a sentence in the singular.
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
	Doc:  "Failed requests take a server out of rotation, and it comes back after its time.",
	Law: "HAProxy and Traefik: out at the last of so many failures in a row and not before, back by its checks or " +
		"its window; nginx: out at the latest when fails/rate have passed in every worker; away for more than " +
		"fail_timeout and at most a second longer, because nginx counts in whole seconds; one attempt per state and " +
		"period meanwhile; where clients send rows of requests, the attempts at a death are a multiple of the count",
	// What a service is asked counts too: it tells who lives. Attempts carry no note of what they are for, which does
	// not matter where each that fails takes its server out.
	Evidence: check.Evidence{Subrequests: check.Always, FailedAttempts: func(cfg model.Config, claim plan.Claim, noted bool) bool {
		return !noted || claim.Params[plan.ParamFails] != 1 || !check.IsOwnAuthService(cfg, claim.Subject)
	}},
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
		i, same := at[text] // one promise for all servers that say the same
		if !same {
			i = len(claims)
			at[text] = i
			claims = append(claims, plan.Claim{
				ID:    check.ClaimID(plan.CheckPassive, p.Name, check.ServerName(s)),
				Check: plan.CheckPassive, Subject: p.Name, Detail: check.ServerName(s), Pos: s.Ejection.Pos, Implicit: s.Ejection.Implicit,
				Params: passiveParams(s.Ejection), Assumptions: passiveAssumes(cfg, p),
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

// passiveText goes on after the name of the server.
func passiveText(s model.Server) string {
	out, on := s.Ejection, s.Ejection.Failures.Source
	switch {
	case out.MaxFails == 0:
		return " is never taken out of rotation, whatever its requests come to (max_fails=0)."
	case out.Rule == model.FailuresInWindow:
		by := ""
		if out.Implicit {
			by = fmt.Sprintf(" (the default %s)", out.Source)
		}
		return fmt.Sprintf(" is taken out of rotation after %s (%s) and tried again after %s to %s%s.",
			units.Plural(out.MaxFails, "failed attempt"), on, units.Duration(out.Duration), units.Duration(out.Duration+1e9), by)
	case out.EndedBy == model.EndedByHealthChecks:
		return fmt.Sprintf(" is dealt with as on-error says after %s in a row (%s).",
			units.Plural(out.MaxFails, "error"), on)
	}
	return fmt.Sprintf(" is taken out of rotation for %s after %s in a row (%s).",
		units.Duration(out.Duration), units.Plural(out.MaxFails, "failure"), on)
}

func passiveAssumes(cfg model.Config, p model.Pool) []string {
	var assumes []string
	if cfg.Dialect.Instances == model.InstancePerWorker && !p.SharedState {
		assumes = append(assumes, "each worker counts for itself, so that clients may meet as many failures once "+
			"per worker (no zone)")
	}
	for _, s := range p.Servers {
		if s.Ejection != nil && s.Ejection.Rule == model.FailuresInWindow && s.Ejection.Failures.HasServerErrors() {
			return append(assumes, "not all servers fail at once: then all are out together, "+
				"and clients get 502 for as long although the servers are well again")
		}
	}
	return assumes
}

func judgePassive(claim plan.Claim, h history.History) check.Finding {
	pool, server, ok := ejectedServer(h.Plan.Config, claim)
	if !ok {
		return check.Finding{Untestable: "the configuration has no such server"}
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

// ejectedServer is the first server that a claim is about, with its pool.
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

// judgeWindow judges a pool whose servers are taken out by failures that add up in a window.
func judgeWindow(h history.History, pool model.Pool, p model.Ejection) check.Finding {
	other, shared := findSharedPool(h.Plan, pool)
	mixed := fmt.Sprintf("its servers are those of %s too, which was asked meanwhile and has counts of its own", other)
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
	ill := outage.FindPartial(h, pool, plan.FaultErrors)
	if shared && len(ill) > 0 {
		return check.Finding{Inconclusive: mixed}
	}
	for _, e := range ill {
		if hasSameEjection(e.Server, p) && a.instances == 1 {
			a.addErrors(e, h, e.Server.Ejection.Failures.HasStatus(e.Fault.Event.Settings.Status()))
		}
	}
	if a.outages > 0 && a.ambiguous == a.outages {
		return check.Finding{Inconclusive: mixed}
	}
	return a.finding(h)
}

// canFail reports whether an attempt on a dead server can have failed before it was over.
func canFail(h history.History, pool model.Pool, e *outage.Outage) bool {
	waits := e.AttemptTimeout(h.Plan.Config, pool.Name)
	return !e.Hangs || waits > 0 && e.Fault.EndsAfter-e.Fault.StartsBy >= waits+outage.Tolerance
}

// hasReloadDuring reports whether states that know nothing of a death's beginning came up meanwhile, and counted anew.
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
	const shows = "how often a dead server is asked, and when it is tried again"
	return outageRequirements(cfg, pool.Name, shows, func(s model.Server) bool { return hasSameEjection(s, p) })
}

// hasSameEjection says whether failed requests take a server out of nginx's rotation as they do another.
func hasSameEjection(s model.Server, p model.Ejection) bool {
	return s.Ejection != nil && s.Ejection.MaxFails == p.MaxFails && s.Ejection.Duration == p.Duration
}

// findSharedPool is another pool with servers of this one that phases in which servers die ask too.
func findSharedPool(p plan.Plan, pool model.Pool) (other string, shared bool) {
	for _, e := range p.Events {
		if e.Fault == plan.FaultReload || e.Fault == plan.FaultSlow {
			continue
		}
		hit := func(s model.Server) bool {
			mine := func(o model.Server) bool { return o.Addr() == s.Addr() }
			return s.Host == e.Target && slices.ContainsFunc(pool.Servers, mine)
		}
		for _, r := range p.Phases[e.Phase].Requests {
			route, _ := r.RouteIn(p.Config)
			o, ok := p.Config.Pool(route.Pool)
			if ok && o.Name != pool.Name && slices.ContainsFunc(o.Servers, hit) {
				return o.Name, true
			}
		}
	}
	return "", false
}
