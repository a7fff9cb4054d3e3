package failover

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

var Retries = check.Check{
	Name: plan.CheckRetries,
	Doc:  "A request that failed is sent again, as often, to whom and for which methods the configuration says.",
	Law: "while a server refuses connections: where requests go elsewhere, one that fails refutes; where they do not, as many fail " +
		"as are meant for it until its death is known, within the Poisson law at both ends of that interval; with HAProxy how long " +
		"requests wait, and how many attempts there are where all servers are dead, tells how often they are tried; with Traefik those that met a dead " +
		"server wait for half of initialInterval at least, and half of those that met it once no longer than it, within the binomial law",
	Evidence: check.Evidence{Subrequests: check.Always},
	Claims:   retryClaims,
	Trials:   retryTrials,
	Judge:    judgeRetried,
}

// retryGroups are the promises on repetition, each with the routes that share it.
func retryGroups(cfg model.Config) []check.Group[*model.Retry] {
	byName := map[string]model.Pool{}
	for _, p := range cfg.Pools {
		byName[p.Name] = p
	}
	return check.GroupRoutes(cfg, func(r model.Route) []*model.Retry {
		pool, ok := byName[r.Pool]
		if r.Retry == nil || r.Pool == "" || r.Retry.Implicit && r.Retry.Attempts == model.Unlimited && ok && len(pool.Servers) < 2 {
			return nil // there is nobody else to try
		}
		return []*model.Retry{r.Retry}
	}, func(t *model.Retry) string {
		k := *t
		if k.Implicit {
			k.Pos = model.Pos{}
		}
		return fmt.Sprint(k)
	})
}

func retryClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, g := range retryGroups(cfg) {
		claims = append(claims, plan.Claim{
			ID: check.ClaimID(plan.CheckRetries, g.Subject(), ""), Check: plan.CheckRetries, Subject: g.Subject(), Pos: g.What.Pos, Implicit: g.What.Implicit,
			Params: plan.Params{plan.ParamAttempts: plan.AtMost(max(0, int64(g.What.Attempts)))}, Text: retryText(cfg, g),
		})
	}
	return claims
}

func retryText(cfg model.Config, g check.Group[*model.Retry]) string {
	t := g.What
	if t.Attempts == 1 {
		return fmt.Sprintf("A request to %s is sent once: what fails on its way to the server, fails for the client.", g.Paths())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "A request to %s that fails (%s) is sent again", g.Paths(), t.On.Source)
	switch {
	case t.Attempts == model.Unlimited:
		b.WriteString(", until every server was tried")
	default:
		fmt.Fprintf(&b, ", up to %s in all", units.Plural(t.Attempts, "attempt"))
	}
	if t.Each > 0 {
		fmt.Fprintf(&b, ", %s apart at first", units.Span(t.Each))
	}
	if t.Within > 0 {
		fmt.Fprintf(&b, ", none later than %s", units.Span(t.Within))
	}
	switch {
	case t.Next == model.NextTurn:
		b.WriteString(", to the server whose turn it is then, which may be the dead one again")
	case t.Elsewhere():
		b.WriteString(", to another server")
	case hashedAgain(cfg, g):
		b.WriteString(", to the same server, which the hash chooses again: while it is dead and not yet found so, its clients get 503")
	default:
		b.WriteString(", to the same server (no redispatch): while it is dead and not yet found so, its clients get 503")
	}
	switch {
	case t.Methods == model.AllMethods && t.On.Seen():
		b.WriteString("; POST too, even after the server has seen it: it may be carried out twice.")
	case t.Methods == model.IdempotentMethods:
		b.WriteString("; POST, LOCK and PATCH only where they had not been sent.")
	default:
		b.WriteString(".")
	}
	return b.String()
}

// hashedAgain says whether a hash chooses the servers of all pools, so that a request goes to the same one again.
func hashedAgain(cfg model.Config, g check.Group[*model.Retry]) bool {
	for _, name := range poolsOf(g.Routes) {
		if pool, ok := cfg.Pool(name); !ok || pool.Balance.Hash == nil {
			return false
		}
	}
	return true
}

// elsewhere says whether a request whose server refuses the connection is sent to another one for certain.
func elsewhere(t *model.Retry) bool {
	another := t.Next == model.NextOther || t.Next == model.NextAtLast
	return another && t.Attempts != 1 && t.On.Has(model.CauseConnect)
}

