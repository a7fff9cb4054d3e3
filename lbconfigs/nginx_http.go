package lbconfigs

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
)

// Defaults of nginx (nginx.org/en/docs/http/ngx_http_proxy_module.html, ngx_http_upstream_module.html, ngx_http_core_module.html).
const (
	time10     = 10 * time.Second
	time60     = time.Minute
	bodyLimit  = 1 << 20
	gzipLeast  = 20
	idleClient = 75 * time.Second
)

// site is what a server block leaves to its locations.
type site struct {
	scope
	listens  []model.Listener
	hosts    []string
	fallback bool
	rules    []model.Rule // of its own if and rewrite, which come before any location
}

func (r *nginxReader) server(server item, outer scope) error {
	block := r.block(server)
	s := site{scope: outer.with(block)}
	var err error
	if s.listens, err = r.listens(server); err != nil {
		return err
	}
	for _, l := range s.listens {
		s.fallback = s.fallback || r.defaults[l.Port] == server.pos
		if !slices.ContainsFunc(r.cfg.Listeners, func(f model.Listener) bool { return f.Port == l.Port }) {
			r.cfg.Listeners = append(r.cfg.Listeners, l)
		}
	}
	s.hosts = r.hosts(block, s.fallback)
	var first model.Route
	for _, d := range pick(block, "if", "rewrite") {
		if err := r.handler(&first, d); err != nil {
			return err
		}
	}
	s.rules = first.Rules
	r.tls(server, s)
	r.unreadAll(block, inServer)
	locations := pick(block, "location")
	r.duplicates(locations)
	if err := r.locations(locations, s, s.scope); err != nil {
		return err
	}
	if root := r.serverRoot(server, s, locations); root != nil {
		r.cfg.Routes = append(r.cfg.Routes, *root)
	}
	r.siteProblems(server, s)
	return nil
}

// hosts are the names of a server block. One without any that is no default takes only requests without a host.
func (r *nginxReader) hosts(block []item, fallback bool) []string {
	var hosts []string
	for _, d := range pick(block, "server_name") {
		for _, name := range d.Args {
			switch {
			case name == "_", name == "":
			case strings.HasPrefix(name, "~"):
				r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: d.pos, Text: "server_name " + name, Why: "a host by regular expression: lbproof does not ask for it"})
			case strings.HasPrefix(name, "."):
				hosts = append(hosts, strings.ToLower(name[1:]), "*"+strings.ToLower(name))
			default:
				hosts = append(hosts, strings.ToLower(name))
			}
		}
	}
	if len(hosts) == 0 && !fallback {
		return []string{""}
	}
	return hosts
}

func (r *nginxReader) locations(locations []item, s site, outer scope) error {
	for _, l := range locations {
		inner := outer.with(r.block(l))
		if err := r.location(l, s, inner); err != nil {
			return err
		}
		nested := pick(r.block(l), "location")
		if err := r.locations(nested, s, inner); err != nil {
			return err
		}
	}
	return nil
}

// base is a route of a site before it has a path.
func (s site) base(pos model.Pos) model.Route {
	route := model.Route{Pos: pos, Hosts: s.hosts, Fallback: s.fallback, Rules: slices.Clone(s.rules)}
	for _, l := range s.listens {
		if route.Port == 0 {
			route.Port, route.TLS = l.Port, l.TLS
		}
		route.Ports = append(route.Ports, l.Port)
	}
	if len(route.Ports) == 1 {
		route.Ports = nil
	}
	return route
}

