package failover

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Retries = check.Check{
	Name: plan.CheckRetries,
	Doc:  "A request that failed is sent again, as often, to whom and for which methods the configuration says.",
	Law: "while a server refuses connections: where requests go elsewhere, one that fails refutes; where they do " +
		"not, as many fail as are meant for it until its death is known, within the Poisson law at both ends of that " +
		"interval; with HAProxy how long requests wait, and how many attempts there are where all servers are dead, " +
		"tells how often they are tried; with Traefik those that met a dead server wait for half of initialInterval " +
		"at least, and half of those that met it once no longer than it, within the binomial law",
	Evidence:     check.Evidence{Subrequests: check.Always},
	Claims:       retryClaims,
	Requirements: retryRequirements,
	Judge:        judgeRetriesAndProbes,
}

// retryGroups are the promises on repetition, each with the routes that share it.
func retryGroups(cfg model.Config) []check.Group[*model.Retry] {
	byName := map[string]model.Pool{}
	for _, p := range cfg.Pools {
		byName[p.Name] = p
	}
	return check.GroupRoutes(cfg, func(r model.Route) []*model.Retry {
		if r.Retry == nil || r.Pool == "" {
			return nil
		}
		pool, known := byName[r.Pool]
		byDefault := r.Retry.Implicit && r.Retry.Attempts == model.Unlimited
		if byDefault && known && len(pool.Servers) < 2 {
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

// retryGroup is the promise that a claim is about.
func retryGroup(cfg model.Config, claim plan.Claim) (g check.Group[*model.Retry], ok bool) {
	groups := retryGroups(cfg)
	i := slices.IndexFunc(groups, func(g check.Group[*model.Retry]) bool { return g.Subject() == claim.Subject })
	if i < 0 {
		return g, false
	}
	return groups[i], true
}

func retryClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, g := range retryGroups(cfg) {
		claims = append(claims, plan.Claim{
			ID:    check.ClaimID(plan.CheckRetries, g.Subject(), ""),
			Check: plan.CheckRetries, Subject: g.Subject(), Pos: g.What.Pos, Implicit: g.What.Implicit,
			Params: plan.Params{plan.ParamAttempts: plan.LimitAmount(max(0, int64(g.What.Attempts)))},
			Text:   retryText(g) + nextText(cfg, g) + methodsText(g.What),
		})
	}
	return claims
}

func retryText(g check.Group[*model.Retry]) string {
	t := g.What
	if t.Attempts == 1 {
		return fmt.Sprintf("A request to %s is sent once: what fails on its way to the server, fails for the client.",
			g.Paths())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "A request to %s that fails (%s) is sent again", g.Paths(), t.Failures.Source)
	switch {
	case t.Attempts == model.Unlimited:
		b.WriteString(", until every server was tried")
	default:
		fmt.Fprintf(&b, ", up to %s in all", units.Plural(t.Attempts, "attempt"))
	}
	if t.Delay > 0 {
		fmt.Fprintf(&b, ", %s apart at first", units.Duration(t.Delay))
	}
	if t.Timeout > 0 {
		fmt.Fprintf(&b, ", none later than %s", units.Duration(t.Timeout))
	}
	return b.String()
}

// nextText goes on with where the next attempt goes.
func nextText(cfg model.Config, g check.Group[*model.Retry]) string {
	switch {
	case g.What.Attempts == 1:
		return ""
	case g.What.Next == model.NextInRotation:
		return ", to the server whose turn it is then, which may be the dead one again"
	case g.What.MayChangeServer():
		return ", to another server"
	case rehashesToSame(cfg, g):
		return ", to the same server, which the hash chooses again: while it is dead and not yet found so, its " +
			"clients get 503"
	}
	return ", to the same server (no redispatch): while it is dead and not yet found so, its clients get 503"
}

// methodsText ends the sentence with which methods are sent again.
func methodsText(t *model.Retry) string {
	switch {
	case t.Attempts == 1:
		return ""
	case t.Methods == model.AllMethods && t.Failures.CoversSentRequests():
		return "; POST too, even after the server has seen it: it may be carried out twice."
	case t.Methods == model.IdempotentMethods:
		return "; POST, LOCK and PATCH only where they had not been sent."
	}
	return "."
}

// rehashesToSame says whether a hash chooses the servers of all pools, so that a request goes to the same one again.
func rehashesToSame(cfg model.Config, g check.Group[*model.Retry]) bool {
	for _, name := range poolsOf(g.Routes) {
		if pool, ok := cfg.Pool(name); !ok || pool.Balance.Hash == nil {
			return false
		}
	}
	return true
}

// retriesElsewhere says whether a request whose server refuses the connection is sent to another one for certain.
func retriesElsewhere(t *model.Retry) bool {
	another := t.Next == model.NextOther || t.Next == model.NextOtherOnLast
	return another && t.Attempts != 1 && t.Failures.HasCause(model.CauseConnect)
}

// isPoolOrSplit says whether a name is that of a pool or a split of the configuration.
func isPoolOrSplit(cfg model.Config, name string) bool {
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

func retryRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	g, ok := retryGroup(cfg, claim)
	if !ok {
		return nil
	}
	all := check.ProbeRequirements(retryProbes, cfg, claim)
	for _, name := range poolsOf(g.Routes) { // one of them shows it
		deadly := outageRequirements(cfg, name, "what clients meet while a server is dead", func(model.Server) bool { return true })
		if len(deadly) > 0 {
			all = append(deadly, all...)
			break
		}
	}
	if in, ok := poolToExhaust(cfg, g); ok {
		all = append(all, allDownRequirements(cfg, in, "how often a request is tried while all servers are dead")...)
	}
	return all
}

// poolToExhaust is the pool that tells best how often requests are tried: one whose servers die for the sake of their
// backups anyway, or else the first whose requests do not wait between two attempts.
func poolToExhaust(cfg model.Config, g check.Group[*model.Retry]) (name string, ok bool) {
	if !g.What.KeepsServer() || g.What.Attempts == model.Unlimited {
		return "", false
	}
	for _, one := range poolsOf(g.Routes) {
		pool, known := cfg.Pool(one)
		if !known || pool.Balance.Hash != nil || ejectsServers(pool) {
			continue
		}
		primaries := len(check.Rotation(pool))
		if primaries < 2 {
			continue
		}
		if primaries < len(pool.Servers) {
			return one, true
		}
		if _, waits := newFixedWaits(g.What, pool); name == "" && !waits {
			name = one
		}
	}
	return name, name != ""
}

// retryProbes have backends answer with errors, and count at how many the request arrives.
func retryProbes(cfg model.Config, claim plan.Claim) (asked []check.Probe, cannot string) {
	for _, r := range cfg.Routes {
		if _, ok := check.RequestWithSpec(cfg, r, ""); r.Key() != claim.Subject || !ok || r.Retry == nil {
			continue
		}
		for _, code := range []int{500, 503} {
			for _, method := range []string{"GET", "POST"} {
				asked = append(asked, errorProbe(cfg, r, method, code))
			}
		}
		return asked, ""
	}
	return nil, ""
}

// errorProbe has a backend answer a route's request with an error.
func errorProbe(cfg model.Config, r model.Route, method string, code int) check.Probe {
	pool, _ := cfg.Pool(r.Pool)
	request, _ := check.RequestWithSpec(cfg, r, fmt.Sprintf("status=%d", code))
	request.Method = method
	q := check.Probe{
		Case: fmt.Sprintf("a backend answers a %s with %d", method, code), Kind: plan.KindFailures, Request: request,
		Want: check.Want{OnlyIfCodes: []int{code}, OnlyIfBackend: true, Arrivals: [2]int{1, 1}},
	}
	another := r.Retry.Attempts != 1 && len(pool.Servers) > 1
	if another && r.Retry.Failures.HasStatus(code) && r.Retry.RetriesMethod(method) {
		q.Kind = plan.KindErrors
		q.Want.Arrivals = [2]int{2, max(2, r.Retry.Attempts, len(pool.Servers))}
	}
	return q
}
