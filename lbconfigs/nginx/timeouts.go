package nginx

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
)

// Defaults of nginx (nginx.org/en/docs/http/ngx_http_proxy_module.html, ngx_http_upstream_module.html,
// ngx_http_core_module.html).
const (
	defaultFailTimeout      = 10 * time.Second
	oneMinute               = time.Minute
	defaultKeepaliveTimeout = 75 * time.Second
)

// nextServer is the result of a timeout of a server.
const nextServer = "another server is tried, else 504"

func (r *reader) timeouts(route *model.Route, in scope) error {
	for _, t := range []struct{ directive, what, then string }{
		{"proxy_connect_timeout", model.ConnectTimeout, nextServer},
		{"proxy_send_timeout", model.SendTimeout, nextServer},
		{"proxy_read_timeout", model.ReadTimeout, nextServer},
		{"keepalive_timeout", model.IdleTimeout, "the connection is closed"},
	} {
		limit := model.Timeout{Pos: route.PoolPos, Implicit: true, Kind: t.what, Duration: oneMinute, Result: t.then}
		switch t.what {
		case model.IdleTimeout:
			limit.Duration = defaultKeepaliveTimeout
		case model.ConnectTimeout:
			limit.Statuses = []int{502, 504} // 502: the other servers, or all, have been ejected meanwhile
		}
		if d, ok := in.directive(t.directive); ok {
			after, err := parseTime(d.arg(0))
			if err != nil {
				return fmt.Errorf("%s: %s: %w", d.pos, t.directive, err)
			}
			limit.Pos, limit.Implicit, limit.Duration = d.pos, false, after
		}
		route.Timeouts = append(route.Timeouts, limit)
		if t.what == model.ReadTimeout && route.Upgrade != nil {
			limit.Kind, limit.Result, limit.Implicit = model.TunnelTimeout, "the tunnel is closed", true
			route.Timeouts = append(route.Timeouts, limit)
		}
	}
	return nil
}

func (r *reader) retry(route *model.Route, in scope) error {
	retry := &model.Retry{
		Pos: route.PoolPos, Implicit: true, Attempts: model.Unlimited, Backoff: model.NoBackoff, Next: model.NextOther,
		Methods: model.IdempotentMethods,
	}
	on := []string{"error", "timeout"}
	if d, ok := in.directive("proxy_next_upstream"); ok {
		retry.Pos, retry.Implicit, on = d.pos, false, nil
		for _, arg := range d.Args {
			switch arg {
			case "off":
				return nil
			case "non_idempotent":
				retry.Methods = model.AllMethods
			default:
				on = append(on, arg)
			}
		}
	}
	if d, ok := in.directive("proxy_next_upstream_tries"); ok {
		n, err := strconv.Atoi(d.arg(0))
		if err != nil || n < 0 {
			return fmt.Errorf("%s: proxy_next_upstream_tries %s: not a number", d.pos, d.arg(0))
		}
		if retry.Attempts = n; n == 0 {
			retry.Attempts = model.Unlimited
		}
	}
	if d, ok := in.directive("proxy_next_upstream_timeout"); ok {
		within, err := parseTime(d.arg(0))
		if err != nil {
			return fmt.Errorf("%s: proxy_next_upstream_timeout: %w", d.pos, err)
		}
		retry.Timeout = within
	}
	retry.Failures = failures(on)
	route.Retry = retry
	r.countFailures(route.Pool, on)
	return nil
}

// causes are the values of proxy_next_upstream other than statuses.
var causes = map[string][]model.Cause{
	"error": {model.CauseConnect, model.CauseClosed}, "timeout": {model.CauseTimeout},
	"invalid_header": {model.CauseMalformed},
}

// alwaysFailed are the values that count as failed attempts regardless of proxy_next_upstream.
var alwaysFailed = []string{"error", "timeout", "invalid_header"}

// failures converts values of proxy_next_upstream.
func failures(words []string) model.Failures {
	f := model.Failures{Source: strings.Join(words, ", ")}
	for _, word := range words {
		status, isStatus := strings.CutPrefix(word, "http_")
		code, err := strconv.Atoi(status)
		known, ok := causes[word]
		switch {
		case ok:
			f.Causes = append(f.Causes, known...)
		case isStatus && err == nil:
			f.Statuses = append(f.Statuses, model.Status(code))
		default:
			f.Causes = append(f.Causes, model.CauseOther)
		}
	}
	return f
}

// countFailures sets what counts as a failed attempt at a pool's servers: error, timeout and invalid_header always,
// statuses only if proxy_next_upstream lists them.
func (r *reader) countFailures(pool string, on []string) {
	counted := slices.Clone(alwaysFailed)
	for _, cause := range on {
		if strings.HasPrefix(cause, "http_5") || cause == "http_429" {
			counted = append(counted, cause)
		}
	}
	i, ok := r.poolIndex[strings.ToLower(pool)]
	if !ok {
		return
	}
	all := failures(counted)
	for _, s := range r.cfg.Pools[i].Servers {
		if s.Ejection != nil && len(all.Source) > len(s.Ejection.Failures.Source) { // the route that lists most decides
			s.Ejection.Failures = all
		}
	}
}
