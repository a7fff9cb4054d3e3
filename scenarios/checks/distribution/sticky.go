package distribution

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

var Sticky = check.Check{
	Name:     plan.CheckSticky,
	Doc:      "A client that returns its cookie stays on the same server while that server is up.",
	Law:      "every request with the same cookie on one server; cookie attributes as configured",
	Evidence: check.Evidence{Undisturbed: true},
	Claims: func(cfg model.Config) []plan.Claim {
		var claims []plan.Claim
		add := func(name string, s *model.Sticky) {
			if s == nil {
				return
			}
			with := ""
			if len(s.Source) > 0 {
				with = " (" + strings.Join(s.Source, " ") + ")"
			}
			text := fmt.Sprintf("A client of %s stays on its server%s.", name, with)
			if s.HasCookie() {
				text = fmt.Sprintf("A client of %s that returns the cookie %s%s stays on its server while it is up, "+
					"and moves to another when it is down.", name, s.CookieName(), with)
			}
			claims = append(claims,
				plan.Claim{
					ID: check.ClaimID(plan.CheckSticky, name, ""), Check: plan.CheckSticky, Subject: name, Pos: s.Pos,
					Text: text,
				})
		}
		for _, p := range cfg.Pools {
			add(p.Name, p.Sticky)
		}
		for _, s := range cfg.Splits {
			add(s.Name, s.Sticky)
		}
		return claims
	},
	Requirements: stickyRequirements,
	Judge:        judgeSticky,
}

// Enough sessions to show that fewer than one in a hundred moves, and how often each returns.
const (
	sessionCount      = 688
	returnsPerSession = 3
)

func stickyRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	r, ok := check.RequestToPool(cfg, claim.Subject)
	if !ok {
		return nil
	}
	return append(check.ProbeRequirements(stickyProbes, cfg, claim), check.Requirement{
		Kind: plan.KindSessions, About: claim.Subject,
		Phase: plan.Phase{
			Count: (1 + returnsPerSession) * sessionCount, Concurrency: check.RotationInFlight,
			Requests: []plan.Request{r}, Clients: plan.Clients{Count: sessionCount, Cookies: true},
		},
		Detects: fmt.Sprintf("1 %% of sessions of %s changing servers (power 0.999)", claim.Subject),
	})
}

// stickyProbes are sent without the cookie, so that the balancer sets it.
func stickyProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	pool, ok := cfg.Pool(claim.Subject)
	r, reached := check.RequestToPool(cfg, claim.Subject)
	sets := ok && pool.Sticky != nil && pool.Sticky.SetsCookie
	if !sets || !reached {
		return nil, ""
	}
	like := func(header url.Values) string { return cookieMismatch(*pool.Sticky, header["Set-Cookie"]) }
	return []check.Probe{{
		Case: "a client without the cookie", Kind: plan.KindProbes, Request: r,
		Want: check.Want{OnlyIfBackend: true, HeaderMismatch: like},
	}}, ""
}

// cookieMismatch describes how the cookies that a response sets differ from the configured one in name or attributes,
// or returns "".
func cookieMismatch(want model.Sticky, set []string) string {
	var names []string
	for _, line := range set {
		name, _, _ := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if want.Cookie == "" || name == want.Cookie {
			return attributeMismatch(want.Attributes, line)
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return fmt.Sprintf("without the cookie %s", want.CookieName())
	}
	return fmt.Sprintf("with the cookie %s instead of %s", strings.Join(names, ", "), want.CookieName())
}

// attributeMismatch describes how a cookie's attributes differ from the configured ones, or returns "".
func attributeMismatch(want model.CookieAttributes, line string) string {
	given := map[string]string{}
	for _, part := range strings.Split(line, ";")[1:] {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), "=")
		given[name] = value
	}
	for _, flag := range []struct {
		name   string
		wanted bool
	}{{"secure", want.Secure}, {"httponly", want.HTTPOnly}} {
		_, is := given[flag.name]
		switch {
		case is && !flag.wanted:
			return fmt.Sprintf("with the cookie %q, which must not be %s", line, flag.name)
		case !is && flag.wanted:
			return fmt.Sprintf("with the cookie %q, which must be %s", line, flag.name)
		}
	}
	for _, attribute := range []struct{ name, value string }{
		{"samesite", want.SameSite},
		{"max-age", want.MaxAge},
		{"domain", want.Domain},
		{"path", want.Path},
	} {
		value := strings.ToLower(attribute.value)
		if value != "" && given[attribute.name] != value {
			return fmt.Sprintf("with the cookie %q, which must have %s=%s", line, attribute.name, value)
		}
	}
	return ""
}

// session is the state of a client that keeps its cookie.
type session struct {
	server   string
	since    time.Duration // requests sent earlier may lack the cookie
	returned bool          // it has sent a request with the cookie
}

// minSessions is the number of returning sessions that shows that fewer than one in twenty moves.
const minSessions = 135

