package traefik

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// router reads a router: its rule, its middlewares and its service.
func (r *reader) router(t *reading.Tree) {
	rule := t.Get("rule")
	matches, problem, instead := parseRule(rule.Text())
	if problem != "" {
		r.problem(model.Problem{
			Pos: rule.PosOr(t.Pos), Effect: model.Dropped,
			Text:    fmt.Sprintf("Traefik ignores router %s: %s", t.Key, problem),
			Instead: instead,
		})
		return
	}
	base := model.Route{
		Pos: t.Pos, PoolPos: t.Get("service").PosOr(t.Pos), Priority: readNumber(t.Get("priority"), len(rule.Text())),
	}
	if !r.resolveService(t, &base) || !r.resolveEntryPoints(t, &base) {
		return
	}
	r.timeouts(t, &base)
	names := t.Get("middlewares").Items()
	for _, e := range r.usedEntries(t) {
		names = append(e.tree.Get("http", "middlewares").Items(), names...)
	}
	for _, name := range names {
		if !r.middleware(t, name, &base, followedChains{}) {
			return
		}
	}
	refuses := slices.ContainsFunc(base.Rules, model.Rule.MayRefuse)
	base.MayRefuse = len(base.Limits)+len(base.Access) > 0 || refuses || base.Auth != nil
	base.Upgrade = &model.Upgrade{Pos: t.Pos, Implicit: true}
	for _, m := range matches {
		r.cfg.Routes = append(r.cfg.Routes, m.apply(base))
	}
	if service := t.Get("service").Text(); strings.HasSuffix(service, "@internal") {
		for i := len(r.cfg.Routes) - len(matches); i < len(r.cfg.Routes); i++ {
			r.cfg.Routes[i].LocalContent, r.cfg.Routes[i].Pool = &model.LocalContent{Pos: base.PoolPos, Description: service}, ""
		}
	}
}

// resolveService finds the router's service; false if Traefik ignores the router.
func (r *reader) resolveService(t *reading.Tree, route *model.Route) bool {
	name := t.Get("service").Text()
	if strings.HasSuffix(name, "@internal") {
		return true
	}
	service := r.find("services", name)
	if service == nil {
		suggestion := reading.DidYouMean(name, r.names("services"))
		r.problem(model.Problem{
			Pos: route.PoolPos, Effect: model.Dropped,
			Text:    fmt.Sprintf("service %q is not defined; Traefik ignores router %s%s", name, t.Key, suggestion),
			Instead: "a service of that name under http.services",
		})
		return false
	}
	route.Pool = service.Key
	if mirroring := service.Get("mirroring"); mirroring != nil {
		route.Pool = mirroring.Get("service").Text()
		for _, m := range mirroring.Get("mirrors").Items() {
			route.Mirrors = append(route.Mirrors, model.Share{
				Pos: m.Pos, Pool: m.Get("name").Text(), Share: float64(readNumber(m.Get("percent"), 0)) / 100,
			})
		}
	}
	if failover := service.Get("failover"); failover != nil {
		route.Pool = failover.Get("service").Text()
		route.ErrorPages = append(route.ErrorPages, model.ErrorPage{
			Pos: failover.Pos, Target: failover.Get("fallback").Text(),
		})
		if main := r.find("services", route.Pool); main.Get("loadBalancer", "healthCheck") == nil {
			r.problem(model.Problem{
				Pos: failover.Pos, Effect: model.Dropped,
				Text: fmt.Sprintf("service %s has no health check, which failover needs; "+
					"Traefik ignores router %s", route.Pool, t.Key),
				Instead: "loadBalancer.healthCheck in " + route.Pool,
			})
			return false
		}
	}
	return true
}

