package nginx

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// Defaults of nginx (nginx.org/en/docs/http/ngx_http_proxy_module.html, ngx_http_upstream_module.html,
// ngx_http_core_module.html).
const (
	defaultMaxBody       = 1 << 20
	defaultGzipMinLength = 20
)

// policies reads the directives in effect in a location, its own and inherited ones.
func (r *reader) policies(route *model.Route, in scope) error {
	r.responseHeaders(route, in)
	r.limits(route, in)
	r.access(route, in)
	r.fallbacks(route, in)
	r.logs(route, in)
	if err := r.body(route, in); err != nil {
		return err
	}
	if d, ok := in.directive("proxy_ssl_trusted_certificate"); ok {
		r.cfg.Needs = append(r.cfg.Needs, model.Need{
			Pos: d.pos, Kind: model.NeedAuthority, Path: reading.PathIn(confDir, d.arg(0)),
		})
	}
	if route.Pool != "" {
		if err := r.proxying(route, in); err != nil {
			return err
		}
	}
	if gzip, ok := in.directive("gzip"); ok && gzip.arg(0) == "on" {
		route.Compress = readGzip(gzip, in)
	}
	route.MayRefuse = mayRefuse(*route, in)
	return nil
}

// mayRefuse reports whether something may refuse or redirect a request before it is handled.
func mayRefuse(route model.Route, in scope) bool {
	if len(route.Limits)+len(route.Access) > 0 || slices.ContainsFunc(route.Rules, model.Rule.MayRefuse) {
		return true
	}
	if route.Auth != nil || route.Internal {
		return true
	}
	guards := in.directives("auth_basic", "auth_jwt", "limit_except", "rewrite", "try_files", "satisfy", "if")
	return len(guards) > 0 || in.runsLua()
}

// proxying reads what concerns the request to the backend.
func (r *reader) proxying(route *model.Route, in scope) error {
	sent := in.directives("proxy_set_header")
	for _, d := range sent {
		route.SetHeaders = append(route.SetHeaders, model.Header{Pos: d.pos, Name: d.arg(0), Value: readTemplate(d.arg(1))})
	}
	route.Upgrade = r.upgrade(sent, in)
	r.checkRequestIDLog(sent, in)
	for _, d := range in.directives("mirror") {
		if d.arg(0) != "off" {
			route.Mirrors = append(route.Mirrors, model.Share{Pos: d.pos, Pool: d.arg(0), Share: 1})
		}
	}
	if err := r.timeouts(route, in); err != nil {
		return err
	}
	return r.retry(route, in)
}

// addHeaderStatuses are the statuses to which add_header applies without "always".
var addHeaderStatuses = []int{200, 201, 204, 206, 301, 302, 303, 304, 307, 308}

func (r *reader) responseHeaders(route *model.Route, in scope) {
	for _, d := range in.directives("add_header") {
		h := model.Header{Pos: d.pos, Name: d.arg(0), Value: readTemplate(d.arg(1))}
		if d.arg(2) != "always" {
			h.Statuses = addHeaderStatuses
		}
		route.AddHeaders = append(route.AddHeaders, h)
	}
	if d, ok := in.directive("expires"); ok {
		if t, err := parseTime(d.arg(0)); err == nil {
			route.AddHeaders = append(route.AddHeaders, model.Header{
				Pos: d.pos, Name: "Cache-Control", Statuses: addHeaderStatuses,
				Value: model.Literal(fmt.Sprintf("max-age=%d", int(t.Seconds()))),
			})
		}
	}
}

// upgrade reads whether the location passes on protocol upgrades, as WebSocket needs.
func (r *reader) upgrade(sent []item, in scope) *model.Upgrade {
	var up model.Upgrade
	upgrades, connection := false, false
	for _, d := range sent {
		switch value := d.arg(1); strings.ToLower(d.arg(0)) {
		case "upgrade":
			upgrades, up.Pos = value == "$http_upgrade", d.pos
		case "connection":
			m, mapped := r.maps[value]
			connection = strings.EqualFold(value, "upgrade") || mapped && m.from == "$http_upgrade"
			up.Unconditional = !mapped
		}
	}
	if !upgrades || !connection {
		return nil
	}
	if !in.hasValue("proxy_http_version", "1.1") {
		r.problem(model.Problem{
			Pos: up.Pos, Effect: model.Inert, FixedIn: "1.29.7",
			Text:    "requests to the backend use HTTP/1.0, which has no upgrade: WebSocket does not work here",
			Instead: "proxy_http_version 1.1;",
		})
		return nil
	}
	return &up
}

func (r *reader) limits(route *model.Route, in scope) {
	for _, kind := range []string{"limit_req", "limit_conn"} {
		status, set := in.directive(kind + "_status")
		code := 503
		if n, err := strconv.Atoi(status.firstArg()); set && err == nil {
			code = n
		}
		for _, d := range in.directives(kind) {
			limit := r.limit(d, kind)
			limit.Status, limit.StatusImplicit, limit.DryRun = code, !set, in.hasValue(kind+"_dry_run", "on")
			if limit.Name != "" {
				route.Limits = append(route.Limits, limit)
			}
		}
	}
}

