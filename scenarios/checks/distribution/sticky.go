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
	Doc:      "A client that brings back its cookie gets the same server while that one is up.",
	Law:      "every arrival of one cookie at one server, and the cookie's attributes as configured",
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
			text := fmt.Sprintf("A client of %s stays with its server%s.", name, with)
			if s.HasCookie() {
				text = fmt.Sprintf("A client of %s that brings back the cookie %s%s gets the same server while that one is up, "+
					"and another when it is not.", name, s.CookieName(), with)
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
	Trials: stickyTrials,
	Judge:  judgeSticky,
}

// manySessions show that fewer than one in a hundred moves; each comes back so often.
const (
	manySessions = 688
	comesBack    = 3
)

func stickyTrials(cfg model.Config, claim plan.Claim, _ check.Terms) []check.Trial {
	r, ok := check.RequestToPool(cfg, claim.Subject)
	if !ok {
		return nil
	}
	return append(check.QuestionTrials(stickyQuestions, cfg, claim), check.Trial{
		Kind: plan.KindSessions, About: claim.Subject,
		Load: plan.Phase{
			Count: (1 + comesBack) * manySessions, Concurrency: check.TurnsInFlight,
			Requests: []plan.Request{r}, Clients: plan.Clients{Count: manySessions, Cookies: true},
		},
		Shows: fmt.Sprintf("one session of %s in a hundred that moves, with probability 0.999", claim.Subject),
	})
}

// stickyQuestions come without the cookie, so that the balancer sets it.
func stickyQuestions(cfg model.Config, claim plan.Claim) (asked []check.Question, cannot string) {
	pool, ok := cfg.Pool(claim.Subject)
	r, reached := check.RequestToPool(cfg, claim.Subject)
	sets := ok && pool.Sticky != nil && pool.Sticky.Sets
	if !sets || !reached {
		return nil, ""
	}
	like := func(header url.Values) string { return unlikeCookie(*pool.Sticky, header["Set-Cookie"]) }
	return []check.Question{{
		Why: "a client without the cookie", Kind: plan.KindQuestions, Ask: r,
		Want: check.Reply{Backend: true, Like: like},
	}}, ""
}

// unlikeCookie says in what the cookies that an answer sets are not the one that was to come: its name, whether
// scripts see it, whether it goes over plain HTTP, and what else the configuration says of it. It is empty where they
// are that.
func unlikeCookie(want model.Sticky, set []string) string {
	var names []string
	for _, line := range set {
		name, _, _ := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if want.Cookie == "" || name == want.Cookie {
			return unlikeAttributes(want.Attributes, line)
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return fmt.Sprintf("without the cookie %s", want.CookieName())
	}
	return fmt.Sprintf("with the cookie %s instead of %s", strings.Join(names, ", "), want.CookieName())
}

// unlikeAttributes says in what a cookie's attributes are not those of the configuration; empty where they are.
func unlikeAttributes(want model.CookieAttributes, line string) string {
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
			return fmt.Sprintf("with the cookie %q, which is not to be %s", line, flag.name)
		case !is && flag.wanted:
			return fmt.Sprintf("with the cookie %q, which is to be %s", line, flag.name)
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
			return fmt.Sprintf("with the cookie %q, which is to have %s=%s", line, attribute.name, value)
		}
	}
	return ""
}

// session is where a client that keeps its cookie is served.
type session struct {
	server string
	since  time.Duration // requests sent before may have gone without the cookie
	back   bool          // it has come back
}

// enoughSessions is how many sessions must have come back: fewer than one in twenty moves, then.
const enoughSessions = 135

func judgeSticky(claim plan.Claim, h history.History) check.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	if !ok || pool.Sticky == nil || !pool.Sticky.HasCookie() {
		return check.Finding{Broken: check.NoExperiment}
	}
	f := check.Finding{
		Need:      enoughSessions,
		Test:      "server of every request that brought the cookie, against the one before, session by session",
		Predicted: "none elsewhere while its server was up",
	}
	f.Broken = check.NodeDied(h)
	s := followSessions(h, pool)
	f.N = s.back
	f.Measured = fmt.Sprintf("%s of %s of %s elsewhere; %s moved because their server was gone",
		units.Number(s.wrong.Total), units.Plural(s.requests, "request"), units.Plural(s.back, "session"),
		units.Plural(s.moved, "session"))
	f.Power = fmt.Sprintf("would have caught %s of sessions that move with probability %g",
		units.Percent(stats.Smallest(s.back, 1-h.Plan.Beta)), 1-h.Plan.Beta)
	if s.requests == 0 && f.Broken == "" {
		f.Broken = "no client kept its cookies, as those of lbproof test CONFIG do; " +
			"where a balancer gives a cookie that browsers refuse, none comes back"
	}
	if f.Broken == "" {
		s.firsts(&f, h, pool)
		f.Counter = append(f.Counter, s.wrong.List()...)
	}
	if q := check.JudgeQuestions(stickyQuestions, claim, h); q.N > 0 {
		f.Counter = append(f.Counter, q.Counter...)
		f.Measured += fmt.Sprintf("; the cookie set %s times, %s", units.Number(q.N), q.Measured)
	}
	return f
}

