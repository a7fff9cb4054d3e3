package nginx

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// Reasons why a directive makes no claim that traffic could test.
const (
	reasonLua        = "a program (lua-nginx-module): lbproof cannot derive claims from it"
	reasonBackendTLS = "TLS to the backends is used but not evaluated"
)

// unreadReasons are the directives that make no claim of their own, and why. Those that the reader evaluates have an
// empty reason.
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
	"has no effect without proxy_cache": "proxy_cache_bypass proxy_no_cache",
})

// unreadAll lists the directives of a block that make no claim, and reports misplaced and unknown ones.
func (r *reader) unreadAll(block []item, kind uint) {
	for _, d := range block {
		name := d.Directive.Directive
		if where, ok := allowedIn(name, kind); !ok {
			r.problem(model.Problem{
				Pos: d.pos, Effect: model.Rejected,
				Text:    name + ": directive is not allowed in this block",
				Instead: fmt.Sprintf("put %s into %s%s", name, where, misplacedHints[name]),
			})
		}
		reason, known := unreadReasons[name]
		if name == "auth_basic_user_file" {
			r.attachFile(d)
		}
		switch {
		case known && reason == "":
			continue
		case strings.Contains(name, "_by_lua"):
			reason = reasonLua
			if strings.HasSuffix(name, "_by_lua_file") {
				r.attachFile(d)
			}
		case !known:
			r.reportUnknown(d)
			reason = reading.ReasonUnread
		}
		r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: d.pos, Text: firstLine(d.text()), Reason: reason})
	}
}

// firstLine returns the first line of a text, with an ellipsis if there is more.
func firstLine(text string) string {
	line, rest, more := strings.Cut(text, "\n")
	if more && strings.TrimSpace(rest) != "" {
		line += " …"
	}
	return line
}