func (r *nginxReader) location(location item, s site, in scope) error {
	if len(location.Args) == 0 {
		return fmt.Errorf("%s: a location has no path", location.pos)
	}
	route := s.base(location.pos)
	route.Path = location.arg(len(location.Args) - 1)
	switch kind := strings.Join(location.Args[:len(location.Args)-1], ""); {
	case kind == "=":
		route.Exact = true
	case kind == "~":
		route.Regex = true
	case kind == "~*":
		route.Regex, route.Path = true, "(?i)"+route.Path
	case kind == "^~":
		route.Final = true
	}
	own := in.own()
	route.Internal = strings.HasPrefix(route.Path, "@") || len(pick(own, "internal")) > 0
	for _, d := range own {
		if err := r.handler(&route, d); err != nil {
			return err
		}
	}
	if up, ok := in.one("return"); ok && !route.Internal && !slices.Contains(own, up) { // of the server: it comes before any location
		if err := r.answer(&route, up); err != nil {
			return err
		}
		route.Pool = ""
	}
	if root, ok := in.one("root"); ok && !r.provides(route) && !route.Internal && len(pick(own, "location")) == 0 {
		r.serves(&route, root)
	}
	r.unreadAll(own, inLocation)
	if err := r.policies(&route, in); err != nil {
		return err
	}
	r.locationProblems(route, in)
	if len(pick(own, "return")) > 0 { // which comes before anything that could refuse
		route.Limits, route.Access, route.Auth, route.Guarded = nil, nil, nil, false
		route.Guarded = slices.ContainsFunc(s.rules, model.Rule.Refuses)
	}
	if r.provides(route) {
		r.cfg.Routes = append(r.cfg.Routes, route)
	}
	return nil
}

// provides says whether a location answers or proxies, or guards what its inner locations do.
func (r *nginxReader) provides(route model.Route) bool {
	return route.Pool != "" || route.Answer != nil || route.Redirect != nil || route.Own != nil
}

// serverRoot is the route of a server that answers or serves files without any location.
func (r *nginxReader) serverRoot(server item, s site, locations []item) *model.Route {
	route := s.base(server.pos)
	route.Path = "/"
	if slices.ContainsFunc(locations, func(l item) bool { return l.arg(len(l.Args)-1) == "/" }) {
		return nil
	}
	if up, ok := s.one("return"); ok {
		if err := r.answer(&route, up); err != nil {
			return nil
		}
		_ = r.policies(&route, s.scope) // what it could complain of, the locations have
		return &route
	}
	return nil
}

// groups are what an nginx replacement has of the groups of its regular expression.
var groups = regexp.MustCompile(`\$([1-9])`)

// handler reads the directives that say what becomes of a location's requests. They are not inherited.
func (r *nginxReader) handler(route *model.Route, d item) error {
	switch d.Directive.Directive {
	case "proxy_pass":
		r.proxyPass(route, d)
	case "return":
		return r.answer(route, d)
	case "rewrite":
		if flag := d.arg(2); flag == "permanent" || flag == "redirect" {
			route.Rules = append(route.Rules, model.Rule{Pos: d.pos, When: "the path matches " + d.arg(0), Code: map[string]int{"permanent": 301, "redirect": 302}[flag], To: d.arg(1)})
		} else {
			rule := model.Rule{Pos: d.pos, When: "the path matches " + d.arg(0), To: d.arg(1)}
			if flag == "break" && !strings.ContainsAny(groups.ReplaceAllString(d.arg(1), ""), "$?") {
				rule.Rewrite = &model.Rewrite{Match: d.arg(0), With: groups.ReplaceAllString(d.arg(1), "$${$1}"), Whole: true}
			}
			route.Rules = append(route.Rules, rule)
		}
	case "stub_status":
		route.Own = &model.Own{Pos: d.pos, What: "nginx's counters (stub_status)"}
	case "alias", "root":
		r.serves(route, d)
	case "if":
		r.condition(route, d)
	}
	return nil
}

// serves makes a route serve files of a directory.
func (r *nginxReader) serves(route *model.Route, d item) {
	if route.Own != nil {
		return
	}
	route.Own = &model.Own{Pos: d.pos, What: "files of " + d.arg(0)}
	need := model.Need{Pos: d.pos, Kind: model.NeedDirectory, Path: strings.TrimSuffix(d.arg(0), "/")}
	if !slices.ContainsFunc(r.cfg.Needs, func(n model.Need) bool { return n.Kind == need.Kind && n.Path == need.Path }) {
		r.cfg.Needs = append(r.cfg.Needs, need)
	}
}

// condition reads an if whose only effect is an answer.
func (r *nginxReader) condition(route *model.Route, d item) {
	when := strings.Join(d.Args, " ")
	for _, inner := range r.block(d) {
		code, err := strconv.Atoi(inner.arg(0))
		if inner.Directive.Directive == "return" && err == nil {
			route.Rules = append(route.Rules, model.Rule{Pos: d.pos, When: when, Code: code, To: inner.arg(1)})
			return
		}
	}
	r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: d.pos, Text: d.text(), Why: "an if that does more than answer"})
}

