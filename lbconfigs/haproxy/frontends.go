package haproxy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// frontend reads the listeners of a section, and how their requests are handled.
func (r *reader) frontend(s section) error {
	base, plain, err := r.binds(s)
	if err != nil {
		return err
	}
	if base.Port == 0 {
		r.problem(model.Problem{
			Pos: s.pos, Effect: model.Inert,
			Text:    fmt.Sprintf("%s %s has no bind", s.kind, s.name),
			Instead: "bind :80",
		})
		return nil
	}
	if len(base.Ports) == 1 {
		base.Ports = nil
	}
	if mode, ok := s.last("mode"); !ok || mode.word(1) != "http" {
		r.tcp(s, mode, ok)
		return nil
	}
	r.stats(s, base)
	if err := r.requestRules(s, &base, plain); err != nil {
		return err
	}
	r.frontendTimeouts(s, &base)
	return r.branches(s, base)
}

// binds reads the listeners of a section. It returns the route of all its requests, and the ports without TLS.
func (r *reader) binds(s section) (base model.Route, plain []int, err error) {
	base = model.Route{Pos: s.pos, Path: "/"}
	for _, l := range s.all("bind") {
		listeners, err := r.bind(l)
		if err != nil {
			return base, nil, err
		}
		for _, listener := range listeners {
			if base.Port == 0 {
				base.Port, base.TLS = listener.Port, listener.TLS
			}
			base.Ports = append(base.Ports, listener.Port)
			if !listener.TLS {
				plain = append(plain, listener.Port)
			}
		}
		r.cfg.Listeners = append(r.cfg.Listeners, listeners...)
	}
	return base, plain, nil
}

// tcp reports a section in mode tcp, which is the default: its HTTP rules have no effect.
func (r *reader) tcp(s section, mode statement, written bool) {
	if !written {
		mode = statement{pos: s.pos, words: []string{s.kind, s.name}}
	}
	r.cfg.Unread = append(r.cfg.Unread, model.Unread{
		Pos: mode.pos, Text: mode.text(), Reason: "mode tcp (the default): lbproof derives claims from mode http only",
	})
	for _, l := range s.all("http-request", "http-response", "redirect") {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Inert,
			Text:    fmt.Sprintf("%s %s is in mode tcp: HTTP rules have no effect", s.kind, s.name),
			Instead: "mode http",
		})
	}
}

// statistics are HAProxy's statistics, in which frontends count client requests (management guide, section 9.1).
var statistics = model.Counter{
	Form: model.CounterTable, Selector: "req_tot", RowFilter: [2]string{"svname", "FRONTEND"},
}

// exporter is HAProxy's Prometheus exporter (addons/promex/README).
var exporter = model.Counter{
	Form: model.CounterMetrics, Selector: "haproxy_frontend_http_requests_total", MetricPrefix: "haproxy_",
	CountsItself: true,
}

// stats reads the statistics page of a section.
func (r *reader) stats(s section, base model.Route) {
	enable, ok := s.last("stats", "enable")
	uri, named := s.last("stats", "uri")
	if !ok && !named {
		return
	}
	route := base
	route.Path, route.Pos, route.Priority = "/haproxy?stats", enable.pos, topPriority
	if named {
		route.Path, route.Pos = uri.word(2), uri.pos
	}
	counter := statistics
	counter.Query, counter.CountsItself = ";csv", true
	route.LocalContent = &model.LocalContent{Pos: route.Pos, Description: "HAProxy's statistics page", Counter: &counter}
	if auth, ok := s.last("stats", "auth"); ok {
		route.Auth = &model.Auth{Pos: auth.pos, Kind: model.AuthUsers, DeniedCode: 401}
	}
	if admin, ok := s.last("stats", "admin"); ok {
		_, condition := splitCondition(admin.words)
		route.LocalContent.Control = true
		route.LocalContent.ControlConditions = controlConditions(condition)
		if slices.Contains(condition, "TRUE") && route.Auth == nil {
			r.problem(model.Problem{
				Pos: admin.pos, Effect: model.Misleading,
				Text:    "anyone who reaches this port can disable servers: no password, and a condition that is always true",
				Instead: "stats auth USER:PASSWORD and stats admin if LOCALHOST",
			})
		}
	}
	r.cfg.Routes = append(r.cfg.Routes, route)
}

// controlConditions reads the condition of stats admin, which starts with if or unless; none if it is always true.
func controlConditions(condition []string) []model.Condition {
	if len(condition) == 0 || slices.Equal(condition, []string{"if", "TRUE"}) {
		return nil
	}
	text := strings.Join(condition[1:], " ")
	if condition[0] == "unless" {
		text = "not (" + text + ")"
	}
	return []model.Condition{readCondition(text)}
}

func (r *reader) frontendTimeouts(s section, base *model.Route) {
	for _, t := range []struct{ word, what, then string }{
		{"client", model.ClientTimeout, "the connection is closed, with 408 if nothing was sent"},
		{"http-request", model.HeaderTimeout, "408"},
		{"http-keep-alive", model.IdleTimeout, "the connection is closed"},
	} {
		if l, ok := s.last("timeout", t.word); ok {
			if after, err := parseTime(l.word(2)); err == nil {
				headers := t.what == model.ClientTimeout // during the body timeout server runs as well
				base.Timeouts = append(base.Timeouts, model.Timeout{
					Pos: l.pos, Kind: t.what, Duration: after, Result: t.then, HeaderOnly: headers,
				})
			}
		}
	}
}

// branches reads use_backend rules in order, then the default backend.
func (r *reader) branches(s section, base model.Route) error {
	var closes model.Pos
	for _, never := range closeOptions {
		if l, ok := s.option(never); ok && closes.Line == 0 {
			closes = l.pos
		}
	}
	add := func(l statement, backend string, m ruleMatch) {
		route := m.apply(base)
		r.priority--
		route.Priority, route.PoolPos, route.Pos = r.priority, l.pos, l.pos
		r.routes = append(r.routes, pendingRoute{route, backend, closes})
	}
	for _, l := range s.all("use_backend") {
		_, condition := splitCondition(l.words)
		if strings.Contains(l.word(1), "%[") {
			r.cfg.Unread = append(r.cfg.Unread, model.Unread{
				Pos: l.pos, Text: l.text(), Reason: "the backend is known only at run time",
			})
			continue
		}
		for _, m := range r.matches(s, l, condition) {
			add(l, l.word(1), m)
		}
	}
	if s.kind == "listen" {
		if len(s.all("server")) > 0 {
			add(statement{pos: s.pos}, s.name, ruleMatch{})
		}
		return nil
	}
	if l, ok := s.last("default_backend"); ok {
		add(l, l.word(1), ruleMatch{})
	} else if _, stats := s.last("stats", "enable"); !stats {
		r.reportNoDefault(s)
	}
	return nil
}

// reportNoDefault reports a frontend without a default backend.
func (r *reader) reportNoDefault(s section) {
	r.problem(model.Problem{
		Pos: s.pos, Effect: model.Misleading,
		Text:    fmt.Sprintf("frontend %s has no default_backend: requests that match no use_backend get 503", s.name),
		Instead: "default_backend NAME",
	})
}

// closeOptions are the options that close connections to servers after each request.
var closeOptions = []string{"httpclose", "http-server-close"}
