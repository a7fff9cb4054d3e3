package nginx

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// findDefaults finds the default server block of each port: the one marked as such, else the first.
func (r *reader) findDefaults(servers []item) error {
	r.defaults = map[int]model.Pos{}
	for _, s := range servers {
		listens, err := r.listens(s)
		if err != nil {
			return err
		}
		for _, l := range listens {
			if _, taken := r.defaults[l.Port]; !taken || l.Default {
				r.defaults[l.Port] = s.pos
			}
		}
	}
	return nil
}

// listens returns the listeners of a server block.
func (r *reader) listens(server item) ([]model.Listener, error) {
	var found []model.Listener
	block := r.block(server)
	listens := pick(block, "listen")
	http2 := scope{newLevel(block)}.hasValue("http2", "on")
	for _, d := range listens {
		if strings.HasPrefix(d.arg(0), "unix:") {
			continue
		}
		port, err := listenPort(d.arg(0))
		if err != nil {
			return nil, fmt.Errorf("%s: listen %s: %w", d.pos, d.arg(0), err)
		}
		has := func(word string) bool { return slices.Contains(d.Args, word) }
		l := model.Listener{
			Pos: d.pos, Port: port, Default: has("default_server"), TLS: has("ssl"), HTTP2: http2 || has("http2"),
		}
		if !slices.ContainsFunc(found, func(f model.Listener) bool { return f.Port == port }) { // [::]:80 beside 80
			found = append(found, l)
		}
	}
	if len(listens) == 0 { // nginx listens on port 80 by default
		found = append(found, model.Listener{Pos: server.pos, Port: 80})
	}
	return found, nil
}

// listenPort returns the port of a listen address, which is a port, an address, or both.
func listenPort(addr string) (int, error) {
	if port, err := strconv.ParseUint(addr, 10, 16); err == nil {
		return int(port), nil
	}
	_, port, err := reading.SplitHostPort(addr, 80)
	return port, err
}

// site is what locations inherit from a server block.
type site struct {
	scope
	listens   []model.Listener
	hosts     []string
	isDefault bool
	rules     []model.Rule // of if and rewrite in the server block, which run first
}

func (r *reader) server(server item, outer scope) error {
	block := r.block(server)
	s := site{scope: outer.nested(block)}
	var err error
	if s.listens, err = r.listens(server); err != nil {
		return err
	}
	for _, l := range s.listens {
		s.isDefault = s.isDefault || r.defaults[l.Port] == server.pos
		if !slices.ContainsFunc(r.cfg.Listeners, func(f model.Listener) bool { return f.Port == l.Port }) {
			r.cfg.Listeners = append(r.cfg.Listeners, l)
		}
	}
	s.hosts = r.hosts(block, s.isDefault)
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
	r.checkDuplicates(locations)
	if err := r.locations(locations, s, s.scope); err != nil {
		return err
	}
	if root := r.serverRoot(server, s, locations); root != nil {
		r.cfg.Routes = append(r.cfg.Routes, *root)
	}
	r.siteProblems(server, s)
	return nil
}

// hosts returns the names of a server block. A nameless one that is not the default only gets requests without a host.
func (r *reader) hosts(block []item, fallback bool) []string {
	var hosts []string
	for _, d := range pick(block, "server_name") {
		for _, name := range d.Args {
			switch {
			case name == "_", name == "":
			case strings.HasPrefix(name, "~"):
				r.cfg.Unread = append(r.cfg.Unread, model.Unread{
					Pos: d.pos, Text: "server_name " + name,
					Reason: "host names by regular expression are not tested",
				})
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

// serverRoot returns the route of a server block that responds without a location.
func (r *reader) serverRoot(server item, s site, locations []item) *model.Route {
	route := s.newRoute(server.pos)
	route.Path = "/"
	if slices.ContainsFunc(locations, func(l item) bool { return l.arg(len(l.Args)-1) == "/" }) {
		return nil
	}
	if up, ok := s.directive("return"); ok {
		if err := r.readReturn(&route, up); err != nil {
			return nil
		}
		_ = r.policies(&route, s.scope) // locations have reported its errors
		return &route
	}
	return nil
}

// tls reads the TLS settings of a server block.
func (r *reader) tls(server item, s site) {
	tls := model.TLS{
		Pos: server.pos, Hosts: s.hosts, VersionsPos: server.pos, Implicit: true, Versions: []string{"TLSv1.2", "TLSv1.3"},
		Assumption: "nginx is 1.27.3 or later (before, TLSv1.0 and TLSv1.1 are on by default; before 1.23.4, TLSv1.3 is off)",
	}
	for _, l := range s.listens {
		if l.TLS {
			tls.Ports, tls.Pos = append(tls.Ports, l.Port), l.Pos
		}
	}
	if len(tls.Ports) == 0 {
		return
	}
	if d, ok := s.directive("ssl_protocols"); ok {
		tls.Versions, tls.VersionsPos, tls.Implicit, tls.Assumption = d.Args, d.pos, false, ""
	}
	if d, ok := s.directive("ssl_ciphers"); ok {
		tls.Ciphers, tls.CiphersPos = d.arg(0), d.pos
		r.cfg.Problems = append(r.cfg.Problems, reading.CheckCiphers(d.pos, d.arg(0))...)
	}
	if d, ok := s.directive("ssl_certificate"); ok {
		tls.Certificate, tls.CertPos = d.arg(0), d.pos
		need := model.Need{Pos: d.pos, Kind: model.NeedCertificate, Path: reading.PathIn(confDir, d.arg(0)), Hosts: s.hosts}
		if key, ok := s.directive("ssl_certificate_key"); ok {
			need.KeyFile = reading.PathIn(confDir, key.arg(0))
		}
		r.cfg.Needs = append(r.cfg.Needs, need)
	} else {
		r.reportNoCertificate(server, tls)
	}
	if d, ok := s.directive("ssl_session_cache"); ok && d.arg(0) != "off" && d.arg(0) != "none" {
		tls.SessionCache = &d.pos
	}
	if d, ok := s.directive("ssl_session_tickets"); ok && d.arg(0) == "off" {
		tls.TicketsOff = &d.pos
	}
	r.cfg.TLS = append(r.cfg.TLS, tls)
}

// reportNoCertificate reports a missing certificate. nginx requires one of the default server of a port; clients of
// other servers get that one.
func (r *reader) reportNoCertificate(server item, tls model.TLS) {
	p := model.Problem{
		Pos: tls.Pos, Effect: model.Misleading,
		Text: "the server listens with ssl but has no ssl_certificate: " +
			"its clients get that of the port's default server",
		Instead: "ssl_certificate FILE; and ssl_certificate_key FILE;",
	}
	for _, port := range tls.Ports {
		if r.defaults[port] == server.pos {
			p.Effect, p.Text = model.Rejected, "the server listens with ssl but has no ssl_certificate"
		}
	}
	r.problem(p)
}
