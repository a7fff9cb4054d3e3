package nginx

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

func (r *reader) upstream(up item) error {
	pool := model.Pool{Pos: up.pos, Name: up.arg(0), Balance: roundRobin, WhenFull: model.SkipFullServers}
	block := r.block(up)
	for _, d := range block {
		switch name := d.Directive.Directive; name {
		case "server":
			server, err := r.upstreamServer(d)
			if err != nil {
				return err
			}
			pool.Servers = append(pool.Servers, server)
		case "zone":
			pool.SharedState = true
		case "least_conn", "ip_hash", "hash", "random", "least_time":
			pool.Balance = readBalance(d)
		case "sticky":
			pool.Sticky = readSticky(d)
		}
	}
	r.keepalive(&pool, block)
	r.unreadAll(block, inUpstream)
	r.upstreamProblems(pool, block)
	r.poolIndex[strings.ToLower(pool.Name)] = len(r.cfg.Pools)
	r.cfg.Pools = append(r.cfg.Pools, pool)
	return nil
}

func readSticky(d item) *model.Sticky {
	if d.arg(0) != "cookie" || len(d.Args) < 2 {
		return &model.Sticky{Pos: d.pos, Source: d.Args}
	}
	attributes := d.Args[2:]
	return &model.Sticky{
		Pos: d.pos, Cookie: d.arg(1), SetsCookie: true, Attributes: reading.CookieAttributes(attributes), Source: attributes,
	}
}

func (r *reader) keepalive(pool *model.Pool, block []item) {
	for _, d := range block {
		n, err := strconv.Atoi(d.arg(0))
		if pool.Keepalive == nil && d.Directive.Directive == "keepalive" && err == nil {
			pool.Keepalive = &model.Keepalive{Pos: d.pos, MaxIdle: n, MaxRequests: 1000, IdleTimeout: oneMinute}
		}
	}
	if pool.Keepalive == nil {
		return
	}
	for _, d := range block {
		switch d.Directive.Directive {
		case "keepalive_requests":
			if n, err := strconv.Atoi(d.arg(0)); err == nil {
				pool.Keepalive.MaxRequests = n
			}
		case "keepalive_timeout":
			if t, err := parseTime(d.arg(0)); err == nil {
				pool.Keepalive.IdleTimeout = t
			}
		}
	}
}

func (r *reader) upstreamServer(d item) (model.Server, error) {
	host, port, err := reading.SplitHostPort(d.arg(0), 80)
	if err != nil {
		return model.Server{}, fmt.Errorf("%s: server %q: %w", d.pos, d.arg(0), err)
	}
	s := model.Server{Pos: d.pos, Host: host, Port: port, Weight: 1, Ejection: &model.Ejection{
		Pos: d.pos, Implicit: true, Rule: model.FailuresInWindow, Failures: failures(alwaysFailed), MaxFails: 1,
		Window: defaultFailTimeout, Duration: defaultFailTimeout,
		EndedBy: model.EndedByTime, Action: model.ActionEject, Source: "max_fails=1 fail_timeout=10s",
	}}
	for _, arg := range d.rest() {
		if err := r.serverParameter(&s, d, arg); err != nil {
			return s, fmt.Errorf("%s: %w", d.pos, err)
		}
	}
	return s, nil
}

func (r *reader) serverParameter(s *model.Server, d item, arg string) error {
	key, value, _ := strings.Cut(arg, "=")
	number := func(least int) (int, error) {
		n, err := strconv.Atoi(value)
		if err != nil || n < least {
			return 0, fmt.Errorf("%s=%s: not a number of %d or more", key, value, least)
		}
		return n, nil
	}
	var err error
	switch key {
	case "weight":
		s.Weight, err = number(1)
	case "backup":
		s.Backup = true
	case "down":
		s.Down = true
	case "max_fails":
		s.Ejection.Implicit = false
		s.Ejection.MaxFails, err = number(0)
	case "fail_timeout":
		s.Ejection.Implicit = false
		s.Ejection.Window, err = parseTime(value)
		s.Ejection.Duration = s.Ejection.Window
	case "max_conns":
		var n int
		n, err = number(0)
		s.MaxConns = &model.Number{Pos: d.pos, Value: int64(n)}
	default:
		r.serverParameterProblem(d, key, arg)
	}
	return err
}

// serverParameters are the parameters of servers in an upstream.
var serverParameters = []string{
	"weight", "max_conns", "max_fails", "fail_timeout", "backup", "down", "resolve", "route", "service", "slow_start",
	"drain",
}

