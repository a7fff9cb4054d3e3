package nginx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// This file knows what nginx rejects, drops or does differently than it appears.

// upstreamProblems reports what cannot work in an upstream.
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
			Text:    fmt.Sprintf("upstream %s has no servers", pool.Name),
			Instead: "server 127.0.0.1:1 down; as a placeholder until there is one",
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
				Text:    fmt.Sprintf("backup cannot be combined with %s", word),
				Instead: "remove backup, or use round robin or least_conn",
			})
		}
	}
	if primaries == 0 {
		r.problem(model.Problem{
			Pos: pool.Pos, Effect: model.Rejected,
			Text:    fmt.Sprintf("upstream %s has only backup servers", pool.Name),
			Instead: "at least one server without backup",
		})
	}
}

// checkDuplicates reports locations that a server block has twice.
func (r *reader) checkDuplicates(locations []item) {
	seen := map[string]model.Pos{}
	for _, l := range locations {
		key := strings.Join(l.Args, " ")
		if first, twice := seen[key]; twice {
			r.problem(model.Problem{
				Pos: l.pos, Effect: model.Rejected,
				Text:    fmt.Sprintf("duplicate location %s (first in line %d)", key, first.Line),
				Instead: "one location with the directives of both",
			})
		}
		seen[key] = l.pos
	}
}

// locationProblems reports what a location does differently than it appears.
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

// checkCacheControl reports expires beside add_header Cache-Control: each adds a header.
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
				Text:    fmt.Sprintf("responses have two %s headers: expires (line %d) adds one too", h.Name, h.Pos.Line),
				Instead: fmt.Sprintf("one add_header Cache-Control %q; and no expires", h.Value.Source+", "+other.Value.Source),
			})
		}
	}
}

// proxyProblems reports what proxying does differently than it appears.
func (r *reader) proxyProblems(route model.Route, in scope) {
	isSplit := slices.ContainsFunc(r.cfg.Splits, func(s model.Split) bool { return s.Name == route.Pool })
	if strings.Contains(route.Pool, "$") && !isSplit {
		if _, ok := in.directive("resolver"); !ok && r.maps[route.Pool].from == "" {
			r.problem(model.Problem{
				Pos: route.PoolPos, Effect: model.Misleading,
				Text: "a name in a variable is resolved for each request, but there is no resolver: " +
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
			Text: fmt.Sprintf("requests to %s are sent with HTTP/1.0 or Connection: close, "+
				"so that no connection is kept open", route.Key()),
			Instead: `proxy_http_version 1.1; and proxy_set_header Connection ""; in the location`,
		})
	}
	if route.Upgrade != nil && route.Upgrade.Unconditional {
		r.problem(model.Problem{
			Pos: route.Upgrade.Pos, Effect: model.Misleading,
			Text: "requests without an upgrade reach the backend with Connection: upgrade too, " +
				"and no connection to it is kept open",
			Instead: `map $http_upgrade $connection_upgrade { default upgrade; "" ""; } and ` +
				`proxy_set_header Connection $connection_upgrade;`,
		})
	}
}

func clearsConnection(route model.Route) bool {
	return slices.ContainsFunc(route.SetHeaders,
		func(h model.Header) bool { return strings.EqualFold(h.Name, "Connection") && h.Value.IsEmpty() })
}

// answerProblems reports that return runs before the access phase, and sets its own Content-Type.
func (r *reader) answerProblems(own []item) {
	if len(pick(own, "return")) == 0 {
		return
	}
	for _, d := range pick(own, "allow", "deny", "limit_req", "limit_conn", "auth_basic", "auth_request") {
		r.problem(model.Problem{
			Pos: d.pos, Effect: model.Inert,
			Text:    fmt.Sprintf("return responds before %s is evaluated", d.Directive.Directive),
			Instead: "proxy_pass or a file instead of return",
		})
	}
	for _, d := range pick(own, "add_header") {
		if strings.EqualFold(d.arg(0), "Content-Type") {
			r.problem(model.Problem{
				Pos: d.pos, Effect: model.Misleading,
				Text:    "responses have two Content-Type headers: return sets its own",
				Instead: "default_type " + d.arg(1) + ";",
			})
		}
	}
}

// authProblem reports an error_page without 500 behind auth_request.
func (r *reader) authProblem(route model.Route, d item) {
	for _, f := range route.ErrorPages {
		if !slices.Contains(f.Codes, 500) {
			r.problem(model.Problem{
				Pos: f.Pos, Effect: model.Misleading,
				Text: fmt.Sprintf("auth_request (line %d) turns every status except 2xx, 401 and 403 into 500, "+
					"and this error_page does not cover 500", d.pos.Line),
				Instead: "error_page 500 502 503 504 …",
			})
		}
	}
}

// limitProblems reports limits with a forgeable key, and limits that another one always pre-empts.
func (r *reader) limitProblems(route model.Route) {
	for _, l := range route.Limits {
		if reading.IsForgeable(l.Key.Source) {
			r.problem(model.Problem{
				Pos: l.Pos, Effect: model.Misleading,
				Text: fmt.Sprintf("clients choose the key themselves (%s): "+
					"a client that changes it with each request is not limited", l.Key),
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
					Text: fmt.Sprintf("a burst of %d requests is never admitted in full: "+
						"limit_conn (line %d) is reached first, at %d in flight", rate.Burst+1, conn.Pos.Line, conn.MaxInFlight),
					Instead: fmt.Sprintf("limit_conn %s %d; or burst=%d", conn.Name, rate.Burst+1, conn.MaxInFlight-1),
				})
			}
		}
	}
}

// siteProblems reports what a server block does differently than it appears.
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
				Text: fmt.Sprintf("port %d serves the same site without TLS, where browsers ignore this header, "+
					"and nothing redirects to https", plain),
				Instead: fmt.Sprintf("a separate server for port %d with return 301 https://$host$request_uri;", plain),
			})
		}
	}
}

// checkLostHeaders reports an add_header or proxy_set_header in a location, which overrides all outer ones.
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
					Text: fmt.Sprintf("this %s overrides all outer ones in location %s: %s",
						name, strings.Join(l.Args, " "), strings.Join(names, ", ")),
					Instead: "repeat them in this location",
				})
			}
			walk(pick(r.block(l), "location"), in)
		}
	}
	walk(pick(r.block(server), "location"), s.scope)
}

// unrepeated returns the lost directives that are not repeated in the location.
func unrepeated(lost, own []item) []item {
	return slices.DeleteFunc(slices.Clone(lost), func(d item) bool {
		return slices.ContainsFunc(own, func(o item) bool { return strings.EqualFold(o.arg(0), d.arg(0)) })
	})
}