func judgeRetries(claim plan.Claim, h history.History) check.Finding {
	groups := retryGroups(h.Plan.Config)
	i := slices.IndexFunc(groups, func(g check.Group[*model.Retry]) bool { return g.Subject() == claim.Subject })
	if i < 0 {
		return check.Finding{Cannot: "the configuration has no such promise"}
	}
	g := groups[i]
	if !slices.ContainsFunc(poolsOf(g.Routes), func(name string) bool { return isPool(h.Plan.Config, name) }) {
		return check.Finding{Cannot: "which servers it asks is decided by something that lbproof cannot read"}
	}
	l := lossesOf(h, g)
	var waits check.Examples
	shown, vain := 0, 0 // requests that waited as often as they may, and that found all servers dead
	names := poolsOf(g.Routes)
	part := h.Plan.Alpha / 2 // of each end of the Poisson law
	if _, waiting := backoffOf(g.What); waiting {
		part = h.Plan.Alpha / 3 // and of the waits
	}
	unseen := ""       // why it cannot be said how long requests waited until they were tried again
	var apart []string // how long they did
	for _, name := range names {
		pool, ok := h.Plan.Config.Pool(name)
		dead := outage.Episodes(h, pool, outage.Refusing...)
		if w, waiting := waitsOf(g.What, pool); ok && waiting {
			for _, e := range dead {
				w.see(e, h, pool, l.find)
			}
			if shown += w.times[w.most]; w.wrong() != "" {
				waits.Add("%s: %s", name, w.wrong())
			}
		}
		if b, waiting := backoffOf(g.What); ok && waiting && len(dead) > 0 {
			b.see(dead, h, pool, l.find)
			wrong := b.wrong(part / float64(len(names)))
			switch unseen = b.unseen(); {
			case wrong != "":
				waits.Add("%s: %s", name, wrong)
			case unseen == "":
				apart = append(apart, b.String())
			}
		}
		if n, wrong := inVain(h, g.What, pool, l.find); ok && n >= manyMet {
			if vain += n; wrong != "" {
				waits.Add("%s: %s", name, wrong)
			}
		}
		if ok && len(check.Rotation(pool)) > 1 {
			gone := append(allGone(h, pool), severalGone(h, pool)...)
			for _, e := range dead {
				l.see(e, h, pool, gone)
			}
			for _, e := range outage.Episodes(h, pool, outage.Hanging...) {
				l.seeHung(e, h, pool, gone)
			}
		}
	}
	f := check.Finding{N: l.asked, Need: check.NeedAll(h), Test: "count of failed requests that were sent while a server was dead"}
	f.Broken = noDeaths(h, l.deaths)
	if l.hung > 0 {
		f.N += l.hung
		f.Note = fmt.Sprintf("sent while a server hung, and failed when they had waited for their timeout: %s", l.late)
	}
	f.Measured = fmt.Sprintf("%s of %s failed in %s", units.Number(l.failed+l.late.failed()+l.wrong.Total), units.Number(l.asked+l.hung), units.Plural(l.deaths, "death"))
	if len(l.under) > 0 && l.hung == 0 {
		f.Note = fmt.Sprintf("under way when it died, and failed, which is not held against it: %s", l.under)
	}
	if l.deaths == 0 && vain > 0 && check.NodeDied(h) == "" {
		f.N, f.Need, f.Broken = vain, manyMet, ""
		f.Test = "attempts at servers that are all dead"
		f.Predicted, f.Measured = fmt.Sprintf("%s for each request", units.Plural(g.What.Attempts, "attempt")), fmt.Sprintf("%s found all servers dead", units.Plural(vain, "request"))
		f.Counter = waits.List()
		return f
	}
	if len(apart) > 0 {
		f.Note = strings.TrimPrefix(f.Note+"; "+strings.Join(apart, "; "), "; ")
	}
	if len(apart)+waits.Total == 0 && f.Broken == "" {
		f.Broken = unseen
	}
	if vain > 0 {
		f.Note = strings.TrimPrefix(f.Note+fmt.Sprintf("; attempts for %s counted that found all servers dead", units.Plural(vain, "request")), "; ")
	}
	if l.deaths == 0 && shown > 0 { // of a server that nobody stands in for
		f.N, f.Need, f.Broken = shown, check.Often, ""
		f.Test = "how long requests waited for a dead server"
		f.Predicted, f.Measured = "as often as they may", fmt.Sprintf("%s did", units.Plural(shown, "request"))
	}
	if f.Broken == "" {
		f.Counter = append(l.wrong.List(), waits.List()...)
	}
	if elsewhere(g.What) || l.asked == 0 {
		f.Predicted, f.Power = "0 failed", check.PowerAll(f.N, h)
		if f.Broken == "" && elsewhere(g.What) {
			f.Counter = append(f.Counter, l.first.List()...)
		}
		return f
	}
	least, most := stats.PoissonLeast(l.least, part), stats.PoissonMost(l.most, part)
	f.Predicted = fmt.Sprintf("%s to %s failed", units.Number(least), units.Number(most))
	switch {
	case f.Broken != "":
	case l.least == 0 && l.most == 0:
		f.Broken = check.NoExperiment + ": nothing says how long the dead server goes on being asked"
	case l.failed < least || l.failed > most:
		f.Counter = append(f.Counter, fmt.Sprintf("%s failed, where the servers' share of the requests until they are known to be dead makes %s to %s", units.Plural(l.failed, "request"), units.Number(least), units.Number(most)))
	}
	return f
}