// serverParameterProblem reports parameters that not every nginx has.
func (r *reader) serverParameterProblem(d item, key, arg string) {
	known := map[string]model.Problem{
		"resolve": {
			Text:    "server … resolve: only in NGINX Plus before nginx 1.27.3",
			Instead: "a variable in proxy_pass, and resolver ADDRESS;",
			FixedIn: "1.27.3",
		},
		"service": {
			Text:    "server … service=: only in NGINX Plus before nginx 1.27.3",
			Instead: "one server line per server",
			FixedIn: "1.27.3",
		},
		"slow_start": {
			Text:    "server … slow_start=: only in NGINX Plus",
			Instead: "remove it; HAProxy has slowstart",
		},
		"drain": {
			Text:    "server … drain: only in NGINX Plus before nginx 1.29.6",
			Instead: "down",
			FixedIn: "1.29.6",
		},
		"route": {
			Text:    "server … route=: only in NGINX Plus before nginx 1.29.6",
			Instead: "hash $cookie_NAME consistent",
			FixedIn: "1.29.6",
		},
	}
	if p, ok := known[key]; ok {
		p.Pos, p.Effect = d.pos, model.Rejected
		r.problem(p)
		return
	}
	r.problem(model.Problem{
		Pos: d.pos, Effect: model.Rejected,
		Text: fmt.Sprintf("server … %s: unknown parameter%s", arg, reading.DidYouMean(key, serverParameters)),
	})
}

// canonicalPool returns the name of a pool as its upstream spells it: nginx ignores case in names of upstreams.
func (r *reader) canonicalPool(pool string) string {
	if i, ok := r.poolIndex[strings.ToLower(pool)]; ok {
		return r.cfg.Pools[i].Name
	}
	return pool
}

// finishPools completes the pools, and adds one for each proxy_pass to a host instead of an upstream.
func (r *reader) finishPools() error {
	for _, split := range r.cfg.Splits {
		for i := range split.Shares {
			split.Shares[i].Pool = r.canonicalPool(split.Shares[i].Pool)
		}
	}
	for i := range r.cfg.Routes {
		if err := r.addHostPool(&r.cfg.Routes[i]); err != nil {
			return err
		}
	}
	for i := range r.cfg.Pools {
		pool := &r.cfg.Pools[i]
		pool.Resolve = &model.Resolve{Pos: pool.Pos, Implicit: true, ServerPerAddress: true}
		if slices.ContainsFunc(r.tlsPools, func(name string) bool { return strings.EqualFold(name, pool.Name) }) {
			for n := range pool.Servers {
				pool.Servers[n].TLS = true
			}
		}
	}
	r.checkSplits()
	return nil
}

// addHostPool adds the pool of a route that proxies to a host; its port is 80 by default.
func (r *reader) addHostPool(route *model.Route) error {
	route.Pool = r.canonicalPool(route.Pool)
	if route.Pool == "" || strings.Contains(route.Pool, "$") {
		return nil
	}
	_, isPool := r.poolIndex[strings.ToLower(route.Pool)]
	_, isSplit := r.cfg.Split(route.Pool)
	if isPool || isSplit {
		return nil
	}
	host, port, err := reading.SplitHostPort(route.Pool, 80)
	if err != nil {
		return fmt.Errorf("%s: proxy_pass %q: %w", route.PoolPos, route.Pool, err)
	}
	if _, named := r.poolIndex[strings.ToLower(host)]; named && strings.Contains(route.Pool, ":") {
		r.problem(model.Problem{
			Pos: route.PoolPos, Effect: model.Rejected,
			Text: fmt.Sprintf("%s is an upstream, whose servers have their own ports: port %d is not allowed here",
				host, port),
			Instead: fmt.Sprintf("another upstream, with port %d on its servers", port),
		})
		route.Pool = ""
		return nil
	}
	r.poolIndex[strings.ToLower(route.Pool)] = len(r.cfg.Pools)
	r.cfg.Pools = append(r.cfg.Pools, model.Pool{
		Pos: route.PoolPos, Name: route.Pool, Balance: roundRobin,
		Servers: []model.Server{{Pos: route.PoolPos, Host: host, Port: port, Weight: 1}},
	})
	return nil
}

// checkSplits reports splits that no location proxies to.
func (r *reader) checkSplits() {
	for _, s := range r.cfg.Splits {
		if !slices.ContainsFunc(r.cfg.Routes, func(route model.Route) bool { return route.Pool == s.Name }) {
			r.problem(model.Problem{
				Pos: s.Pos, Effect: model.Inert,
				Text:    fmt.Sprintf("no proxy_pass uses %s: nothing is split", s.Name),
				Instead: "proxy_pass http://" + s.Name + ";",
			})
		}
	}
}