// limit reads a limit_req or a limit_conn with its zone.
func (r *reader) limit(d item, kind string) model.Limit {
	limit := readLimit(d, kind)
	i := slices.IndexFunc(r.zones, func(z limitZone) bool { return z.name == limit.Name && z.kind == kind+"_zone" })
	if i < 0 {
		suggestion := reading.DidYouMean(limit.Name, r.zoneNames(kind+"_zone"))
		r.problem(model.Problem{
			Pos: d.pos, Effect: model.Rejected,
			Text:    fmt.Sprintf("%s: zone %s is not declared%s", kind, limit.Name, suggestion),
			Instead: fmt.Sprintf("%s_zone $binary_remote_addr zone=%s:10m …; in the http block", kind, limit.Name),
		})
		limit.Key = model.Key{Variable: model.OtherVariable, Source: "?"}
		return limit
	}
	r.zones[i].used = true
	limit.Key, limit.Rate = readKey(r.zones[i].key), r.zones[i].rate
	m, mapped := r.maps[r.zones[i].key]
	switch {
	case mapped && m.defaultValue == "":
		limit.Exempt = model.Exemption{Kind: model.KeyNotMapped, From: m.from}
	case mapped && len(m.empty) > 0:
		limit.Exempt = model.Exemption{Kind: model.KeyMappedEmpty, From: m.from, Values: m.empty}
	case limit.Key.IsOptional():
		limit.Exempt = model.Exemption{Kind: model.KeyNotSent}
	}
	return limit
}

// zoneNames returns the names of the zones of a kind.
func (r *reader) zoneNames(kind string) []string {
	var names []string
	for _, z := range r.zones {
		if z.kind == kind {
			names = append(names, z.name)
		}
	}
	return names
}

// readLimit reads the arguments of a limit.
func readLimit(d item, kind string) model.Limit {
	limit := model.Limit{Pos: d.pos, Algorithm: model.LeakyBucket}
	if kind == "limit_conn" {
		limit.Algorithm = model.InFlight
		limit.Name = d.arg(0)
		limit.MaxInFlight, _ = strconv.Atoi(d.arg(1))
	}
	for _, arg := range d.Args {
		key, value, _ := strings.Cut(arg, "=")
		n, _ := strconv.Atoi(value)
		switch key {
		case "zone":
			limit.Name = value
		case "burst":
			limit.Burst = n
		case "delay":
			limit.Delay = n
		case "nodelay":
			limit.Delay = -1
		}
	}
	return limit
}

func (r *reader) access(route *model.Route, in scope) {
	for _, d := range in.directives("allow", "deny") {
		allow := d.Directive.Directive == "allow"
		route.Access = append(route.Access, model.Access{Pos: d.pos, Allow: allow, Clients: d.arg(0)})
	}
	if d, ok := in.directive("auth_request"); ok && d.arg(0) != "off" {
		route.Auth = &model.Auth{
			Pos: d.pos, Kind: model.AuthRoute, Target: d.arg(0), DenyCodes: []int{401, 403}, FailureCode: 500,
		}
	}
	if d, ok := in.directive("auth_basic"); ok && d.arg(0) != "off" {
		route.Auth = &model.Auth{Pos: d.pos, Kind: model.AuthUsers, DeniedCode: 401}
	}
}

func (r *reader) fallbacks(route *model.Route, in scope) {
	for _, d := range in.directives("error_page") {
		f := model.ErrorPage{Pos: d.pos, Code: -1, InterceptsBackend: in.hasValue("proxy_intercept_errors", "on")}
		for _, arg := range d.Args[:max(0, len(d.Args)-1)] {
			if text, ok := strings.CutPrefix(arg, "="); ok {
				f.Code, _ = strconv.Atoi(text)
			} else if n, err := strconv.Atoi(arg); err == nil {
				f.Codes = append(f.Codes, n)
			}
		}
		f.Target = d.arg(len(d.Args) - 1)
		route.ErrorPages = append(route.ErrorPages, f)
	}
}

func (r *reader) body(route *model.Route, in scope) error {
	route.MaxBody = &model.Number{Pos: route.Pos, Implicit: true, Value: defaultMaxBody}
	d, ok := in.directive("client_max_body_size")
	if !ok {
		if route.Pool == "" {
			route.MaxBody = nil
		}
		return nil
	}
	n, err := parseSize(d.arg(0))
	if err != nil {
		return fmt.Errorf("%s: client_max_body_size: %w", d.pos, err)
	}
	route.MaxBody = &model.Number{Pos: d.pos, Value: n}
	if route.Pool == "" {
		route.MaxBody = nil
	}
	return nil
}

func readGzip(gzip item, in scope) *model.Compress {
	c := &model.Compress{
		Pos: gzip.pos, MinBytes: defaultGzipMinLength, Types: []string{"text/html"}, Vary: in.hasValue("gzip_vary", "on"),
	}
	if d, ok := in.directive("gzip_min_length"); ok {
		c.MinBytes, _ = strconv.Atoi(d.arg(0))
	}
	if d, ok := in.directive("gzip_types"); ok {
		c.Types = append(c.Types, d.Args...)
	}
	return c
}