func (r *nginxReader) proxyPass(route *model.Route, d item) {
	scheme, target, _ := strings.Cut(d.arg(0), "://")
	if strings.HasPrefix(d.arg(0), "$") {
		scheme, target = "", d.arg(0)
	}
	if strings.HasPrefix(target, "unix:") {
		route.Pool, route.PoolPos = target, d.pos
		return
	}
	pool, uri, replaces := strings.Cut(strings.TrimSuffix(target, "$request_uri"), "/") // which begins with one
	route.Pool, route.PoolPos = r.spelled(pool), d.pos
	if replaces && !strings.Contains(uri, "$") {
		route.Rules = append(route.Rules, model.Rule{
			Pos: d.pos, When: model.Always, To: fmt.Sprintf("/%s in place of %s", uri, route.Path),
			Rewrite: &model.Rewrite{Match: "^" + regexp.QuoteMeta(route.Path), With: "/" + strings.ReplaceAll(uri, "$", "$$")},
		})
	}
	if scheme == "https" {
		r.secure = append(r.secure, pool)
		r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: d.pos, Text: d.text(), Why: whyTowards})
	}
}

// answer reads return CODE [TEXT].
func (r *nginxReader) answer(route *model.Route, d item) error {
	code, err := strconv.Atoi(d.arg(0))
	if err != nil && len(d.Args) == 1 {
		route.Redirect = &model.Redirect{Pos: d.pos, Code: 302, To: d.arg(0)}
		return nil
	}
	if err != nil || code < 0 || code > 999 {
		return fmt.Errorf("%s: return %s is no status", d.pos, d.arg(0))
	}
	if slices.Contains([]int{301, 302, 303, 307, 308}, code) {
		route.Redirect = &model.Redirect{Pos: d.pos, Code: code, To: d.arg(1)}
		return nil
	}
	route.Answer = &model.Answer{Pos: d.pos, Code: code, Body: unescape(d.arg(1)), Varies: strings.Contains(d.arg(1), "$")}
	return nil
}

