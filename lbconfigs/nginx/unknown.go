package nginx

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// directiveNames are nginx's own directives, as crossplane knows them.
//
//go:embed directives.txt
var directiveNames string

// foreignDirectives are directives that only other builds or versions have, with what to write instead.
var foreignDirectives = map[string]model.Problem{
	"check": {
		Text:    "check: directive of Tengine and nginx_upstream_check_module; nginx has no active health checks",
		Instead: "max_fails and fail_timeout on the servers, which count failed requests; or HAProxy's option httpchk",
	},
	"check_http_send": {
		Text:    "check_http_send: directive of Tengine and nginx_upstream_check_module",
		Instead: "remove it",
	},
	"check_http_expect_alive": {
		Text:    "check_http_expect_alive: directive of Tengine and nginx_upstream_check_module",
		Instead: "remove it",
	},
	"sticky": {
		Text:    "sticky: only in NGINX Plus before nginx 1.29.6",
		Instead: "hash $cookie_NAME consistent; which keeps clients on a server by a cookie that they send",
		FixedIn: "1.29.6",
	},
	"least_time": {
		Text:    "least_time: only in NGINX Plus before nginx 1.31.0",
		Instead: "least_conn; or random two least_conn;",
		FixedIn: "1.31.0",
	},
	"health_check": {
		Text:    "health_check: only in NGINX Plus",
		Instead: "max_fails and fail_timeout on the servers, which count failed requests",
	},
	"queue": {
		Text:    "queue: only in NGINX Plus",
		Instead: "remove it: a request beyond max_conns of every server gets 502",
	},
}

// modules are common third-party modules by the prefix of their directives.
var modules = map[string]string{
	"brotli":               "ngx_brotli",
	"dav_ext_":             "nginx-dav-ext-module",
	"echo":                 "echo-nginx-module",
	"fair":                 "nginx-upstream-fair",
	"fancyindex":           "ngx-fancyindex",
	"geoip2":               "ngx_http_geoip2_module",
	"js_":                  "njs",
	"memc_":                "memc-nginx-module",
	"modsecurity":          "ModSecurity-nginx",
	"more_":                "headers-more",
	"nchan_":               "nchan",
	"opentracing":          "nginx-opentracing",
	"otel_":                "nginx-otel",
	"pagespeed":            "ngx_pagespeed",
	"passenger_":           "Phusion Passenger",
	"push_stream_":         "nginx-push-stream-module",
	"redis2_":              "redis2-nginx-module",
	"rtmp":                 "nginx-rtmp-module",
	"srcache_":             "srcache-nginx-module",
	"subs_filter":          "ngx_http_substitutions_filter_module",
	"upload_":              "nginx-upload-module",
	"vhost_traffic_status": "nginx-module-vts",
	"zstd":                 "zstd-nginx-module",
}

// quantifier matches the rest of a regular expression whose brace started a block.
var quantifier = regexp.MustCompile(`^\d*,?\d*$`)

// reportUnknown reports a directive that nginx does not have.
func (r *reader) reportUnknown(d item) {
	name := d.Directive.Directive
	if _, known := crossplane.MatchOssLatest(name); known {
		return
	}
	if quantifier.MatchString(name) {
		r.problem(model.Problem{
			Pos: d.pos, Effect: model.Rejected,
			Text:    "a regular expression with braces must be quoted: nginx takes the brace for the start of the block",
			Instead: `location ~ "^/v[0-9]{1,2}/" { … }`,
		})
		return
	}
	if n := len(r.cfg.Problems); n > 0 && r.cfg.Problems[n-1].Pos == d.pos {
		return // a consequence of the first mistake in the line
	}
	if p, ok := r.unknownDirective(name); ok {
		p.Pos, p.Effect = d.pos, model.Rejected
		r.problem(p)
	}
}

// unknownDirective explains a directive that nginx does not have; ok is false if a loaded module may have it.
func (r *reader) unknownDirective(name string) (p model.Problem, ok bool) {
	if foreign, is := foreignDirectives[name]; is {
		return model.Problem{Text: foreign.Text, Instead: foreign.Instead}, true
	}
	if _, isPlus := crossplane.MatchNginxPlusLatest(name); isPlus {
		return model.Problem{Text: name + ": only in NGINX Plus"}, true
	}
	if _, isLua := crossplane.MatchLuaLatest(name); isLua {
		return model.Problem{
			Text:    name + ": directive of lua-nginx-module, which nginx does not include",
			Instead: "run OpenResty, or load lua-nginx-module with load_module",
		}, !r.loads("lua")
	}
	for prefix, module := range modules {
		if strings.HasPrefix(name, prefix) {
			return model.Problem{
				Text:    fmt.Sprintf("%s: directive of %s, which nginx does not include", name, module),
				Instead: fmt.Sprintf("load %s with load_module, or remove the directive", module),
			}, !r.loads("")
		}
	}
	suggestion := reading.DidYouMean(name, strings.Fields(directiveNames))
	return model.Problem{Text: name + ": unknown directive" + suggestion}, !r.loads("")
}

// loads reports whether the configuration loads a module with that text in its file name.
func (r *reader) loads(text string) bool {
	for _, d := range r.items(r.payload.Config[0].File, r.payload.Config[0].Parsed) {
		if d.Directive.Directive == "load_module" && strings.Contains(d.arg(0), text) {
			return true
		}
	}
	return false
}
