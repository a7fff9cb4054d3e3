package nginx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// This file knows what nginx refuses, drops or does otherwise than it seems, and which directives promise nothing.

// upstreamProblems tells what in an upstream cannot work.
func (r *reader) upstreamProblems(pool model.Pool, block []item) {
	for _, name := range []string{"sticky", "least_time"} {
		for _, d := range pick(block, name) {
			p := foreignDirectives[name]
			p.Pos, p.Effect = d.pos, model.Rejected
			r.problem(p)
		}
	}
	if len(pool.Servers) == 0 {
		r.problem(model.Problem{
			Pos: pool.Pos, Effect: model.Rejected,
			Text:    fmt.Sprintf("the upstream %s has no servers", pool.Name),
			Instead: "server 127.0.0.1:1 down; keeps the file valid while there is none",
		})
		return
	}
	primaries := 0
	for _, s := range pool.Servers {
		if !s.Backup {
			primaries++
			continue
		}
		if word, _, _ := strings.Cut(pool.Balance.Source, " "); slices.Contains([]string{"ip_hash", "hash", "random"}, word) {
			r.problem(model.Problem{
				Pos: s.Pos, Effect: model.Rejected,
				Text:    fmt.Sprintf("backup cannot be had together with %s", word),
				Instead: "leave backup out, or balance by round robin or least_conn",
			})
		}
	}
	if primaries == 0 {
		r.problem(model.Problem{
			Pos: pool.Pos, Effect: model.Rejected,
			Text:    fmt.Sprintf("the upstream %s has only backup servers", pool.Name),
			Instead: "at least one server without backup",
		})
	}
}

// checkDuplicates tells of locations that a server block has twice.
func (r *reader) checkDuplicates(locations []item) {
	seen := map[string]model.Pos{}
	for _, l := range locations {
		key := strings.Join(l.Args, " ")
		if first, twice := seen[key]; twice {
			r.problem(model.Problem{
				Pos: l.pos, Effect: model.Rejected,
				Text:    fmt.Sprintf("the location %s stands already in line %d", key, first.Line),
				Instead: "one location with the directives of both",
			})
		}
		seen[key] = l.pos
	}
}

// locationProblems tells what in a location does otherwise than it seems.
func (r *reader) locationProblems(route model.Route, in scope) {
	own := in.innermost()
	if d, ok := in.directive("auth_request"); ok && d.arg(0) != "off" {
		r.authProblem(route, d)
	}
	if route.StaticResponse != nil || route.Redirect != nil {
		r.answerProblems(own)
	}
	r.checkCacheControl(route)
	if route.Pool != "" {
		r.limitProblems(route)
		r.proxyProblems(route, in)
	}
}

// checkCacheControl: expires and add_header bring a Cache-Control each.
func (r *reader) checkCacheControl(route model.Route) {
	others := func(h model.Header) bool { return !strings.EqualFold(h.Name, "Cache-Control") }
	headers := slices.DeleteFunc(slices.Clone(route.AddHeaders), others)
	for _, h := range headers {
		for _, other := range headers {
			if h.Pos.Line >= other.Pos.Line {
				continue
			}
			r.problem(model.Problem{
				Pos: other.Pos, Effect: model.Misleading,
				Text:    fmt.Sprintf("the response has two %s headers: the other is of line %d (expires)", h.Name, h.Pos.Line),
				Instead: fmt.Sprintf("one add_header Cache-Control %q; without expires", h.Value.Source+", "+other.Value.Source),
			})
		}
	}
}

// proxyProblems tells what on the way to the backends does otherwise than it seems.
func (r *reader) proxyProblems(route model.Route, in scope) {
	isSplit := slices.ContainsFunc(r.cfg.Splits, func(s model.Split) bool { return s.Name == route.Pool })
	if strings.Contains(route.Pool, "$") && !isSplit {
		if _, ok := in.directive("resolver"); !ok && r.maps[route.Pool].from == "" {
			r.problem(model.Problem{
				Pos: route.PoolPos, Effect: model.Misleading,
				Text: "a name in a variable is looked up for each request, and there is no resolver: " +
					"it works only for upstreams and addresses",
				Instead: "resolver ADDRESS;",
			})
		}
	}
	var kept *model.Keepalive
	if at, ok := r.poolIndex[strings.ToLower(route.Pool)]; ok {
		kept = r.cfg.Pools[at].Keepalive
	}
	keeps := in.hasValue("proxy_http_version", "1.1") && clearsConnection(route)
	if kept != nil && !keeps && route.Upgrade == nil {
		r.problem(model.Problem{
			Pos: kept.Pos, Effect: model.Inert, FixedIn: "1.29.7",
			Text: fmt.Sprintf("requests of %s go to the servers with HTTP/1.0 or Connection: close, "+
				"so that no connection is kept", route.Key()),
			Instead: `proxy_http_version 1.1; and proxy_set_header Connection ""; in the location`,
		})
	}
	if route.Upgrade != nil && route.Upgrade.Unconditional {
		r.problem(model.Problem{
			Pos: route.Upgrade.Pos, Effect: model.Misleading,
			Text: "requests that ask for no upgrade reach the backend with Connection: upgrade too, " +
				"and no connection to it is kept",
			Instead: `map $http_upgrade $connection_upgrade { default upgrade; "" ""; } and ` +
				`proxy_set_header Connection $connection_upgrade;`,
		})
	}
}