func judgeSticky(claim plan.Claim, h history.History) check.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	if !ok || pool.Sticky == nil || !pool.Sticky.HasCookie() {
		return check.Finding{Inconclusive: check.NoExperiment}
	}
	f := check.Finding{
		Need:      minSessions,
		Test:      "server of each request with the cookie against the previous one of the session",
		Predicted: "none on another server while its own was up",
	}
	f.Inconclusive = check.WhyNodeExited(h)
	s := tallySessions(h, pool)
	f.N = s.returned
	f.Measured = fmt.Sprintf("%s of %s of %s on another server; %s moved off an unavailable server",
		units.Number(s.wrong.Total), units.Plural(s.requests, "request"), units.Plural(s.returned, "session"),
		units.Plural(s.moved, "session"))
	f.Power = fmt.Sprintf("would have caught %s of sessions moving with probability %g",
		units.Percent(stats.DetectableShare(s.returned, 1-h.Plan.Beta)), 1-h.Plan.Beta)
	if s.requests == 0 && f.Inconclusive == "" {
		f.Inconclusive = "no client returned the cookie: those of lbproof test CONFIG do, " +
			"unless browsers would reject the cookie"
	}
	if f.Inconclusive == "" {
		s.judgeFirst(&f, h, pool)
		f.CounterExamples = append(f.CounterExamples, s.wrong.List()...)
	}
	if q := check.JudgeProbes(stickyProbes, claim, h); q.N > 0 {
		f.CounterExamples = append(f.CounterExamples, q.CounterExamples...)
		f.Measured += fmt.Sprintf("; cookie set %s times, %s", units.Number(q.N), q.Measured)
	}
	return f
}

// sessionTally summarises a pool's sessions.
type sessionTally struct {
	requests     int // with the cookie
	returned     int // sessions that returned
	moved        int // of them, moved while their server was unavailable
	wrong        check.Examples
	firstServers map[string]int // first requests by server
}

func tallySessions(h history.History, pool model.Pool) sessionTally {
	f := sessionTally{firstServers: map[string]int{}}
	find, sessions, load := check.RouteFinder(h), map[int]session{}, -1
	for hit := range h.Hits {
		j := find(hit.Seq)
		answered := j != nil && j.Route.Pool == pool.Name && hit.Server != ""
		if !answered || !h.Plan.Phases[hit.Phase].Clients.Cookies {
			continue
		}
		if hit.Phase != load { // other clients
			load, sessions = hit.Phase, map[int]session{}
		}
		was, known := sessions[hit.Client]
		switch {
		case !known:
			sessions[hit.Client] = session{server: hit.Server, since: hit.Done}
			f.firstServers[hit.Server]++
			continue
		case hit.Sent < was.since:
			continue
		case !was.returned:
			f.returned++
		}
		f.requests++
		if hit.Server == was.server {
			sessions[hit.Client] = session{was.server, was.since, true}
			continue
		}
		sessions[hit.Client] = session{hit.Server, hit.Done, true}
		if mayMove(h, pool, was.server, hit) {
			f.moved++
			continue
		}
		f.wrong.Add("request %d of client %d, sent at %.2f s, was answered by %s, its previous one by %s, which was up",
			hit.Seq, hit.Client, hit.Sent.Seconds(), hit.Server, was.server)
	}
	return f
}

// judgeFirst judges the distribution of new clients in a round-robin pool without faults.
func (s sessionTally) judgeFirst(f *check.Finding, h history.History, pool model.Pool) {
	active, instances := check.Rotation(pool), h.Env.Workers
	if pool.SharedState {
		instances = 1
	}
	known := len(h.Env.Faults) == 0 && instances > 0 // the servers in rotation are known
	if !pool.Balance.IsRoundRobin() || !known || len(active) < 2 {
		return
	}
	counts := make([]int, len(active))
	for i, server := range active {
		counts[i] = s.firstServers[server.Host]
	}
	shares, env := rotationEnvelope(pool, active, instances)
	for i, over := range env.Excess(counts, shares) {
		if over != 0 {
			f.CounterExamples = append(f.CounterExamples,
				fmt.Sprintf("%s got %s of the first requests of new clients (%s), outside the round-robin envelope of %s",
					active[i].Host, units.Number(counts[i]), formatCounts(counts), formatRatio(check.WeightsOf(active))))
		}
	}
	f.Measured += "; new clients " + formatCounts(counts)
}

// mayMove reports whether a session may have left its server: because of a fault on it that was active or just over, or
// a configuration without it.
func mayMove(h history.History, pool model.Pool, server string, hit history.Hit) bool {
	for _, m := range h.Env.Faults {
		after := outage.SettleTime
		for _, s := range pool.Servers {
			if s.Host == server {
				after = outage.MaxReturnTime(s)
			}
		}
		if hit.Done < m.RequestedAt || hit.Sent > m.EndsBy+after {
			continue
		}
		if m.Event.Target == server || removesServer(h, m, pool, server) {
			return true
		}
	}
	return false
}

// removesServer reports whether a reload removes the server from the configuration for its duration.
func removesServer(h history.History, m history.FaultWindow, pool model.Pool, server string) bool {
	if m.Event.Fault != plan.FaultReload || m.Event.Settings[plan.SettingChange] != plan.ChangeRemove {
		return false
	}
	for _, p := range h.Plan.Config.Pools {
		if len(p.Servers) > 1 { // the reload changes the first such pool
			return p.Name == pool.Name && p.Servers[len(p.Servers)-1].Host == server
		}
	}
	return false
}