// resolveEntryPoints finds the router's entry points and its TLS settings.
func (r *reader) resolveEntryPoints(t *reading.Tree, route *model.Route) bool {
	entries := r.usedEntries(t)
	for _, name := range t.Get("entryPoints").Items() {
		if !slices.ContainsFunc(r.entries, func(e entryPoint) bool { return e.name == name.Scalar }) {
			suggestion := reading.DidYouMean(name.Scalar, r.entryPointNames())
			r.problem(model.Problem{
				Pos: name.Pos, Effect: model.Dropped,
				Text: fmt.Sprintf("entry point %s is not defined; router %s does not listen there%s",
					name.Scalar, t.Key, suggestion),
				Instead: "a name under entryPoints of the static file",
			})
		}
	}
	tls := t.Get("tls")
	for _, e := range entries {
		if route.Port == 0 {
			route.Port, route.TLS = e.port, tls != nil || e.tls
		}
		route.Ports = append(route.Ports, e.port)
		if tls == nil && !e.tls && e.servesTLS {
			r.problem(model.Problem{
				Pos: t.Pos, Effect: model.Misleading,
				Text: fmt.Sprintf("router %s has no tls: on entry point %s it only accepts requests without TLS",
					t.Key, e.name),
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

// tlsVersions are Traefik's names of TLS versions.
var tlsVersions = []string{"VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"}

func (r *reader) routerTLS(t, use *reading.Tree, route *model.Route) {
	tls := model.TLS{
		Pos: use.Pos, VersionsPos: use.Pos, Implicit: true,
		Versions: []string{"TLSv1.2", "TLSv1.3"},
		Ports:    []int{route.Port},
	}
	if matches, _, _ := parseRule(t.Get("rule").Text()); len(matches) > 0 {
		tls.Hosts = matches[0].hosts
	}
	options := "default"
	if name := use.Get("options").Text(); name != "" {
		options, _, _ = strings.Cut(name, "@")
	}
	for _, d := range r.dynamic {
		o := d.Get("tls", "options", options)
		if o == nil {
			continue
		}
		low, high := max(2, slices.Index(tlsVersions, o.Get("minVersion").Text())), 3
		if m := slices.Index(tlsVersions, o.Get("minVersion").Text()); m >= 0 {
			low = m
		}
		if m := slices.Index(tlsVersions, o.Get("maxVersion").Text()); m >= 0 {
			high = m
		}
		tls.Versions, tls.VersionsPos, tls.Implicit = nil, o.Pos, false
		for i := low; i <= high; i++ {
			tls.Versions = append(tls.Versions, "TLSv1."+strconv.Itoa(i))
		}
		if c := o.Get("cipherSuites"); c != nil {
			tls.Ciphers, tls.CiphersPos = strings.Join(c.Texts(), ":"), c.Pos
		}
	}
	r.checkResolver(use.Get("certResolver"))
	r.cfg.TLS = append(r.cfg.TLS, tls)
}

// checkResolver reports a certificate resolver that is not defined.
func (r *reader) checkResolver(c *reading.Tree) {
	if c == nil || r.static == nil || r.static.Get("certificatesResolvers", c.Text()) != nil {
		return
	}
	r.problem(model.Problem{
		Pos: c.Pos, Effect: model.Misleading,
		Text: fmt.Sprintf("certificate resolver %s is not defined: the router serves a self-signed certificate",
			c.Text()),
	})
}

// tlsOptions reads the certificates, which Traefik selects by the host name of the client.
func (r *reader) tlsOptions() {
	for _, d := range r.dynamic {
		for _, c := range d.Get("tls", "certificates").Items() {
			var hosts []string
			for i, t := range r.cfg.TLS {
				hosts = append(hosts, t.Hosts...)
				if t.Certificate == "" {
					r.cfg.TLS[i].Certificate, r.cfg.TLS[i].CertPos = c.Get("certFile").Text(), c.Pos
				}
			}
			r.cfg.Needs = append(r.cfg.Needs, model.Need{
				Pos: c.Pos, Kind: model.NeedCertificate, Path: reading.PathIn(confDir, c.Get("certFile").Text()),
				KeyFile: reading.PathIn(confDir, c.Get("keyFile").Text()), Hosts: hosts,
			})
		}
	}
}
