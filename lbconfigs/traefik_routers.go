package lbconfigs

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
)

// router reads one router: its rule, its middlewares and where it leads.
func (r *trReader) router(t *tree) {
	rule := t.get("rule")
	matches, problem, instead := parseRule(rule.text())
	if problem != "" {
		pos := t.pos
		if rule != nil {
			pos = rule.pos
		}
		r.problem(model.Problem{
			Pos: pos, Effect: model.Dropped,
			Text:    fmt.Sprintf("Traefik leaves out the router %s: %s", t.key, problem),
			Instead: instead,
		})
		return
	}
	base := model.Route{Pos: t.pos, PoolPos: t.get("service").orPos(t.pos), Priority: number(t.get("priority"), len(rule.text()))}
	if !r.leads(t, &base) || !r.listens(t, &base) {
		return
	}
	r.timeouts(t, &base)
	names := t.get("middlewares").items()
	for _, e := range r.usedEntries(t) {
		names = append(e.t.get("http", "middlewares").items(), names...)
	}
	for _, name := range names {
		if !r.middleware(t, name, &base, chains{}) {
			return
		}
	}
	base.Guarded = len(base.Limits)+len(base.Access) > 0 || slices.ContainsFunc(base.Rules, model.Rule.Refuses) || base.Auth != nil
	base.Upgrade = &model.Upgrade{Pos: t.pos}
	for _, m := range matches {
		r.cfg.Routes = append(r.cfg.Routes, m.apply(base))
	}
	if service := t.get("service").text(); strings.HasSuffix(service, "@internal") {
		for i := len(r.cfg.Routes) - len(matches); i < len(r.cfg.Routes); i++ {
			r.cfg.Routes[i].Own, r.cfg.Routes[i].Pool = &model.Own{Pos: base.PoolPos, What: service}, ""
		}
	}
}

// orPos is where a part stands, or otherwise where there is none.
func (t *tree) orPos(otherwise model.Pos) model.Pos {
	if t == nil {
		return otherwise
	}
	return t.pos
}

// leads finds the router's service; false where Traefik leaves the router out.
func (r *trReader) leads(t *tree, route *model.Route) bool {
	name := t.get("service").text()
	if strings.HasSuffix(name, "@internal") {
		return true
	}
	service := r.find("services", name)
	if service == nil {
		r.problem(model.Problem{
			Pos: route.PoolPos, Effect: model.Dropped,
			Text:    fmt.Sprintf("there is no service %q: Traefik leaves out the router %s", name, t.key),
			Instead: "a service of that name under http.services",
		})
		return false
	}
	route.Pool = service.key
	if mirroring := service.get("mirroring"); mirroring != nil {
		route.Pool = mirroring.get("service").text()
		for _, m := range mirroring.get("mirrors").items() {
			route.Mirrors = append(route.Mirrors, model.Share{Pos: m.pos, Pool: m.get("name").text(), Share: float64(number(m.get("percent"), 0)) / 100})
		}
	}
	if failover := service.get("failover"); failover != nil {
		route.Pool = failover.get("service").text()
		route.Fallbacks = append(route.Fallbacks, model.Fallback{Pos: failover.pos, To: failover.get("fallback").text()})
		if main := r.find("services", route.Pool); main.get("loadBalancer", "healthCheck") == nil {
			r.problem(model.Problem{
				Pos: failover.pos, Effect: model.Dropped,
				Text:    fmt.Sprintf("the service %s has no health check, without which there is no failover: Traefik leaves out the router %s", route.Pool, t.key),
				Instead: "loadBalancer.healthCheck in " + route.Pool,
			})
			return false
		}
	}
	return true
}