// isPool says whether a name is that of a pool or a split of the configuration.
func isPool(cfg model.Config, name string) bool {
	_, pool := cfg.Pool(name)
	_, split := cfg.Split(name)
	return pool || split
}

// poolsOf are the pools of routes, each once.
func poolsOf(routes []model.Route) []string {
	var names []string
	for _, r := range routes {
		if !slices.Contains(names, r.Pool) {
			names = append(names, r.Pool)
		}
	}
	return names
}

func retryTrials(cfg model.Config, claim plan.Claim, _ check.Terms) []check.Trial {
	groups := retryGroups(cfg)
	i := slices.IndexFunc(groups, func(g check.Group[*model.Retry]) bool { return g.Subject() == claim.Subject })
	if i < 0 {
		return nil
	}
	all := check.QuestionTrials(retryQuestions, cfg, claim)
	for _, name := range poolsOf(groups[i].Routes) { // one of them shows it
		if dying := deathTrials(cfg, name, "what clients meet while a server is dead", func(model.Server) bool { return true }); len(dying) > 0 {
			all = append(dying, all...)
			break
		}
	}
	if in, ok := triedInVain(cfg, groups[i]); ok {
		all = append(all, allDie(cfg, in, "how often a request is tried while all servers are dead")...)
	}
	return all
}

// triedInVain is the pool that tells best how often requests are tried: one whose servers die for the sake of their backups anyway, or
// else the first whose requests do not wait between two attempts.
func triedInVain(cfg model.Config, g check.Group[*model.Retry]) (name string, ok bool) {
	for _, one := range poolsOf(g.Routes) {
		pool, known := cfg.Pool(one)
		_, waits := waitsOf(g.What, pool)
		if !g.What.Stays() || !known || g.What.Attempts == model.Unlimited || pool.Balance.Hash != nil || len(check.Rotation(pool)) < 2 || takenOut(pool) {
			continue
		}
		if len(check.Rotation(pool)) < len(pool.Servers) {
			return one, true
		}
		if name == "" && !waits {
			name = one
		}
	}
	return name, name != ""
}

// judgeRetried joins what deaths and single answers say.
func judgeRetried(claim plan.Claim, h history.History) check.Finding {
	f := judgeRetries(claim, h)
	q := check.JudgeQuestions(retryQuestions, claim, h)
	if f.Cannot != "" || q.Cannot != "" || q.Need == 0 {
		return f
	}
	if len(q.Counter) > 0 {
		f.Counter = append(f.Counter, q.Counter...)
	}
	if q.N > 0 {
		f.Note = strings.TrimPrefix(f.Note+"; "+fmt.Sprintf("answers with errors: %s of %s tried otherwise", strings.Fields(q.Measured)[0], units.Number(q.N)), "; ")
	}
	return f
}

// retryQuestions have backends answer with errors, and count at how many the request arrives.
func retryQuestions(cfg model.Config, claim plan.Claim) (asked []check.Question, cannot string) {
	for _, r := range cfg.Routes {
		request, ok := check.WishingRequest(cfg, r, "")
		if r.Key() != claim.Subject || !ok || r.Retry == nil {
			continue
		}
		pool, _ := cfg.Pool(r.Pool)
		for _, code := range []int{500, 503} {
			for _, method := range []string{"GET", "POST"} {
				request, _ = check.WishingRequest(cfg, r, fmt.Sprintf("status=%d", code))
				request.Method = method
				want := check.Reply{Given: []int{code}, Backend: true, Arrives: [2]int{1, 1}}
				again := r.Retry.Attempts != 1 && len(pool.Servers) > 1 && r.Retry.On.HasStatus(code) && r.Retry.Repeats(method)
				kind := plan.KindFailures
				if again {
					kind = plan.KindErrors
					want.Arrives = [2]int{2, max(2, r.Retry.Attempts, len(pool.Servers))}
				}
				asked = append(asked, check.Question{Why: fmt.Sprintf("a backend answers a %s with %d", method, code), Kind: kind, Ask: request, Want: want})
			}
		}
		return asked, ""
	}
	return nil, ""
}
