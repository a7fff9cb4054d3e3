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

// judgeInRow judges a pool whose servers are taken out by failures in a row: by HAProxy until health checks find them
// well, by Traefik for its window.
func judgeInRow(h history.History, pool model.Pool, server model.Server) check.Finding {
	p, a := server.Ejection, absence{fails: server.Ejection.Fails}
	soonest, latest := p.Out, p.Out
	if p.Ends == model.EndsByChecks {
		if server.Active == nil || p.Then != model.StepOut {
			return check.Finding{Broken: check.NoExperiment + " for what errors do to health checks"}
		}
		soonest, latest = server.Active.Up()
	}
	for _, e := range outage.Episodes(h, pool, plan.FaultErrors) {
		if q := e.Server.Ejection; q != nil && q.Alike(*p) {
			a.inRow(e, h, soonest, latest)
		}
	}
	f := check.Finding{
		N: a.n, Need: deaths(h.Plan.Beta), Test: "how long the server was left alone after so many failures in a " +
			"row, and after fewer",
		Measured:  fmt.Sprintf("out %s, back %s after the last failure", units.Plural(a.n, "time"), spread(a.away)),
		Predicted: fmt.Sprintf("back %g s to %g s after it", soonest.Seconds(), latest.Seconds()),
		Power: fmt.Sprintf("would have caught an absence %.1f times as long with probability %g",
			swept(max(1, a.n), h.Plan.Beta), 1-h.Plan.Beta),
	}
	switch {
	case check.NodeDied(h) != "":
		f.Broken = check.NodeDied(h)
	case a.wrong.Total > 0:
		f.Counter = a.wrong.List()
	case a.n == 0:
		f.Broken = "no server failed often enough in a row; --scenario brown-out has one do so"
	}
	return f
}

// eachOf names servers of a pool as the subject of a sentence in the singular.
func eachOf(p model.Pool, servers []model.Server) string {
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
	Evidence: check.Evidence{Subrequests: check.Always, Attempts: func(cfg model.Config, claim plan.Claim, noted bool) bool {
		return !noted || claim.Params[plan.ParamFails] != 1 || !check.AsksItself(cfg, claim.Subject)
	}},
	Claims: func(cfg model.Config) []plan.Claim {
		return check.EachPool(cfg, func(p model.Pool) []plan.Claim { return passiveClaims(cfg, p) })
	},
	Trials: passiveTrials,
	Judge:  judgePassive,
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
				Check: plan.CheckPassive, Subject: p.Name, Pos: s.Ejection.Pos, Implicit: s.Ejection.Implicit,
				Params: passiveParams(s.Ejection), Assumes: passiveAssumes(cfg, p),
			})
			servers = append(servers, nil)
		}
		servers[i] = append(servers[i], s)
		claims[i].Text = eachOf(p, servers[i]) + text
	}
	return claims
}

func passiveParams(p *model.Ejection) plan.Params {
	params := plan.Params{plan.ParamFails: plan.Amount(p.Fails)}
	if p.Law == model.FailuresInWindow && p.Fails > 0 {
		out := plan.Amount(units.Seconds(p.Out))
		params[plan.ParamOutLeast], params[plan.ParamOutMost] = out, out+1
	}
	return params
}

// passiveText goes on after the name of the server.
func passiveText(s model.Server) string {
	out, on := s.Ejection, s.Ejection.On.Source
	switch {
	case out.Fails == 0:
		return " is never taken out of rotation, whatever its requests come to (max_fails=0)."
	case out.Law == model.FailuresInWindow:
		by := ""
		if out.Implicit {
			by = fmt.Sprintf(" (the default %s)", out.Source)
		}
		return fmt.Sprintf(" is taken out of rotation after %s (%s) and tried again after %s to %s%s.",
			units.Plural(out.Fails, "failed attempt"), on, units.Span(out.Out), units.Span(out.Out+1e9), by)
	case out.Ends == model.EndsByChecks:
		return fmt.Sprintf(" is dealt with as on-error says after %s in a row (%s).",
			units.Plural(out.Fails, "error"), on)
	}
	return fmt.Sprintf(" is taken out of rotation for %s after %s in a row (%s).",
		units.Span(out.Out), units.Plural(out.Fails, "failure"), on)
}