// listens finds the router's entry points, and how it speaks TLS there.
func (r *trReader) listens(t *tree, route *model.Route) bool {
	entries := r.usedEntries(t)
	for _, name := range t.get("entryPoints").items() {
		if !slices.ContainsFunc(r.entries, func(e trEntry) bool { return e.name == name.scalar }) {
			r.problem(model.Problem{
				Pos: name.pos, Effect: model.Dropped,
				Text:    fmt.Sprintf("there is no entry point %s: the router %s does not listen there", name.scalar, t.key),
				Instead: "a name under entryPoints of the static file",
			})
		}
	}
	tls := t.get("tls")
	for _, e := range entries {
		if route.Port == 0 {
			route.Port, route.TLS = e.port, tls != nil || e.tls
		}
		route.Ports = append(route.Ports, e.port)
		if tls == nil && !e.tls && e.speaks {
			r.problem(model.Problem{
				Pos: t.pos, Effect: model.Differs,
				Text:    fmt.Sprintf("the router %s has no tls: on the entry point %s it takes requests in clear only", t.key, e.name),
				Instead: "tls: {}",
			})
		}
	}
	if len(route.Ports) == 1 {
		route.Ports = nil
	}
	if tls != nil {
		r.routerTLS(t, tls, route)
	}
	return len(entries) > 0
}

// traefikTLS are the names that Traefik has for TLS versions.
var traefikTLS = []string{"VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"}

func (r *trReader) routerTLS(t, use *tree, route *model.Route) {
	tls := model.TLS{Pos: use.pos, VersionsPos: use.pos, Implicit: true, Versions: []string{"TLSv1.2", "TLSv1.3"}, Ports: []int{route.Port}}
	if matches, _, _ := parseRule(t.get("rule").text()); len(matches) > 0 {
		tls.Hosts = matches[0].hosts
	}
	options := "default"
	if name := use.get("options").text(); name != "" {
		options, _, _ = strings.Cut(name, "@")
	}
	for _, d := range r.dynamic {
		o := d.get("tls", "options", options)
		if o == nil {
			continue
		}
		low, high := max(2, slices.Index(traefikTLS, o.get("minVersion").text())), 3
		if m := slices.Index(traefikTLS, o.get("minVersion").text()); m >= 0 {
			low = m
		}
		if m := slices.Index(traefikTLS, o.get("maxVersion").text()); m >= 0 {
			high = m
		}
		tls.Versions, tls.VersionsPos, tls.Implicit = nil, o.pos, false
		for i := low; i <= high; i++ {
			tls.Versions = append(tls.Versions, "TLSv1."+strconv.Itoa(i))
		}
		if c := o.get("cipherSuites"); c != nil {
			tls.Ciphers, tls.CiphersPos = strings.Join(c.texts(), ":"), c.pos
		}
	}
	if c := use.get("certResolver"); c != nil && r.static != nil && r.static.get("certificatesResolvers", c.text()) == nil {
		r.problem(model.Problem{
			Pos: c.pos, Effect: model.Differs,
			Text: fmt.Sprintf("there is no certificate resolver %s: the router serves a certificate that Traefik signed itself", c.text()),
		})
	}
	r.cfg.TLS = append(r.cfg.TLS, tls)
}

// tlsOptions reads the certificates, which are chosen by the host that a client asks for.
func (r *trReader) tlsOptions() {
	for _, d := range r.dynamic {
		for _, c := range d.get("tls", "certificates").items() {
			var hosts []string
			for i, t := range r.cfg.TLS {
				hosts = append(hosts, t.Hosts...)
				if t.Certificate == "" {
					r.cfg.TLS[i].Certificate, r.cfg.TLS[i].CertPos = c.get("certFile").text(), c.pos
				}
			}
			r.cfg.Needs = append(r.cfg.Needs, model.Need{Pos: c.pos, Kind: model.NeedCertificate, Path: inDir(traefikDir, c.get("certFile").text()), With: inDir(traefikDir, c.get("keyFile").text()), Hosts: hosts})
		}
	}
}

// timeouts are those of entry points (doc.traefik.io, "Responding timeouts": reading 60 s, writing none, idle 180 s) and of
// the way to the servers (dialing 30 s, no limit on the answer).
func (r *trReader) timeouts(t *tree, route *model.Route) {
	entry := r.usedEntries(t)
	if len(entry) == 0 {
		return
	}
	at := entry[0].t.get("transport", "respondingTimeouts")
	for _, x := range []struct {
		key, what, then string
		after           time.Duration
	}{
		{"readTimeout", model.ClientTimeout, "the connection is closed", time.Minute},
		{"idleTimeout", model.IdleTimeout, "the connection is closed", 3 * time.Minute},
	} {
		set := at.get(x.key)
		route.Timeouts = append(route.Timeouts, model.TimeLimit{
			Pos: set.orPos(t.pos), Implicit: set == nil, For: x.what, After: period(set, x.after), Then: x.then,
		})
	}
	route.Timeouts = append(route.Timeouts,
		model.TimeLimit{Pos: t.pos, Implicit: true, For: model.ConnectTimeout, After: 30 * time.Second, Then: "504"},
		model.TimeLimit{Pos: t.pos, Implicit: true, For: model.ReadTimeout, Then: "504"})
	route.Retry = &model.Retry{Pos: t.pos, Implicit: true, Attempts: 1}
}