func clearsConnection(route model.Route) bool {
	return slices.ContainsFunc(route.SetHeaders,
		func(h model.Header) bool { return strings.EqualFold(h.Name, "Connection") && h.Value.IsEmpty() })
}

// answerProblems: return comes before the access phase, and brings a Content-Type of its own.
func (r *reader) answerProblems(own []item) {
	if len(pick(own, "return")) == 0 {
		return
	}
	for _, d := range pick(own, "allow", "deny", "limit_req", "limit_conn", "auth_basic", "auth_request") {
		r.problem(model.Problem{
			Pos: d.pos, Effect: model.Inert,
			Text:    fmt.Sprintf("return answers before %s is looked at", d.Directive.Directive),
			Instead: "proxy_pass, or a file, instead of return",
		})
	}
	for _, d := range pick(own, "add_header") {
		if strings.EqualFold(d.arg(0), "Content-Type") {
			r.problem(model.Problem{
				Pos: d.pos, Effect: model.Misleading,
				Text:    "the answer has two Content-Type headers: return brings its own",
				Instead: "default_type " + d.arg(1) + ";",
			})
		}
	}
}

// authProblem: auth_request turns every status but 2xx, 401 and 403 into 500.
func (r *reader) authProblem(route model.Route, d item) {
	for _, f := range route.ErrorPages {
		if !slices.Contains(f.Codes, 500) {
			r.problem(model.Problem{
				Pos: f.Pos, Effect: model.Misleading,
				Text: fmt.Sprintf("auth_request (line %d) makes 500 of any status but 2xx, 401 and 403, "+
					"and this error_page does not cover 500", d.pos.Line),
				Instead: "error_page 500 502 503 504 …",
			})
		}
	}
}

// limitProblems: of two limits on the same location, one may always be reached first.
func (r *reader) limitProblems(route model.Route) {
	for _, l := range route.Limits {
		if reading.IsForgeable(l.Key.Source) {
			r.problem(model.Problem{
				Pos: l.Pos, Effect: model.Misleading,
				Text: fmt.Sprintf("clients choose the key themselves (%s): "+
					"whoever sends another value each time is not limited", l.Key),
				Instead: "$binary_remote_addr, with set_real_ip_from and real_ip_header behind a trusted proxy",
			})
		}
	}
	for _, rate := range route.Limits {
		for _, conn := range route.Limits {
			together := rate.Algorithm == model.LeakyBucket && conn.Algorithm == model.InFlight
			if !together || rate.Key != conn.Key || rate.Delay != -1 {
				continue
			}
			if rate.Burst+1 > conn.MaxInFlight {
				r.problem(model.Problem{
					Pos: rate.Pos, Effect: model.Misleading,
					Text: fmt.Sprintf("a burst of %d at once is never let in whole: "+
						"limit_conn (line %d) takes %d at a time and is reached first", rate.Burst+1, conn.Pos.Line, conn.MaxInFlight),
					Instead: fmt.Sprintf("limit_conn %s %d; or burst=%d", conn.Name, rate.Burst+1, conn.MaxInFlight-1),
				})
			}
		}
	}
}

// siteProblems tells what a whole server block does otherwise than it seems.
func (r *reader) siteProblems(server item, s site) {
	r.checkLostHeaders(server, s)
	plain, tls := 0, false
	for _, l := range s.listens {
		if l.TLS {
			tls = true
		} else {
			plain = l.Port
		}
	}
	_, returns := s.directive("return")
	inClear := plain != 0 && tls && !returns
	for _, d := range s.directives("add_header") {
		if strings.EqualFold(d.arg(0), "Strict-Transport-Security") && inClear {
			r.problem(model.Problem{
				Pos: d.pos, Effect: model.Misleading,
				Text: fmt.Sprintf("port %d serves the same site in clear, where browsers ignore this header, "+
					"and nothing redirects to https", plain),
				Instead: fmt.Sprintf("a server of its own for port %d with return 301 https://$host$request_uri;", plain),
			})
		}
	}
}

// checkLostHeaders: a location's own add_header or proxy_set_header puts all outer ones out of force.
func (r *reader) checkLostHeaders(server item, s site) {
	var walk func(locations []item, outer scope)
	walk = func(locations []item, outer scope) {
		for _, l := range locations {
			in := outer.nested(r.block(l))
			for _, name := range []string{"add_header", "proxy_set_header"} {
				own := pick(in.innermost(), name)
				lost := unrepeated(in.overridden(name), own)
				if len(own) == 0 || len(lost) == 0 {
					continue
				}
				var names []string
				for _, d := range lost {
					names = append(names, fmt.Sprintf("%s (line %d)", d.arg(0), d.pos.Line))
				}
				r.problem(model.Problem{
					Pos: own[0].pos, Effect: model.Dropped,
					Text: fmt.Sprintf("this %s puts the outer ones out of force for %s: %s",
						name, strings.Join(l.Args, " "), strings.Join(names, ", ")),
					Instead: "repeat them in this location",
				})
			}
			walk(pick(r.block(l), "location"), in)
		}
	}
	walk(pick(r.block(server), "location"), s.scope)
}

// unrepeated are the lost directives whose first argument no own one sets again.
func unrepeated(lost, own []item) []item {
	return slices.DeleteFunc(slices.Clone(lost), func(d item) bool {
		return slices.ContainsFunc(own, func(o item) bool { return strings.EqualFold(o.arg(0), d.arg(0)) })
	})
}
