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
	Doc:  "Failed requests are retried as configured: how often, on which servers, for which methods.",
	Law: "while a server refuses connections: if requests are retried elsewhere, one that fails refutes; if not, the " +
		"server's share of the requests until its outage is detected fails, within the Poisson law at both ends of " +
		"that interval; HAProxy: the time that requests wait, and the attempts while all servers are down, show the " +
		"number of attempts; Traefik: requests with a failed attempt wait at least half of initialInterval, and half " +
		"of those with one failed attempt at most initialInterval, within the binomial law",
	Evidence:     check.Evidence{Subrequests: check.Always},
	Claims:       retryClaims,
	Requirements: retryRequirements,
	Judge:        judgeRetriesAndProbes,
}

// retryGroups returns the retry settings, each with the routes that share it.
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
			return nil // there is no other server
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

// retryGroup returns the retry setting of a claim.
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
			Text:   retryText(cfg, g),
		})
	}
	return claims
}

// retryText returns the claim about a retry setting.
func retryText(cfg model.Config, g check.Group[*model.Retry]) string {
	t := g.What
	if t.Attempts == 1 {
		return fmt.Sprintf("A request to %s is not retried: a failed attempt fails for the client.", g.Paths())
	}
	var b strings.Builder
	where, consequence := retryTarget(cfg, g)
	fmt.Fprintf(&b, "A failed request to %s (%s) is retried on %s", g.Paths(), t.Failures.Source, where)
	switch {
	case t.Attempts == model.Unlimited:
		b.WriteString(" until every server was tried")
	default:
		fmt.Fprintf(&b, ", up to %s in total", units.Plural(t.Attempts, "attempt"))
	}
	if t.Delay > 0 {
		fmt.Fprintf(&b, ", initially %s apart", units.Duration(t.Delay))
	}
	if t.Timeout > 0 {
		fmt.Fprintf(&b, ", none after %s", units.Duration(t.Timeout))
	}
	return b.String() + consequence + methodsText(t)
}

// retryTarget names the server of the next attempt, and what that means for clients.
func retryTarget(cfg model.Config, g check.Group[*model.Retry]) (where, consequence string) {
	const failing = "; while it is down and not yet out of rotation, its clients get 503"
	switch {
	case g.What.Next == model.NextInRotation:
		return "the next server in rotation, which may be the failed one again", ""
	case g.What.MayChangeServer():
		return "another server", ""
	case rehashesToSame(cfg, g):
		return "the same server (selected by the hash)", failing
	}
	return "the same server (no redispatch)", failing
}

// methodsText ends the claim with the methods that are retried.
func methodsText(t *model.Retry) string {
	switch {
	case t.Methods == model.AllMethods && t.Failures.CoversSentRequests():
		return "; POST as well, even after the server has seen it: it may be executed twice."
	case t.Methods == model.IdempotentMethods:
		return "; POST, LOCK and PATCH only if not yet sent."
	}
	return "."
}

// rehashesToSame reports whether all pools hash, so that a retry goes to the same server.
func rehashesToSame(cfg model.Config, g check.Group[*model.Retry]) bool {
	for _, name := range poolsOf(g.Routes) {
		if pool, ok := cfg.Pool(name); !ok || pool.Balance.Hash == nil {
			return false
		}
	}
	return true
}

// retriesElsewhere reports whether a request whose connection is refused is certainly retried on another server.
func retriesElsewhere(t *model.Retry) bool {
	another := t.Next == model.NextOther || t.Next == model.NextOtherOnLast
	return another && t.Attempts != 1 && t.Failures.HasCause(model.CauseConnect)
}

// isPoolOrSplit reports whether the configuration has a pool or split of that name.
func isPoolOrSplit(cfg model.Config, name string) bool {
	_, pool := cfg.Pool(name)
	_, split := cfg.Split(name)
	return pool || split
}

// poolsOf returns the pools of routes, each once.
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
	for _, name := range poolsOf(g.Routes) { // one pool is enough
		anyServer := func(model.Server) bool { return true }
		outageReqs := outageRequirements(cfg, name, "failed requests while a server is down", anyServer)
		if len(outageReqs) > 0 {
			all = append(outageReqs, all...)
			break
		}
	}
	if in, ok := poolToExhaust(cfg, g); ok {
		all = append(all, allDownRequirements(cfg, in, "a wrong number of attempts while all servers are down")...)
	}
	return all
}

// poolToExhaust returns the pool that shows the number of attempts best: one with backups, whose primary servers go
// down anyway, or the first whose requests do not wait between attempts.
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

// retryProbes requests error responses from backends; the arrivals of each request show whether it was retried.
func retryProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	for _, r := range cfg.Routes {
		if _, ok := check.RequestWithSpec(cfg, r, ""); r.Key() != claim.Subject || !ok || r.Retry == nil {
			continue
		}
		for _, code := range []int{500, 503} {
			for _, method := range []string{"GET", "POST"} {
				probes = append(probes, errorProbe(cfg, r, method, code))
			}
		}
		return probes, ""
	}
	return nil, ""
}

// errorProbe requests an error response from a backend.
func errorProbe(cfg model.Config, r model.Route, method string, code int) check.Probe {
	pool, _ := cfg.Pool(r.Pool)
	request, _ := check.RequestWithSpec(cfg, r, fmt.Sprintf("status=%d", code))
	request.Method = method
	q := check.Probe{
		Case: fmt.Sprintf("a backend responds to %s with %d", method, code), Kind: plan.KindFailures, Request: request,
		Want: check.Want{OnlyIfCodes: []int{code}, OnlyIfBackend: true, Arrivals: [2]int{1, 1}},
	}
	another := r.Retry.Attempts != 1 && len(pool.Servers) > 1
	if another && r.Retry.Failures.HasStatus(code) && r.Retry.RetriesMethod(method) {
		q.Kind = plan.KindErrors
		q.Want.Arrivals = [2]int{2, max(2, r.Retry.Attempts, len(pool.Servers))}
	}
	return q
}