// middleware adds to a route what a middleware does; false where Traefik leaves the router out. A chain that was followed
// once is not followed again: chains of chains can stand for more middlewares than anyone could count.
func (r *trReader) middleware(router, name *tree, route *model.Route, followed chains) bool {
	m := r.find("middlewares", name.scalar)
	if m == nil {
		r.problem(model.Problem{
			Pos: name.pos, Effect: model.Dropped,
			Text:    fmt.Sprintf("there is no middleware %s: Traefik leaves out the router %s", name.scalar, router.key),
			Instead: "a middleware of that name under http.middlewares",
		})
		return false
	}
	for _, kind := range m.parts() {
		if strings.EqualFold(kind.key, "chain") {
			if !r.chain(router, m, kind, route, followed) {
				return false
			}
			continue
		}
		r.apply(kind, route)
	}
	return true
}

// chains are the chains that were begun, and whether they were followed to their end.
type chains map[*tree]bool

// chain adds to a route what the middlewares of a chain do.
func (r *trReader) chain(router, m, kind *tree, route *model.Route, followed chains) bool {
	ended, begun := followed[m]
	if begun && !ended {
		r.problem(model.Problem{
			Pos: kind.pos, Effect: model.Dropped,
			Text:    fmt.Sprintf("the chain %s leads back to itself: Traefik leaves out the router %s", m.key, router.key),
			Instead: "a chain of other middlewares",
		})
		return false
	}
	if ended {
		return true
	}
	followed[m] = false
	for _, inner := range kind.get("middlewares").items() {
		if !r.middleware(router, inner, route, followed) {
			return false
		}
	}
	followed[m] = true
	return true
}

// apply is what one middleware does to a route's requests.
func (r *trReader) apply(m *tree, route *model.Route) {
	switch strings.ToLower(m.key) {
	case "ratelimit":
		r.rateLimit(m, route)
	case "inflightreq":
		route.Limits = append(route.Limits, model.Limit{Pos: m.pos, Law: model.InFlight, Most: number(m.get("amount"), 0), Key: trSource(m, "the request's host"), Status: 429})
	case "circuitbreaker":
		route.Breaker = &model.Breaker{
			Pos: m.pos, Trips: m.get("expression").text(), Every: period(m.get("checkPeriod"), 100*time.Millisecond),
			Open: period(m.get("fallbackDuration"), 10*time.Second), Recovery: period(m.get("recoveryDuration"), 10*time.Second), Code: number(m.get("responseCode"), 503),
		}
	case "retry":
		route.Retry = &model.Retry{
			Pos: m.pos, On: []string{"no answer from the server"}, Attempts: number(m.get("attempts"), 1),
			Wait: period(m.get("initialInterval"), 0), AnyMethod: true, Elsewhere: true,
		}
	case "forwardauth":
		address := m.get("address")
		route.Auth = &model.Auth{Pos: m.pos, By: address.text()}
		_, host, _ := strings.Cut(address.text(), "://")
		host, _, _ = strings.Cut(host, "/")
		r.cfg.Needs = append(r.cfg.Needs, model.Need{Pos: address.orPos(m.pos), Kind: model.NeedHost, Path: host})
	case "basicauth", "digestauth":
		r.takeAlong(m.get("usersFile"))
		route.Auth = &model.Auth{Pos: m.pos, By: "a list of users", Code: 401}
	case "redirectscheme", "redirectregex":
		r.redirect(m, route)
	case "headers":
		r.headers(m, route)
	case "ipallowlist", "ipwhitelist":
		for _, from := range m.get("sourceRange").items() {
			route.Access = append(route.Access, model.Access{Pos: from.pos, Allow: true, From: from.scalar})
		}
		route.Access = append(route.Access, model.Access{Pos: m.pos, From: "all"})
	case "compress":
		route.Compress = &model.Compress{Pos: m.pos, Least: number(m.get("minResponseBodyBytes"), 1024), Types: m.get("includedContentTypes").texts(), Vary: true}
	case "buffering":
		if most := m.get("maxRequestBodyBytes"); most != nil {
			route.MaxBody = &model.Number{Pos: most.pos, Value: int64(number(most, 0))}
		}
	case "stripprefix", "stripprefixregex", "addprefix", "replacepath", "replacepathregex":
		route.Rules = append(route.Rules, model.Rule{Pos: m.pos, When: model.Always, To: rewritten(m), Rewrite: rewrite(m)})
	case "errors":
		r.errors(m, route)
	default:
		r.unread(m, m.key, whyUnread)
	}
}