// followed is what became of a pool's sessions.
type followed struct {
	requests int // that brought the cookie
	back     int // sessions that came back
	moved    int // and that moved because their server was gone
	wrong    check.Examples
	first    map[string]int // servers of first requests, by host
}

func followSessions(h history.History, pool model.Pool) followed {
	f := followed{first: map[string]int{}}
	find, sessions, load := check.Journeys(h), map[int]session{}, -1
	for hit := range h.Hits {
		j := find(hit.Seq)
		answered := j != nil && j.Route.Pool == pool.Name && hit.Server != ""
		if !answered || !h.Plan.Phases[hit.Load].Clients.Cookies {
			continue
		}
		if hit.Load != load { // other clients
			load, sessions = hit.Load, map[int]session{}
		}
		was, known := sessions[hit.Client]
		switch {
		case !known:
			sessions[hit.Client] = session{server: hit.Server, since: hit.Done}
			f.first[hit.Server]++
			continue
		case hit.Sent < was.since:
			continue
		case !was.back:
			f.back++
		}
		f.requests++
		if hit.Server == was.server {
			sessions[hit.Client] = session{was.server, was.since, true}
			continue
		}
		sessions[hit.Client] = session{hit.Server, hit.Done, true}
		if excused(h, pool, was.server, hit) {
			f.moved++
			continue
		}
		f.wrong.Add("request %d of client %d, sent at %.2f s, was answered by %s, and the one before by %s, which was up",
			hit.Seq, hit.Client, hit.Sent.Seconds(), hit.Server, was.server)
	}
	return f
}

// firsts judges who gets new clients, where they take turns and nobody is broken.
func (s followed) firsts(f *check.Finding, h history.History, pool model.Pool) {
	active, states := check.Rotation(pool), h.Env.Workers
	if pool.SharedState {
		states = 1
	}
	known := len(h.Env.Marks) == 0 && states > 0 // who shares them
	if !pool.Balance.TakesTurns() || !known || len(active) < 2 {
		return
	}
	counts := make([]int, len(active))
	for i, server := range active {
		counts[i] = s.first[server.Host]
	}
	shares, env := turnShares(pool, active, states)
	for i, over := range env.Outside(counts, shares) {
		if over != 0 {
			f.Counter = append(f.Counter,
				fmt.Sprintf("%s got %s of the first requests of new clients (%s); turns by weight %s allow no such share",
					active[i].Host, units.Number(counts[i]), counted(counts), ratio(check.WeightsOf(active))))
		}
	}
	f.Measured += "; new clients " + counted(counts)
}

// excused reports whether a session may have left its server: by a fault that was in force on it, or just over, or by a
// configuration without it.
func excused(h history.History, pool model.Pool, server string, hit history.Hit) bool {
	for _, m := range h.Env.Marks {
		after := outage.Settling
		for _, s := range pool.Servers {
			if s.Host == server {
				after = outage.ReturnsWithin(s)
			}
		}
		if hit.Done < m.Ordered || hit.Sent > m.To+after {
			continue
		}
		if m.Event.Target == server || removes(h, m, pool, server) {
			return true
		}
	}
	return false
}

// removes reports whether a reload takes the server out of the configuration for its time.
func removes(h history.History, m history.Mark, pool model.Pool, server string) bool {
	if m.Event.Fault != plan.FaultReload || m.Event.With[plan.SettingChange] != plan.ChangeRemove {
		return false
	}
	for _, p := range h.Plan.Config.Pools {
		if len(p.Servers) > 1 { // the first such
			return p.Name == pool.Name && p.Servers[len(p.Servers)-1].Host == server
		}
	}
	return false
}