// unescape turns the escapes that nginx knows in a string into what they stand for.
var unescape = strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t", `\"`, `"`, `\'`, `'`, `\\`, `\`).Replace

// policies reads what is in force in a location, its own or inherited.
func (r *nginxReader) policies(route *model.Route, in scope) error {
	r.responseHeaders(route, in)
	r.limits(route, in)
	r.access(route, in)
	r.fallbacks(route, in)
	r.logs(route, in)
	if err := r.body(route, in); err != nil {
		return err
	}
	if d, ok := in.one("proxy_ssl_trusted_certificate"); ok {
		r.cfg.Needs = append(r.cfg.Needs, model.Need{Pos: d.pos, Kind: model.NeedAuthority, Path: inDir(nginxDir, d.arg(0))})
	}
	if route.Pool != "" {
		if err := r.proxying(route, in); err != nil {
			return err
		}
	}
	if gzip, ok := in.one("gzip"); ok && gzip.arg(0) == "on" {
		route.Compress = nginxGzip(gzip, in)
	}
	route.Guarded = len(route.Limits)+len(route.Access) > 0 || slices.ContainsFunc(route.Rules, model.Rule.Refuses) || route.Auth != nil || route.Internal ||
		len(in.all("auth_basic", "auth_jwt", "limit_except", "rewrite", "try_files", "satisfy", "if")) > 0 || in.programmed()
	return nil
}

// proxying reads what concerns the way to the backend.
func (r *nginxReader) proxying(route *model.Route, in scope) error {
	for _, d := range in.all("proxy_set_header") {
		route.SetHeaders = append(route.SetHeaders, model.Header{Pos: d.pos, Name: d.arg(0), Value: d.arg(1)})
	}
	route.Upgrade = r.upgrade(route.SetHeaders, in)
	r.joined(route.SetHeaders, in)
	for _, d := range in.all("mirror") {
		if d.arg(0) != "off" {
			route.Mirrors = append(route.Mirrors, model.Share{Pos: d.pos, Pool: d.arg(0), Share: 1})
		}
	}
	if err := r.timeouts(route, in); err != nil {
		return err
	}
	return r.retry(route, in)
}

// addHeaderStatuses are those to which nginx adds a header without "always".
var addHeaderStatuses = []int{200, 201, 204, 206, 301, 302, 303, 304, 307, 308}

func (r *nginxReader) responseHeaders(route *model.Route, in scope) {
	for _, d := range in.all("add_header") {
		h := model.Header{Pos: d.pos, Name: d.arg(0), Value: d.arg(1)}
		if d.arg(2) != "always" {
			h.Statuses = addHeaderStatuses
		}
		route.AddHeaders = append(route.AddHeaders, h)
	}
	if d, ok := in.one("expires"); ok {
		if t, err := nginxTime(d.arg(0)); err == nil {
			route.AddHeaders = append(route.AddHeaders, model.Header{
				Pos: d.pos, Name: "Cache-Control", Value: fmt.Sprintf("max-age=%d", int(t.Seconds())), Statuses: addHeaderStatuses,
			})
		}
	}
}

// upgrade says whether the location hands on a client's wish for another protocol, as WebSocket needs.
func (r *nginxReader) upgrade(headers []model.Header, in scope) *model.Upgrade {
	var up model.Upgrade
	upgrades, connection := false, false
	for _, h := range headers {
		switch strings.ToLower(h.Name) {
		case "upgrade":
			upgrades, up.Pos = h.Value == "$http_upgrade", h.Pos
		case "connection":
			m, mapped := r.maps[h.Value]
			connection = strings.EqualFold(h.Value, "upgrade") || mapped && m.from == "$http_upgrade"
			up.Always = !mapped
		}
	}
	if !upgrades || !connection {
		return nil
	}
	if !in.is("proxy_http_version", "1.1") {
		r.problem(model.Problem{
			Pos: up.Pos, Effect: model.Inert, Until: "1.29.7", Text: "requests go to the backend with HTTP/1.0, which has no upgrade: WebSocket does not work here",
			Instead: "proxy_http_version 1.1;",
		})
		return nil
	}
	return &up
}

func (r *nginxReader) limits(route *model.Route, in scope) {
	for _, kind := range []string{"limit_req", "limit_conn"} {
		status, set := in.one(kind + "_status")
		code := 503
		if n, err := strconv.Atoi(status.arg2()); set && err == nil {
			code = n
		}
		for _, d := range in.all(kind) {
			limit := r.limit(d, kind)
			limit.Status, limit.StatusIsSet, limit.DryRun = code, set, in.is(kind+"_dry_run", "on")
			if limit.Name != "" {
				route.Limits = append(route.Limits, limit)
			}
		}
	}
}

// arg2 is the first argument of an item that may not be there.
func (i item) arg2() string {
	if i.Directive == nil {
		return ""
	}
	return i.arg(0)
}

func (r *nginxReader) limit(d item, kind string) model.Limit {
	limit := model.Limit{Pos: d.pos, Law: model.LeakyBucket}
	if kind == "limit_conn" {
		limit.Law = model.InFlight
		limit.Name = d.arg(0)
		limit.Most, _ = strconv.Atoi(d.arg(1))
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
	i := slices.IndexFunc(r.zones, func(z nginxZone) bool { return z.name == limit.Name && z.kind == kind+"_zone" })
	if i < 0 {
		r.problem(model.Problem{
			Pos: d.pos, Effect: model.Rejected, Text: fmt.Sprintf("no %s_zone declares the zone %s", kind, limit.Name),
			Instead: fmt.Sprintf("%s_zone $binary_remote_addr zone=%s:10m …; in the http block", kind, limit.Name),
		})
		limit.Key = "?"
		return limit
	}
	r.zones[i].used = true
	limit.Key, limit.Rate = r.zones[i].key, r.zones[i].rate
	m, mapped := r.maps[limit.Key]
	switch {
	case mapped && m.otherwise == "":
		limit.Free = fmt.Sprintf("those whose %s the map does not name", m.from)
	case mapped && len(m.empty) > 0:
		limit.Free = fmt.Sprintf("those whose %s is %s", m.from, strings.Join(m.empty, " or "))
	case strings.HasPrefix(limit.Key, "$http_"), strings.HasPrefix(limit.Key, "$cookie_"), strings.HasPrefix(limit.Key, "$arg_"):
		limit.Free = "those that do not bring it"
	}
	return limit
}

func (r *nginxReader) access(route *model.Route, in scope) {
	for _, d := range in.all("allow", "deny") {
		route.Access = append(route.Access, model.Access{Pos: d.pos, Allow: d.Directive.Directive == "allow", From: d.arg(0)})
	}
	if d, ok := in.one("auth_request"); ok && d.arg(0) != "off" {
		route.Auth = &model.Auth{Pos: d.pos, By: d.arg(0)}
	}
	if d, ok := in.one("auth_basic"); ok && d.arg(0) != "off" {
		route.Auth = &model.Auth{Pos: d.pos, By: "a list of users", Code: 401}
	}
}

func (r *nginxReader) fallbacks(route *model.Route, in scope) {
	for _, d := range in.all("error_page") {
		f := model.Fallback{Pos: d.pos, Code: -1, Backend: in.is("proxy_intercept_errors", "on")}
		for _, arg := range d.Args[:max(0, len(d.Args)-1)] {
			if text, ok := strings.CutPrefix(arg, "="); ok {
				f.Code, _ = strconv.Atoi(text)
			} else if n, err := strconv.Atoi(arg); err == nil {
				f.Codes = append(f.Codes, n)
			}
		}
		f.To = d.arg(len(d.Args) - 1)
		route.Fallbacks = append(route.Fallbacks, f)
	}
}

func (r *nginxReader) body(route *model.Route, in scope) error {
	route.MaxBody = &model.Number{Pos: route.Pos, Implicit: true, Value: bodyLimit}
	d, ok := in.one("client_max_body_size")
	if !ok {
		if route.Pool == "" {
			route.MaxBody = nil
		}
		return nil
	}
	n, err := size(d.arg(0))
	if err != nil {
		return fmt.Errorf("%s: client_max_body_size: %w", d.pos, err)
	}
	route.MaxBody = &model.Number{Pos: d.pos, Value: n}
	if route.Pool == "" {
		route.MaxBody = nil
	}
	return nil
}

func (r *nginxReader) timeouts(route *model.Route, in scope) error {
	for _, t := range []struct{ directive, what, then string }{
		{"proxy_connect_timeout", model.ConnectTimeout, "504, or another server"},
		{"proxy_send_timeout", model.SendTimeout, "504, or another server"},
		{"proxy_read_timeout", model.ReadTimeout, "504, or another server"},
		{"keepalive_timeout", model.IdleTimeout, "the connection is closed"},
	} {
		limit := model.TimeLimit{Pos: route.PoolPos, Implicit: true, For: t.what, After: time60, Then: t.then}
		if t.what == model.IdleTimeout {
			limit.After = idleClient
		}
		if d, ok := in.one(t.directive); ok {
			after, err := nginxTime(d.arg(0))
			if err != nil {
				return fmt.Errorf("%s: %s: %w", d.pos, t.directive, err)
			}
			limit.Pos, limit.Implicit, limit.After = d.pos, false, after
		}
		route.Timeouts = append(route.Timeouts, limit)
		if t.what == model.ReadTimeout && route.Upgrade != nil {
			limit.For, limit.Then, limit.Implicit = model.TunnelTimeout, "the tunnel is closed", true
			route.Timeouts = append(route.Timeouts, limit)
		}
	}
	return nil
}

func (r *nginxReader) retry(route *model.Route, in scope) error {
	retry := &model.Retry{Pos: route.PoolPos, Implicit: true, On: []string{"error", "timeout"}, Elsewhere: true}
	if d, ok := in.one("proxy_next_upstream"); ok {
		retry.Pos, retry.Implicit, retry.On = d.pos, false, nil
		for _, arg := range d.Args {
			switch arg {
			case "off":
				return nil
			case "non_idempotent":
				retry.AnyMethod = true
			default:
				retry.On = append(retry.On, arg)
			}
		}
	}
	if d, ok := in.one("proxy_next_upstream_tries"); ok {
		n, err := strconv.Atoi(d.arg(0))
		if err != nil || n < 0 {
			return fmt.Errorf("%s: proxy_next_upstream_tries %s is no number", d.pos, d.arg(0))
		}
		retry.Attempts = n
	}
	if d, ok := in.one("proxy_next_upstream_timeout"); ok {
		within, err := nginxTime(d.arg(0))
		if err != nil {
			return fmt.Errorf("%s: proxy_next_upstream_timeout: %w", d.pos, err)
		}
		retry.Within = within
	}
	route.Retry = retry
	r.countFailures(route.Pool, retry.On)
	return nil
}

// countFailures notes what nginx counts as a failed attempt of a pool's servers: error, timeout and invalid_header
// always, statuses only where proxy_next_upstream lists them.
func (r *nginxReader) countFailures(pool string, on []string) {
	counted := []string{"error", "timeout", "invalid_header"}
	for _, cause := range on {
		if strings.HasPrefix(cause, "http_5") || cause == "http_429" {
			counted = append(counted, cause)
		}
	}
	i, ok := r.named[strings.ToLower(pool)]
	if !ok {
		return
	}
	for _, s := range r.cfg.Pools[i].Servers {
		if all := strings.Join(counted, ", "); s.Passive != nil && len(all) > len(s.Passive.On) {
			s.Passive.On = all
		}
	}
}

func nginxGzip(gzip item, in scope) *model.Compress {
	c := &model.Compress{Pos: gzip.pos, Least: gzipLeast, Types: []string{"text/html"}, Vary: in.is("gzip_vary", "on")}
	if d, ok := in.one("gzip_min_length"); ok {
		c.Least, _ = strconv.Atoi(d.arg(0))
	}
	if d, ok := in.one("gzip_types"); ok {
		c.Types = append(c.Types, d.Args...)
	}
	return c
}

// tls reads how a server block speaks TLS.
func (r *nginxReader) tls(server item, s site) {
	tls := model.TLS{Pos: server.pos, Hosts: s.hosts, VersionsPos: server.pos, Implicit: true, Versions: []string{"TLSv1.2", "TLSv1.3"}}
	for _, l := range s.listens {
		if l.TLS {
			tls.Ports, tls.Pos = append(tls.Ports, l.Port), l.Pos
		}
	}
	if len(tls.Ports) == 0 {
		return
	}
	if d, ok := s.one("ssl_protocols"); ok {
		tls.Versions, tls.VersionsPos, tls.Implicit = d.Args, d.pos, false
	}
	if d, ok := s.one("ssl_ciphers"); ok {
		tls.Ciphers, tls.CiphersPos = d.arg(0), d.pos
		r.cfg.Problems = append(r.cfg.Problems, cipherProblems(d.pos, d.arg(0))...)
	}
	if d, ok := s.one("ssl_certificate"); ok {
		tls.Certificate, tls.CertPos = d.arg(0), d.pos
		need := model.Need{Pos: d.pos, Kind: model.NeedCertificate, Path: inDir(nginxDir, d.arg(0)), Hosts: s.hosts}
		if key, ok := s.one("ssl_certificate_key"); ok {
			need.With = inDir(nginxDir, key.arg(0))
		}
		r.cfg.Needs = append(r.cfg.Needs, need)
	} else {
		r.noCertificate(server, tls)
	}
	if d, ok := s.one("ssl_session_cache"); ok && d.arg(0) != "off" && d.arg(0) != "none" {
		tls.Sessions = &d.pos
	}
	if d, ok := s.one("ssl_session_tickets"); ok && d.arg(0) == "off" {
		tls.NoTickets = &d.pos
	}
	r.cfg.TLS = append(r.cfg.TLS, tls)
}

// noCertificate: the default server of a port needs one; others go without, and their clients get that of the default server.
func (r *nginxReader) noCertificate(server item, tls model.TLS) {
	p := model.Problem{
		Pos: tls.Pos, Effect: model.Differs,
		Text:    "the server listens with ssl and has no ssl_certificate: its clients are shown that of the port's default server",
		Instead: "ssl_certificate FILE; and ssl_certificate_key FILE;",
	}
	for _, port := range tls.Ports {
		if r.defaults[port] == server.pos {
			p.Effect, p.Text = model.Rejected, "the server listens with ssl and has no ssl_certificate"
		}
	}
	r.problem(p)
}

// inDir is a path from the root, for a name that a balancer looks up in a directory of its own.
func inDir(dir, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(dir, name)
}