func rewritten(m *tree) string {
	switch strings.ToLower(m.key) {
	case "stripprefix":
		return "its path without " + strings.Join(m.get("prefixes").texts(), " or ")
	case "stripprefixregex":
		return "its path without what fits " + strings.Join(m.get("regex").texts(), " or ") + " at its beginning"
	case "addprefix":
		return m.get("prefix").text() + " before its path"
	case "replacepath":
		return m.get("path").text()
	}
	return m.get("replacement").text()
}

// rewrite is what a middleware makes of a path (doc.traefik.io: the first prefix that fits goes, and a path begins with a slash).
func rewrite(m *tree) *model.Rewrite {
	switch strings.ToLower(m.key) {
	case "stripprefix":
		var prefixes []string
		for _, prefix := range m.get("prefixes").texts() {
			prefixes = append(prefixes, regexp.QuoteMeta(prefix))
		}
		return &model.Rewrite{Match: "^(?:" + strings.Join(prefixes, "|") + ")"}
	case "stripprefixregex":
		return &model.Rewrite{Match: "^(?:" + strings.Join(m.get("regex").texts(), "|") + ")"}
	case "addprefix":
		return &model.Rewrite{Match: "^", With: literal(m.get("prefix").text())}
	case "replacepath":
		return &model.Rewrite{Match: "^", With: literal(m.get("path").text()), Whole: true}
	}
	return &model.Rewrite{Match: m.get("regex").text(), With: m.get("replacement").text()}
}

func (r *trReader) rateLimit(m *tree, route *model.Route) {
	average := number(m.get("average"), 0)
	if average == 0 {
		r.problem(model.Problem{
			Pos: m.pos, Effect: model.Inert,
			Text:    "a rateLimit without average limits nothing",
			Instead: "average: REQUESTS, per period",
		})
		return
	}
	each := period(m.get("period"), time.Second)
	route.Limits = append(route.Limits, model.Limit{
		Pos: m.pos, Law: model.TokenBucket, Key: trSource(m, "the client's address"), Rate: float64(average) / each.Seconds(),
		Burst: max(1, number(m.get("burst"), 1)), Window: each, Status: 429,
	})
	if header := m.get("sourceCriterion", "requestHeaderName"); forgeable(header.text()) {
		r.problem(model.Problem{
			Pos: header.pos, Effect: model.Differs,
			Text:    fmt.Sprintf("clients choose the key themselves (%s): whoever sends another value each time is not limited", header.text()),
			Instead: "sourceCriterion.ipStrategy.depth, behind a trusted proxy",
		})
	}
}

// trSource is what a limit counts by.
func trSource(m *tree, otherwise string) string {
	source := m.get("sourceCriterion")
	switch {
	case source.get("requestHeaderName") != nil:
		return "the header " + source.get("requestHeaderName").text()
	case source.get("requestHost").is():
		return "the request's host"
	case source.get("ipStrategy") != nil:
		return "the client's address by ipStrategy"
	}
	return otherwise
}

