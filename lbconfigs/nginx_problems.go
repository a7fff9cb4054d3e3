package lbconfigs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/nginxinc/nginx-go-crossplane"

	"github.com/lbproof/lbproof/internal/model"
)

// This file knows what nginx refuses, drops or does otherwise than it seems, and which directives promise nothing.

// Why a directive promises nothing that traffic could show.
const (
	whyLog     = "says what is written down, not what is answered"
	whySpeed   = "changes speed and memory, not what is answered"
	whyFiles   = "where the balancer keeps its files"
	whyForm    = "read together with the lines that use it"
	whyLimits  = "a limit of the machine: the balancer's own start tells whether it holds"
	whyUnread  = "lbproof draws no promise from this directive"
	whyLua     = "a program: lbproof cannot say what it promises"
	whyTowards = "TLS towards the backends is spoken, and not judged"
	whyAnswer  = "the content of answers is not judged"
)

// nginxSilent are directives without a promise of their own, and why. What the reader understands has an empty reason.
var nginxSilent = map[string]string{
	"worker_processes": "", "daemon": "", "http": "", "events": "", "include": "", "upstream": "", "server": "", "location": "", "listen": "",
	"server_name": "", "limit_req_zone": "", "limit_conn_zone": "", "limit_req": "", "limit_conn": "", "limit_req_status": "",
	"limit_conn_status": "", "limit_req_dry_run": "", "limit_conn_dry_run": "", "proxy_pass": "", "proxy_set_header": "", "add_header": "", "expires": "", "return": "", "rewrite": "",
	"stub_status": "", "alias": "", "root": "", "if": "", "allow": "", "deny": "", "auth_request": "", "auth_basic": "", "error_page": "", "internal": "",
	"client_max_body_size": "", "proxy_connect_timeout": "", "proxy_send_timeout": "", "proxy_read_timeout": "", "keepalive_timeout": "",
	"proxy_next_upstream": "", "proxy_next_upstream_tries": "", "proxy_next_upstream_timeout": "", "gzip": "", "gzip_vary": "", "gzip_min_length": "", "gzip_types": "",
	"ssl_protocols": "", "ssl_ciphers": "", "ssl_certificate": "", "ssl_certificate_key": "", "ssl_session_cache": "", "ssl_session_tickets": "",
	"zone": "", "least_conn": "", "ip_hash": "", "hash": "", "random": "", "least_time": "", "sticky": "", "keepalive": "", "keepalive_requests": "",
	"proxy_ssl_trusted_certificate": whyTowards, "proxy_ssl_verify": whyTowards, "proxy_ssl_name": whyTowards, "proxy_ssl_server_name": whyTowards, "proxy_ssl_verify_depth": whyTowards,
	"proxy_ssl_session_reuse": whySpeed,
	"map":                     "", "mirror": "", "split_clients": "", "proxy_http_version": "", "http2": "", "proxy_intercept_errors": "",

	"user": whyFiles, "pid": whyFiles, "error_log": whyLog, "access_log": "", "log_format": "", "log_not_found": whyLog,
	"worker_rlimit_nofile": whyLimits, "worker_connections": whyLimits, "use": whySpeed, "multi_accept": whySpeed, "accept_mutex": whySpeed,
	"sendfile": whySpeed, "tcp_nopush": whySpeed, "tcp_nodelay": whySpeed, "types_hash_max_size": whySpeed, "types_hash_bucket_size": whySpeed,
	"server_names_hash_bucket_size": whySpeed, "server_names_hash_max_size": whySpeed, "worker_cpu_affinity": whySpeed, "worker_priority": whySpeed,
	"proxy_buffering": whySpeed, "proxy_buffer_size": whySpeed, "proxy_buffers": whySpeed, "proxy_busy_buffers_size": whySpeed,
	"proxy_temp_file_write_size": whySpeed, "proxy_request_buffering": whySpeed, "client_body_buffer_size": whySpeed,
	"gzip_comp_level": whySpeed, "gzip_proxied": whyForm, "ssl_session_timeout": whyForm, "ssl_prefer_server_ciphers": whyForm,
	"default_type": whyAnswer, "index": whyForm, "try_files": whyForm, "auth_basic_user_file": whyForm, "load_module": whyForm, "types": whyAnswer, "server_tokens": whyAnswer, "proxy_pass_request_body": whyForm, "resolver": whyForm, "set": whyForm,
	"proxy_cache_bypass": "there is no proxy_cache that it could bypass", "proxy_no_cache": "there is no proxy_cache that it could keep from",
}

