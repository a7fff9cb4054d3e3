package nginx

import (
	"fmt"
	"regexp"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// Why a directive promises nothing that traffic could show.
const (
	reasonLua        = "a program: lbproof cannot say what it promises"
	reasonBackendTLS = "TLS towards the backends is spoken, and not judged"
)

// unreadReasons are directives without a promise of their own, and why. What the reader understands has an empty reason.
var unreadReasons = reading.IndexReasons(map[string]string{
	"": `
		worker_processes daemon http events include upstream server location listen server_name limit_req_zone
		limit_conn_zone limit_req limit_conn limit_req_status limit_conn_status limit_req_dry_run
		limit_conn_dry_run proxy_pass proxy_set_header add_header expires return rewrite stub_status alias root
		if allow deny auth_request auth_basic error_page internal client_max_body_size proxy_connect_timeout
		proxy_send_timeout proxy_read_timeout keepalive_timeout proxy_next_upstream proxy_next_upstream_tries
		proxy_next_upstream_timeout gzip gzip_vary gzip_min_length gzip_types ssl_protocols ssl_ciphers
		ssl_certificate ssl_certificate_key ssl_session_cache ssl_session_tickets zone least_conn ip_hash hash
		random least_time sticky keepalive keepalive_requests map mirror split_clients proxy_http_version http2
		proxy_intercept_errors access_log log_format`,
	reasonBackendTLS: `
		proxy_ssl_trusted_certificate proxy_ssl_verify proxy_ssl_name proxy_ssl_server_name
		proxy_ssl_verify_depth`,
	reading.ReasonForm: `
		gzip_proxied ssl_session_timeout ssl_prefer_server_ciphers index try_files auth_basic_user_file
		load_module proxy_pass_request_body resolver set`,
	reading.ReasonContent: "default_type types server_tokens",
	reading.ReasonLog:     "error_log log_not_found",
	reading.ReasonFiles:   "user pid",
	reading.ReasonLimits:  "worker_rlimit_nofile worker_connections",
	reading.ReasonSpeed: `
		proxy_ssl_session_reuse use multi_accept accept_mutex sendfile tcp_nopush tcp_nodelay
		types_hash_max_size types_hash_bucket_size server_names_hash_bucket_size server_names_hash_max_size
		worker_cpu_affinity worker_priority proxy_buffering proxy_buffer_size proxy_buffers
		proxy_busy_buffers_size proxy_temp_file_write_size proxy_request_buffering client_body_buffer_size
		gzip_comp_level`,
	"there is no proxy_cache that it could bypass":    "proxy_cache_bypass",
	"there is no proxy_cache that it could keep from": "proxy_no_cache",
})

// unreadAll lists the directives of a block that carry no claim, what stands in the wrong kind of block, and what nginx
// does not know.
func (r *reader) unreadAll(block []item, kind uint) {
	for _, d := range block {
		if where, ok := allowedIn(d.Directive.Directive, kind); !ok {
			name := d.Directive.Directive
			r.problem(model.Problem{
				Pos: d.pos, Effect: model.Rejected, Text: fmt.Sprintf("the directive %s is not allowed in this block", name),
				Instead: fmt.Sprintf("%s belongs in %s%s", name, where, misplacedHints[name]),
			})
		}
		name := d.Directive.Directive
		why, known := unreadReasons[name]
		if name == "auth_basic_user_file" {
			r.attachFile(d)
		}
		switch {
		case known && why == "":
			continue
		case strings.Contains(name, "_by_lua"):
			why = reasonLua
			if strings.HasSuffix(name, "_by_lua_file") {
				r.attachFile(d)
			}
		case !known:
			r.reportUnknown(d)
			why = reading.ReasonUnread
		}
		r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: d.pos, Text: firstLine(d.text()), Reason: why})
	}
}

func firstLine(text string) string {
	line, rest, more := strings.Cut(text, "\n")
	if more && strings.TrimSpace(rest) != "" {
		line += " …"
	}
	return line
}

// foreignDirectives are directives of other builds, with what to write instead.
var foreignDirectives = map[string]model.Problem{
	"check": {
		Text:    "check is a directive of Tengine and nginx_upstream_check_module: nginx has no active health checks",
		Instead: "max_fails and fail_timeout on the servers, which count failed requests; or HAProxy's option httpchk",
	},
	"check_http_send": {
		Text:    "check_http_send is a directive of Tengine and nginx_upstream_check_module",
		Instead: "leave it out",
	},
	"check_http_expect_alive": {
		Text:    "check_http_expect_alive is a directive of Tengine and nginx_upstream_check_module",
		Instead: "leave it out",
	},
	"sticky": {
		Text:    "sticky is NGINX Plus's before nginx 1.29.6",
		Instead: "hash $cookie_NAME consistent; which pins clients by a cookie that they bring",
		FixedIn: "1.29.6",
	},
	"least_time": {
		Text:    "least_time is NGINX Plus's before nginx 1.31.0",
		Instead: "least_conn; or random two least_conn;",
		FixedIn: "1.31.0",
	},
	"health_check": {
		Text:    "health_check is NGINX Plus's",
		Instead: "max_fails and fail_timeout on the servers, which count failed requests",
	},
	"queue": {
		Text:    "queue is NGINX Plus's",
		Instead: "leave it out: a request beyond max_conns of every server gets 502",
	},
}

// quantifier is what is left of a regular expression whose brace opened a block.
var quantifier = regexp.MustCompile(`^\d*,?\d*$`)

// reportUnknown tells of a directive that nginx itself does not have.
func (r *reader) reportUnknown(d item) {
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
	if foreign, ok := foreignDirectives[name]; ok {
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
func (r *reader) loads(text string) bool {
	for _, d := range r.items(r.payload.Config[0].File, r.payload.Config[0].Parsed) {
		if d.Directive.Directive == "load_module" && strings.Contains(d.arg(0), text) {
			return true
		}
	}
	return false
}