func (r *trReader) redirect(m *tree, route *model.Route) {
	code := 302
	if m.get("permanent").is() {
		code = 301
	}
	to := m.get("scheme").text() + "://"
	if strings.EqualFold(m.key, "redirectRegex") {
		route.Rules = append(route.Rules, model.Rule{Pos: m.pos, When: "the URL matches " + m.get("regex").text(), Code: code, To: m.get("replacement").text()})
		return
	}
	if m.get("scheme").text() == "https" && route.TLS {
		return
	}
	route.Redirect, route.Pool = &model.Redirect{Pos: m.pos, Code: code, To: to}, ""
}

func (r *trReader) headers(m *tree, route *model.Route) {
	for _, h := range m.get("customRequestHeaders").parts() {
		route.SetHeaders = append(route.SetHeaders, model.Header{Pos: h.pos, Name: h.key, Value: h.scalar})
	}
	for _, h := range m.get("customResponseHeaders").parts() {
		route.AddHeaders = append(route.AddHeaders, model.Header{Pos: h.pos, Name: h.key, Value: h.scalar})
	}
	for _, h := range []struct{ key, name, value string }{
		{"frameDeny", "X-Frame-Options", "DENY"}, {"contentTypeNosniff", "X-Content-Type-Options", "nosniff"}, {"browserXssFilter", "X-XSS-Protection", "1; mode=block"},
	} {
		if t := m.get(h.key); t.is() {
			route.AddHeaders = append(route.AddHeaders, model.Header{Pos: t.pos, Name: h.name, Value: h.value})
		}
	}
	for _, h := range []struct{ key, name string }{
		{"customFrameOptionsValue", "X-Frame-Options"}, {"contentSecurityPolicy", "Content-Security-Policy"}, {"referrerPolicy", "Referrer-Policy"}, {"permissionsPolicy", "Permissions-Policy"},
	} {
		if t := m.get(h.key); t.text() != "" {
			route.AddHeaders = append(route.AddHeaders, model.Header{Pos: t.pos, Name: h.name, Value: t.text()})
		}
	}
	if t := m.get("stsSeconds"); number(t, 0) > 0 && (route.TLS || m.get("forceSTSHeader").is()) {
		value := "max-age=" + t.text()
		if m.get("stsIncludeSubdomains").is() {
			value += "; includeSubDomains"
		}
		if m.get("stsPreload").is() {
			value += "; preload"
		}
		route.AddHeaders = append(route.AddHeaders, model.Header{Pos: t.pos, Name: "Strict-Transport-Security", Value: value})
	}
}

func (r *trReader) errors(m *tree, route *model.Route) {
	f := model.Fallback{Pos: m.pos, To: m.get("service").text(), Code: -1, Backend: true}
	for _, s := range m.get("status").texts() {
		low, high, ranged := strings.Cut(s, "-")
		from, err := strconv.Atoi(low)
		to, err2 := strconv.Atoi(high)
		if !ranged {
			to, err2 = from, nil
		}
		for code := from; err == nil && err2 == nil && code <= to && code < 600; code++ {
			f.Codes = append(f.Codes, code)
		}
	}
	route.Fallbacks = append(route.Fallbacks, f)
}

// unusedMiddlewares tells of middlewares that no router has.
func (r *trReader) unusedMiddlewares() {
	used := map[string]bool{}
	for _, d := range r.dynamic {
		for _, router := range d.get("http", "routers").parts() {
			for _, m := range router.get("middlewares").texts() {
				name, _, _ := strings.Cut(m, "@")
				used[strings.ToLower(name)] = true
			}
		}
		for _, m := range d.get("http", "middlewares").parts() {
			for _, inner := range m.get("chain", "middlewares").texts() {
				used[strings.ToLower(inner)] = true
			}
		}
	}
	if r.static != nil {
		for _, e := range r.static.get("entryPoints").parts() {
			for _, m := range e.get("http", "middlewares").texts() {
				name, _, _ := strings.Cut(m, "@")
				used[strings.ToLower(name)] = true
			}
		}
	}
	for _, d := range r.dynamic {
		for _, m := range d.get("http", "middlewares").parts() {
			if !used[strings.ToLower(m.key)] {
				r.problem(model.Problem{
					Pos: m.pos, Effect: model.Inert,
					Text:    fmt.Sprintf("no router has the middleware %s", m.key),
					Instead: fmt.Sprintf("middlewares: [%s] in the router that it is meant for", m.key),
				})
			}
		}
	}
}