// unreadAll lists the directives of a block that carry no claim, what stands in the wrong kind of block, and what nginx does
// not know.
func (r *nginxReader) unreadAll(block []item, kind uint) {
	for _, d := range block {
		if where, ok := contexts(d.Directive.Directive, kind); !ok {
			name := d.Directive.Directive
			r.problem(model.Problem{
				Pos: d.pos, Effect: model.Rejected, Text: fmt.Sprintf("the directive %s is not allowed in this block", name),
				Instead: fmt.Sprintf("%s belongs in %s%s", name, where, misplacedHints[name]),
			})
		}
		name := d.Directive.Directive
		why, known := nginxSilent[name]
		if name == "auth_basic_user_file" {
			r.takeAlong(d)
		}
		switch {
		case known && why == "":
			continue
		case strings.Contains(name, "_by_lua"):
			why = whyLua
			if strings.HasSuffix(name, "_by_lua_file") {
				r.takeAlong(d)
			}
		case !known:
			r.unknown(d)
			why = whyUnread
		}
		r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: d.pos, Text: firstLine(d.text()), Why: why})
	}
}

func firstLine(text string) string {
	line, rest, more := strings.Cut(text, "\n")
	if more && strings.TrimSpace(rest) != "" {
		line += " …"
	}
	return line
}

// nginxForeign are directives of other builds, with what to write instead.
var nginxForeign = map[string]model.Problem{
	"check":                   {Text: "check is a directive of Tengine and nginx_upstream_check_module: nginx has no active health checks", Instead: "max_fails and fail_timeout on the servers, which count failed requests; or HAProxy's option httpchk"},
	"check_http_send":         {Text: "check_http_send is a directive of Tengine and nginx_upstream_check_module", Instead: "leave it out"},
	"check_http_expect_alive": {Text: "check_http_expect_alive is a directive of Tengine and nginx_upstream_check_module", Instead: "leave it out"},
	"sticky":                  {Text: "sticky is NGINX Plus's before nginx 1.29.6", Instead: "hash $cookie_NAME consistent; which pins clients by a cookie that they bring", Until: "1.29.6"},
	"least_time":              {Text: "least_time is NGINX Plus's before nginx 1.31.0", Instead: "least_conn; or random two least_conn;", Until: "1.31.0"},
	"health_check":            {Text: "health_check is NGINX Plus's", Instead: "max_fails and fail_timeout on the servers, which count failed requests"},
	"queue":                   {Text: "queue is NGINX Plus's", Instead: "leave it out: a request beyond max_conns of every server gets 502"},
}

// quantifier is what is left of a regular expression whose brace opened a block.
var quantifier = regexp.MustCompile(`^\d*,?\d*$`)

// unknown tells of a directive that nginx itself does not have.
func (r *nginxReader) unknown(d item) {
	name := d.Directive.Directive
	if _, known := crossplane.MatchOssLatest(name); known {
		return
	}
	if quantifier.MatchString(name) {
		r.problem(model.Problem{
			Pos: d.pos, Effect: model.Rejected,
			Text:    "a regular expression with braces must be quoted: nginx takes the brace for the beginning of the block",
			Instead: `location ~ "^/v[0-9]{1,2}/" { … }`,
		})
		return
	}
	if n := len(r.cfg.Problems); n > 0 && r.cfg.Problems[n-1].Pos == d.pos {
		return // what follows from the first mistake of a line
	}
	p := model.Problem{Pos: d.pos, Effect: model.Rejected, Text: fmt.Sprintf("nginx has no directive %s", name)}
	if foreign, ok := nginxForeign[name]; ok {
		p.Text, p.Instead = foreign.Text, foreign.Instead
	} else if _, plus := crossplane.MatchNginxPlusLatest(name); plus {
		p.Text = name + " is NGINX Plus's"
	} else if _, lua := crossplane.MatchLuaLatest(name); lua {
		p.Text = name + " needs the Lua module, which stock nginx has not"
		p.Instead = "OpenResty, or load_module with the Lua module"
		if r.loads("lua") {
			return
		}
	} else if len(r.cfg.Files) > 0 && r.loads("") {
		return // one of the loaded modules may have it
	}
	r.problem(p)
}