func passiveAssumes(cfg model.Config, p model.Pool) []string {
	var assumes []string
	if cfg.Dialect.Instances == model.PerWorker && !p.SharedState {
		assumes = append(assumes, "each worker counts for itself, so that clients may meet as many failures once "+
			"per worker (no zone)")
	}
	for _, s := range p.Servers {
		if s.Ejection != nil && s.Ejection.Law == model.FailuresInWindow && s.Ejection.On.HasErrors() {
			return append(assumes, "not all servers fail at once: then all are out together, "+
				"and clients get 502 for as long although the servers are well again")
		}
	}
	return assumes
}

func judgePassive(claim plan.Claim, h history.History) check.Finding {
	pool, server, ok := ejectedServer(h.Plan.Config, claim)
	if !ok {
		return check.Finding{Cannot: "the configuration has no such server"}
	}
	p := *server.Ejection
	switch unreachable := check.WhyUnreachable(h.Plan.Config, pool.Name); {
	case unreachable != "":
		return check.Finding{Cannot: unreachable}
	case p.Fails == 0:
		return check.Finding{Broken: check.NoExperiment}
	case p.Law != model.FailuresInWindow:
		return judgeInRow(h, pool, server)
	case backupsOnly(pool, p):
		return judgeForsaken(h, pool, p)
	}
	return judgeCounts(h, pool, p)
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

// judgeCounts judges a pool whose servers are taken out by failures that add up in a window.
func judgeCounts(h history.History, pool model.Pool, p model.Ejection) check.Finding {
	other, shared := sharedWith(h.Plan, pool)
	mixed := fmt.Sprintf("its servers are those of %s too, which was asked meanwhile and has counts of its own", other)
	a := absence{fails: p.Fails, out: p.Out, states: h.Env.Workers}
	if pool.SharedState {
		a.states = 1
	}
	for _, e := range outage.Episodes(h, pool, slices.Concat(outage.Refusing, outage.Hanging)...) {
		switch {
		case !attemptsFailed(h, pool, e), reloadedDuring(h, e):
		case shared && !e.Ours(h, pool.Name):
			a.n, a.silent, a.mixed = a.n+1, a.silent+1, a.mixed+1
		case alike(e.Server, p) && e.Rate > 0 && e.Served > 0:
			a.see(e, h, pool.Name)
		}
	}
	ill := outage.Episodes(h, pool, plan.FaultErrors)
	if shared && len(ill) > 0 {
		return check.Finding{Broken: mixed}
	}
	for _, e := range ill {
		if alike(e.Server, p) && a.states == 1 {
			a.seeErrors(e, h, e.Server.Ejection.On.HasStatus(e.Mark.Event.With.Status()))
		}
	}
	if a.n > 0 && a.mixed == a.n {
		return check.Finding{Broken: mixed}
	}
	return a.finding(h)
}

// attemptsFailed reports whether an attempt on a dead server can have failed before it was over.
func attemptsFailed(h history.History, pool model.Pool, e *outage.Episode) bool {
	waits := e.Waits(h.Plan.Config, pool.Name)
	return !e.Hangs || waits > 0 && e.Mark.Ended-e.Mark.From >= waits+outage.Slack
}

// reloadedDuring reports whether states that know nothing of a death's beginning came up meanwhile, and counted anew.
func reloadedDuring(h history.History, e *outage.Episode) bool {
	return slices.ContainsFunc(h.Env.Marks, func(m history.Mark) bool {
		return m.Event.Fault == plan.FaultReload && m.Ordered < e.Mark.Ended && m.To > e.Mark.Ordered
	})
}

func passiveTrials(cfg model.Config, claim plan.Claim, terms check.Terms) []check.Trial {
	pool, server, ok := ejectedServer(cfg, claim)
	if !ok {
		return nil
	}
	p := *server.Ejection
	if p.Law != model.FailuresInWindow || p.Fails == 0 {
		return nil
	}
	if backupsOnly(pool, p) {
		return forsakenTrials(cfg, pool, p, terms.CPUs)
	}
	const shows = "how often a dead server is asked, and when it is tried again"
	return deathTrials(cfg, pool.Name, shows, func(s model.Server) bool { return alike(s, p) })
}

// alike says whether failed requests take a server out of nginx's rotation as they do another.
func alike(s model.Server, p model.Ejection) bool {
	return s.Ejection != nil && s.Ejection.Fails == p.Fails && s.Ejection.Out == p.Out
}

// sharedWith is another pool with servers of this one that phases in which servers die ask too.
func sharedWith(p plan.Plan, pool model.Pool) (other string, shared bool) {
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
