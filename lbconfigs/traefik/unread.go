package traefik

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// listUnreadParts lists known parts that are not evaluated.
func (r *reader) listUnreadParts() {
	list := func(t *reading.Tree, names ...string) {
		for _, n := range names {
			r.unread(t.Get(n), n, reading.ReasonUnread)
		}
	}
	for _, e := range r.entries {
		list(e.tree, "proxyProtocol", "forwardedHeaders", "http2", "http3", "udp", "observability")
		list(e.tree.Get("transport"), "lifeCycle", "keepAliveMaxTime", "keepAliveMaxRequests")
		list(e.tree.Get("http"), "encodeQuerySemicolons", "sanitizePath", "maxHeaderBytes", "encodedCharacters")
	}
	for _, d := range r.dynamic {
		list(d, "tcp", "udp")
		list(d.Get("http"), "serversTransports")
		for _, t := range d.Get("http", "serversTransports").Parts() {
			for _, ca := range t.Get("rootCAs").Items() {
				r.cfg.Needs = append(r.cfg.Needs, model.Need{
					Pos: ca.Pos, Kind: model.NeedAuthority, Path: reading.PathIn(confDir, ca.Text()),
				})
			}
		}
		list(d.Get("tls"), "stores")
		for _, s := range d.Get("http", "services").Parts() {
			list(s.Get("loadBalancer"), "passHostHeader", "responseForwarding", "serversTransport")
		}
		for _, router := range d.Get("http", "routers").Parts() {
			list(router, "observability", "parentRefs", "ruleSyntax")
			list(router.Get("tls"), "domains")
		}
	}
}

// readStaticParts lists the static parts that make no claim, and reports what is missing in runs.
func (r *reader) readStaticParts() {
	if r.static == nil {
		return
	}
	for _, s := range []struct{ key, reason string }{
		{"log", reading.ReasonLog},
		{"accessLog", reading.ReasonLog},
		{"global", reading.ReasonLog},
		{"experimental", reading.ReasonUnread},
		{"serversTransport", reading.ReasonUnread},
		{"hostResolver", reading.ReasonUnread},
		{"tracing", reading.ReasonLog},
	} {
		r.unread(r.static.Get(s.key), s.key, s.reason)
	}
	for _, p := range r.static.Get("providers").Parts() {
		if p.Key == "file" || !p.IsMap && p.Scalar != "" {
			continue
		}
		r.problem(model.Problem{
			Pos: p.Pos, Effect: model.Dropped,
			Text:    fmt.Sprintf("provider %s is not available in runs: its routers are missing", p.Key),
			Instead: "the same routers in a file of the file provider",
		})
	}
	for _, c := range r.static.Get("certificatesResolvers").Parts() {
		r.problem(model.Problem{
			Pos: c.Pos, Effect: model.Dropped,
			Text: fmt.Sprintf("resolver %s reaches no certificate authority in runs: "+
				"Traefik serves a self-signed certificate", c.Key),
			Instead: "tls.certificates with certFile and keyFile, to test the certificate",
		})
	}
	r.readAdminPages()
	if endpoint := r.static.Get("tracing", "otlp", "grpc", "endpoint"); endpoint != nil {
		r.cfg.Needs = append(r.cfg.Needs, model.Need{Pos: endpoint.Pos, Kind: model.NeedHost, Path: endpoint.Text()})
	}
}

// requestsTotal counts the requests of all entry points (doc.traefik.io).
var requestsTotal = model.Counter{
	Form: model.CounterMetrics, Selector: "traefik_entrypoint_requests_total", MetricPrefix: "traefik_",
}

// readAdminPages reads dashboard, metrics and ping, which Traefik serves on its own entry point by default.
func (r *reader) readAdminPages() {
	api, metrics, ping := r.static.Get("api"), r.static.Get("metrics", "prometheus"), r.static.Get("ping")
	insecure := api.Get("insecure").IsTrue()
	if api != nil && !insecure {
		r.unread(api, "api", "no router uses api@internal: the dashboard is not reachable")
	}
	port := 8080
	for _, e := range r.entries {
		if e.name == "traefik" {
			port = e.port
		}
	}
	page := func(t *reading.Tree, at, what string, counter *model.Counter) {
		on := port
		for _, e := range r.entries {
			if e.name == t.Get("entryPoint").Text() {
				on = e.port
			}
		}
		if t != nil {
			r.cfg.Routes = append(r.cfg.Routes, model.Route{
				Pos: t.Pos, Path: at, Port: on, Priority: 1 << 29,
				LocalContent: &model.LocalContent{Pos: t.Pos, Description: what, Counter: counter},
			})
		}
		if t != nil && !slices.ContainsFunc(r.cfg.Listeners, func(l model.Listener) bool { return l.Port == on }) {
			r.cfg.Listeners = append(r.cfg.Listeners, model.Listener{Pos: t.Pos, Port: on})
		}
	}
	page(metrics, "/metrics", "Prometheus metrics", &requestsTotal)
	page(ping, "/ping", "ping", nil)
	if insecure {
		page(api, "/api/", "Traefik's API and dashboard", nil)
	}
}

// unusedMiddlewares reports middlewares that no router uses.
func (r *reader) unusedMiddlewares() {
	used := map[string]bool{}
	for _, d := range r.dynamic {
		for _, router := range d.Get("http", "routers").Parts() {
			for _, m := range router.Get("middlewares").Texts() {
				name, _, _ := strings.Cut(m, "@")
				used[strings.ToLower(name)] = true
			}
		}
		for _, m := range d.Get("http", "middlewares").Parts() {
			for _, inner := range m.Get("chain", "middlewares").Texts() {
				used[strings.ToLower(inner)] = true
			}
		}
	}
	if r.static != nil {
		for _, e := range r.static.Get("entryPoints").Parts() {
			for _, m := range e.Get("http", "middlewares").Texts() {
				name, _, _ := strings.Cut(m, "@")
				used[strings.ToLower(name)] = true
			}
		}
	}
	for _, d := range r.dynamic {
		for _, m := range d.Get("http", "middlewares").Parts() {
			if !used[strings.ToLower(m.Key)] {
				r.problem(model.Problem{
					Pos: m.Pos, Effect: model.Inert,
					Text:    fmt.Sprintf("middleware %s is not used", m.Key),
					Instead: fmt.Sprintf("middlewares: [%s] in the intended router", m.Key),
				})
			}
		}
	}
}