// loads says whether the configuration loads a module whose file has the text in its name.
func (r *nginxReader) loads(text string) bool {
	for _, d := range r.items(r.payload.Config[0].File, r.payload.Config[0].Parsed) {
		if d.Directive.Directive == "load_module" && strings.Contains(d.arg(0), text) {
			return true
		}
	}
	return false
}

// upstreamProblems tells what in an upstream cannot work.
func (r *nginxReader) upstreamProblems(pool model.Pool, block []item) {
	for _, name := range []string{"sticky", "least_time"} {
		for _, d := range pick(block, name) {
			p := nginxForeign[name]
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
		if word, _, _ := strings.Cut(pool.Method, " "); slices.Contains([]string{"ip_hash", "hash", "random"}, word) {
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

// duplicates tells of locations that a server block has twice.
func (r *nginxReader) duplicates(locations []item) {
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
func (r *nginxReader) locationProblems(route model.Route, in scope) {
	own := in.own()
	if d, ok := in.one("auth_request"); ok && d.arg(0) != "off" {
		r.authProblem(route, d)
	}
	if route.Answer != nil || route.Redirect != nil {
		r.answerProblems(own)
	}
	for _, h := range route.AddHeaders {
		for _, other := range route.AddHeaders {
			if strings.EqualFold(h.Name, other.Name) && strings.EqualFold(h.Name, "Cache-Control") && h.Pos.Line < other.Pos.Line {
				r.problem(model.Problem{
					Pos: other.Pos, Effect: model.Differs,
					Text:    fmt.Sprintf("the response has two %s headers: the other is of line %d (expires)", h.Name, h.Pos.Line),
					Instead: fmt.Sprintf("one add_header Cache-Control %q; without expires", h.Value+", "+other.Value),
				})
			}
		}
	}
	if route.Pool != "" {
		r.limitProblems(route)
		r.proxyProblems(route, in)
	}
}

// proxyProblems tells what on the way to the backends does otherwise than it seems.
func (r *nginxReader) proxyProblems(route model.Route, in scope) {
	if strings.Contains(route.Pool, "$") && !slices.ContainsFunc(r.cfg.Splits, func(s model.Split) bool { return s.Name == route.Pool }) {
		if _, ok := in.one("resolver"); !ok && r.maps[route.Pool].from == "" {
			r.problem(model.Problem{
				Pos: route.PoolPos, Effect: model.Differs,
				Text:    "a name in a variable is looked up for each request, and there is no resolver: it works only for upstreams and addresses",
				Instead: "resolver ADDRESS;",
			})
		}
	}
	var pool model.Pool
	at, ok := r.named[strings.ToLower(route.Pool)]
	if ok {
		pool = r.cfg.Pools[at]
	}
	if ok && pool.Keepalive != nil && !(in.is("proxy_http_version", "1.1") && connectionCleared(route)) && route.Upgrade == nil {
		r.problem(model.Problem{
			Pos: pool.Keepalive.Pos, Effect: model.Inert, Until: "1.29.7",
			Text:    fmt.Sprintf("requests of %s go to the servers with HTTP/1.0 or Connection: close, so that no connection is kept", route.Key()),
			Instead: `proxy_http_version 1.1; and proxy_set_header Connection ""; in the location`,
		})
	}
	if route.Upgrade != nil && route.Upgrade.Always {
		r.problem(model.Problem{
			Pos: route.Upgrade.Pos, Effect: model.Differs,
			Text:    "requests that ask for no upgrade reach the backend with Connection: upgrade too, and no connection to it is kept",
			Instead: `map $http_upgrade $connection_upgrade { default upgrade; "" ""; } and proxy_set_header Connection $connection_upgrade;`,
		})
	}
}

func connectionCleared(route model.Route) bool {
	return slices.ContainsFunc(route.SetHeaders, func(h model.Header) bool { return strings.EqualFold(h.Name, "Connection") && h.Value == "" })
}

// answerProblems: return comes before the access phase, and brings a Content-Type of its own.
func (r *nginxReader) answerProblems(own []item) {
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
				Pos: d.pos, Effect: model.Differs,
				Text:    "the answer has two Content-Type headers: return brings its own",
				Instead: "default_type " + d.arg(1) + ";",
			})
		}
	}
}

// authProblem: auth_request turns every status but 2xx, 401 and 403 into 500.
func (r *nginxReader) authProblem(route model.Route, d item) {
	for _, f := range route.Fallbacks {
		if !slices.Contains(f.Codes, 500) {
			r.problem(model.Problem{
				Pos: f.Pos, Effect: model.Differs,
				Text:    fmt.Sprintf("auth_request (line %d) makes 500 of any status but 2xx, 401 and 403, and this error_page does not cover 500", d.pos.Line),
				Instead: "error_page 500 502 503 504 …",
			})
		}
	}
}

// limitProblems: of two limits on the same location, one may always be reached first.
func (r *nginxReader) limitProblems(route model.Route) {
	for _, l := range route.Limits {
		if forgeable(l.Key) {
			r.problem(model.Problem{
				Pos: l.Pos, Effect: model.Differs,
				Text:    fmt.Sprintf("clients choose the key themselves (%s): whoever sends another value each time is not limited", l.Key),
				Instead: "$binary_remote_addr, with set_real_ip_from and real_ip_header behind a trusted proxy",
			})
		}
	}
	for _, rate := range route.Limits {
		for _, conn := range route.Limits {
			if rate.Law != model.LeakyBucket || conn.Law != model.InFlight || rate.Key != conn.Key || rate.Delay != -1 {
				continue
			}
			if rate.Burst+1 > conn.Most {
				r.problem(model.Problem{
					Pos: rate.Pos, Effect: model.Differs,
					Text: fmt.Sprintf("a burst of %d at once is never let in whole: limit_conn (line %d) takes %d at a time and is reached first",
						rate.Burst+1, conn.Pos.Line, conn.Most),
					Instead: fmt.Sprintf("limit_conn %s %d; or burst=%d", conn.Name, rate.Burst+1, conn.Most-1),
				})
			}
		}
	}
}

// siteProblems tells what a whole server block does otherwise than it seems.
func (r *nginxReader) siteProblems(server item, s site) {
	r.lostHeaders(server, s)
	plain, tls := 0, false
	for _, l := range s.listens {
		if l.TLS {
			tls = true
		} else {
			plain = l.Port
		}
	}
	for _, d := range s.all("add_header") {
		_, returns := s.one("return")
		if strings.EqualFold(d.arg(0), "Strict-Transport-Security") && plain != 0 && tls && !returns {
			r.problem(model.Problem{
				Pos: d.pos, Effect: model.Differs,
				Text:    fmt.Sprintf("port %d serves the same site in clear, where browsers ignore this header, and nothing redirects to https", plain),
				Instead: fmt.Sprintf("a server of its own for port %d with return 301 https://$host$request_uri;", plain),
			})
		}
	}
}

// lostHeaders: a location's own add_header or proxy_set_header puts all outer ones out of force.
func (r *nginxReader) lostHeaders(server item, s site) {
	var walk func(locations []item, outer scope)
	walk = func(locations []item, outer scope) {
		for _, l := range locations {
			in := outer.with(r.block(l))
			for _, name := range []string{"add_header", "proxy_set_header"} {
				own := pick(in.own(), name)
				lost := unrepeated(in.replaced(name), own)
				if len(own) == 0 || len(lost) == 0 {
					continue
				}
				var names []string
				for _, d := range lost {
					names = append(names, fmt.Sprintf("%s (line %d)", d.arg(0), d.pos.Line))
				}
				r.problem(model.Problem{
					Pos: own[0].pos, Effect: model.Dropped,
					Text:    fmt.Sprintf("this %s puts the outer ones out of force for %s: %s", name, strings.Join(l.Args, " "), strings.Join(names, ", ")),
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
