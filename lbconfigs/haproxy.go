package lbconfigs

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

const haproxyDir = "/etc/haproxy"

var haproxy = Balancer{
	Name: "haproxy",
	Doc:  "haproxy.cfg, or all *.cfg of a directory, of HAProxy 2.6; the image is haproxy:2.6, else Debian's package",
	Main: []string{"*.cfg"},
	Owns: func(text string) bool {
		for line := range strings.Lines(text) {
			words := strings.Fields(line)
			if len(words) > 0 && strings.HasPrefix(line, words[0]) && slices.Contains(haproxySections, words[0]) && !strings.ContainsAny(line, "{;:[=") {
				return true
			}
		}
		return false
	},
	Parse:   parseHAProxy,
	Unknown: model.Rejected,
	Spec:    haproxySpec,
	Edits:   haproxyEdits,
}

// haproxySections are the words that begin a section.
var haproxySections = []string{
	"global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "mailers", "cache", "program", "http-errors", "ring", "fcgi-app", "log-forward", "crt-store",
}

func haproxySpec(cfg model.Config) plan.Spec {
	spec := plan.Spec{
		Name:    plan.OwnName("haproxy"),
		Role:    plan.Balancer,
		Command: []string{"haproxy", "-db"},
		Check:   []string{"haproxy", "-c"},
		Version: []string{"haproxy", "-v"},
		Dir:     haproxyDir,
		Title:   "haproxy",
		Files:   map[string]string{},
		Image: plan.Image{
			Ref:      "haproxy:2.6",
			Packages: []string{"haproxy"},
			Users:    []string{"nobody", "nogroup", "haproxy"},
			Dirs:     []string{"/etc/haproxy", "/run", "/run/haproxy", "/var/lib/haproxy", "/tmp"},
			Links:    []string{"/var/run -> /run"},
		},
	}
	for _, file := range cfg.Files {
		at := path.Join(haproxyDir, path.Base(file.Name))
		spec.Files[at] = file.Name
		spec.Command = append(spec.Command, "-f", at)
		spec.Check = append(spec.Check, "-f", at)
	}
	for _, s := range cfg.Sockets {
		spec.Shared = append(spec.Shared, path.Dir(s.Path))
	}
	slices.Sort(spec.Shared)
	spec.Shared = slices.Compact(spec.Shared)
	return spec
}

// line is one line of a configuration, taken apart.
type haLine struct {
	pos   model.Pos
	words []string
}

func (l haLine) word(n int) string {
	if n < len(l.words) {
		return l.words[n]
	}
	return ""
}

// from are the words from one on.
func (l haLine) from(n int) []string { return l.words[min(n, len(l.words)):] }

func (l haLine) text() string { return controls.Replace(strings.Join(l.words, " ")) }

// controls writes control characters as HAProxy's configurations do.
var controls = strings.NewReplacer("\t", `\t`, "\r", `\r`, "\n", `\n`)

// after is the word that follows another one.
func (l haLine) after(word string) string {
	if i := slices.Index(l.words, word); i >= 0 {
		return l.word(i + 1)
	}
	return ""
}

// starts says whether the line begins with the words.
func (l haLine) starts(words ...string) bool {
	return len(l.words) >= len(words) && slices.Equal(l.words[:len(words)], words)
}

// section is a section with the defaults that apply to it.
type haSection struct {
	pos      model.Pos
	kind     string
	name     string
	defaults []haLine
	own      []haLine
}

// last is the line in force that begins with the words: the section's last, else the last of its defaults.
func (s haSection) last(words ...string) (haLine, bool) {
	for _, lines := range [][]haLine{s.own, s.defaults} {
		for _, l := range slices.Backward(lines) {
			if l.starts(words...) {
				return l, true
			}
		}
	}
	return haLine{}, false
}

// option says whether an option is on, and where it is put on.
func (s haSection) option(name string) (haLine, bool) {
	on, isOn := s.last("option", name)
	off, isOff := s.last("no", "option", name)
	inOwn := func(l haLine) bool { return slices.ContainsFunc(s.own, func(o haLine) bool { return o.pos == l.pos }) }
	if isOff && (!isOn || inOwn(off) && !inOwn(on) || inOwn(off) == inOwn(on) && off.pos.Line > on.pos.Line) {
		return haLine{}, false
	}
	return on, isOn
}

// all are the section's own lines that begin with one of the words.
func (s haSection) all(words ...string) []haLine {
	var out []haLine
	for _, l := range s.own {
		if slices.Contains(words, l.word(0)) {
			out = append(out, l)
		}
	}
	return out
}

// haReader turns sections into model.Config.
type haReader struct {
	cfg      *model.Config
	sections []haSection
	global   haSection
	routes   []haRoute
	priority int
	acls     map[model.Pos]map[string][]string // section → ACL → what it stands for
	words    map[model.Pos]map[string]bool     // section → every word outside its ACLs, without negation
	told     map[string]bool                   // unused ACLs that were told, of several lines each
	backends map[string]int                    // backend → its place in sections
}

// haRoute is a route with the backend that it leads to.
type haRoute struct {
	route   model.Route
	backend string
	closes  model.Pos // where its frontend says that connections to servers end with their request; no line where it does not
}

// parseHAProxy reads files in the order in which HAProxy does: that of their names.
func parseHAProxy(fsys fs.FS, names ...string) (model.Config, error) {
	cfg := model.Config{Balancer: "haproxy", Foreground: true, Workers: model.Workers{Pos: model.Pos{File: names[0]}, Count: 1}}
	r := haReader{cfg: &cfg, priority: 1 << 20}
	for _, n := range names {
		text, err := readText(fsys, n)
		if err != nil {
			return model.Config{}, err
		}
		cfg.Files = append(cfg.Files, model.NewFile(n, text))
		if err := r.split(n, string(text)); err != nil {
			return model.Config{}, err
		}
	}
	return cfg, r.read()
}

// split takes a file apart into sections.
func (r *haReader) split(file, text string) error {
	number := 0
	named := map[string][]haLine{}
	var defaults []haLine
	var current *haSection
	keep := func() {
		if current == nil {
			return
		}
		if current.kind == "defaults" {
			defaults, named[current.name] = current.own, current.own
		}
		r.sections = append(r.sections, *current)
	}
	for raw := range strings.Lines(text) {
		number++
		l := haLine{pos: model.Pos{File: file, Line: number}}
		var err error
		if l.words, err = haWords(raw); err != nil {
			return fmt.Errorf("%s: %w", l.pos, err)
		}
		if n := len(l.words); n > haMostWords {
			r.problem(model.Problem{
				Pos: l.pos, Effect: model.Rejected,
				Text:    fmt.Sprintf("the line has %d words, and HAProxy takes at most %d", n, haMostWords),
				Instead: "several lines; those of an acl may repeat its name",
			})
		}
		switch {
		case len(l.words) == 0:
		case slices.Contains(haproxySections, l.word(0)):
			keep()
			current = r.begin(l, defaults, named)
		case current == nil:
			return fmt.Errorf("%s: %q stands before any section (global, defaults, frontend, backend, listen)", l.pos, l.text())
		default:
			current.own = append(current.own, l)
		}
	}
	keep()
	return nil
}

// begin is a new section, with the defaults that it names, else the last ones.
func (r *haReader) begin(l haLine, defaults []haLine, named map[string][]haLine) *haSection {
	s := &haSection{pos: l.pos, kind: l.word(0), name: l.word(1), defaults: defaults}
	if from := l.after("from"); from != "" {
		inherited, ok := named[from]
		if !ok {
			r.problem(model.Problem{Pos: l.pos, Effect: model.Rejected, Text: "there is no defaults section called " + from})
		}
		s.defaults = inherited
	}
	if s.kind == "defaults" {
		s.defaults = nil
	}
	return s
}

func (r *haReader) problem(p model.Problem) { r.cfg.Problems = append(r.cfg.Problems, p) }

func (r *haReader) read() error {
	proxies := 0
	r.index()
	for _, s := range r.sections {
		r.keywords(s)
		switch s.kind {
		case "global":
			r.global.own = append(r.global.own, s.own...)
		case "frontend", "listen", "backend":
			proxies++
		}
	}
	if proxies == 0 {
		return fmt.Errorf("%s: there is no frontend, backend or listen section in it", r.cfg.Files[0].Name)
	}
	r.descriptors()
	for _, s := range r.sections {
		if s.kind == "backend" || s.kind == "listen" {
			if err := r.pool(s); err != nil {
				return err
			}
		}
	}
	for _, s := range r.sections {
		if s.kind == "frontend" || s.kind == "listen" {
			if err := r.frontend(s); err != nil {
				return err
			}
		}
	}
	for _, hr := range r.routes {
		if err := r.finish(hr); err != nil {
			return err
		}
	}
	r.closing()
	r.cfg.Reload = &model.Reload{Pos: model.Pos{File: r.cfg.Files[0].Name}, How: "a new process takes over the listening sockets (SO_REUSEPORT, or -x), the old one finishes what it has"}
	return nil
}

// index notes what is looked up often.
func (r *haReader) index() {
	r.told = map[string]bool{}
	r.acls, r.words, r.backends = map[model.Pos]map[string][]string{}, map[model.Pos]map[string]bool{}, map[string]int{}
	for i, s := range r.sections {
		if s.kind == "backend" || s.kind == "listen" {
			r.backends[s.name] = i
		}
		acls, words := map[string][]string{}, map[string]bool{}
		for _, l := range s.own {
			if l.word(0) == "acl" && len(l.words) > 2 {
				if _, twice := acls[l.word(1)]; !twice {
					acls[l.word(1)] = l.words[2:]
				}
				continue
			}
			for _, w := range l.words {
				words[strings.TrimLeft(w, "!")] = true
			}
		}
		r.acls[s.pos], r.words[s.pos] = acls, words
	}
}

// descriptors: HAProxy wants two for each connection, and does not start where it may not have them.
func (r *haReader) descriptors() {
	l, ok := r.global.last("maxconn")
	n, err := strconv.Atoi(l.word(1))
	if !ok || err != nil || n < 32768 {
		return
	}
	r.problem(model.Problem{
		Pos: l.pos, Effect: model.Differs,
		Text:    fmt.Sprintf("this takes more than %d file descriptors: where the hard limit is lower, HAProxy does not start although its -c accepts the file", 2*n),
		Instead: "leave it out, and HAProxy takes what the limit allows; or raise the limit (LimitNOFILE=)",
	})
}

// frontend reads the listeners of a section, and what becomes of their requests.
func (r *haReader) frontend(s haSection) error {
	base := model.Route{Pos: s.pos, Path: "/"}
	var plain []int
	for _, l := range s.all("bind") {
		listeners, err := r.bind(l)
		if err != nil {
			return err
		}
		for _, listener := range listeners {
			if base.Port == 0 {
				base.Port, base.TLS = listener.Port, listener.TLS
			}
			base.Ports = append(base.Ports, listener.Port)
			if !listener.TLS {
				plain = append(plain, listener.Port)
			}
			r.cfg.Listeners = append(r.cfg.Listeners, listener)
		}
	}
	if base.Port == 0 {
		r.problem(model.Problem{
			Pos: s.pos, Effect: model.Inert,
			Text:    fmt.Sprintf("%s %s listens nowhere", s.kind, s.name),
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

// tcp is a section that proxies TCP, which is the default: its HTTP rules do nothing.
func (r *haReader) tcp(s haSection, mode haLine, written bool) {
	if !written {
		mode = haLine{pos: s.pos, words: []string{s.kind, s.name}}
	}
	r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: mode.pos, Text: mode.text(), Why: "TCP mode, which is the default: lbproof draws promises from mode http"})
	for _, l := range s.all("http-request", "http-response", "redirect") {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Inert,
			Text:    fmt.Sprintf("%s %s proxies TCP: HTTP rules have no effect in it", s.kind, s.name),
			Instead: "mode http",
		})
	}
}

// bind reads a listener and how it speaks TLS.
func (r *haReader) bind(l haLine) ([]model.Listener, error) {
	var out []model.Listener
	has := func(word string) bool { return slices.Contains(l.words, word) }
	for _, addr := range strings.Split(l.word(1), ",") {
		if strings.HasPrefix(addr, "/") || strings.HasPrefix(addr, "unix@") {
			continue
		}
		port, err := strconv.ParseUint(addr[strings.LastIndex(addr, ":")+1:], 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%s: bind %s: no port after the colon", l.pos, addr)
		}
		out = append(out, model.Listener{Pos: l.pos, Port: int(port), TLS: has("ssl"), HTTP2: strings.Contains(l.after("alpn"), "h2")})
	}
	if has("ssl") {
		r.tls(l, out)
	}
	return out, nil
}

func (r *haReader) tls(l haLine, listeners []model.Listener) {
	tls := model.TLS{Pos: l.pos, VersionsPos: l.pos, Implicit: true, Versions: []string{"TLSv1.2", "TLSv1.3"}}
	for _, listener := range listeners {
		tls.Ports = append(tls.Ports, listener.Port)
	}
	options := l
	if global, ok := r.global.last("ssl-default-bind-options"); ok {
		options.words = append(slices.Clone(global.words), l.words...)
		tls.VersionsPos = global.pos
	}
	if versions := haVersions(options); versions != nil {
		tls.Versions, tls.Implicit = versions, false
	}
	if slices.Contains(options.words, "no-tls-tickets") {
		tls.NoTickets = &tls.VersionsPos
	}
	if c := l.after("ciphers"); c != "" {
		tls.Ciphers, tls.CiphersPos = c, l.pos
	} else if global, ok := r.global.last("ssl-default-bind-ciphers"); ok {
		tls.Ciphers, tls.CiphersPos = global.word(1), global.pos
	}
	if tls.Ciphers != "" && !slices.ContainsFunc(r.cfg.TLS, func(t model.TLS) bool { return t.CiphersPos == tls.CiphersPos }) {
		r.cfg.Problems = append(r.cfg.Problems, cipherProblems(tls.CiphersPos, tls.Ciphers)...)
	}
	if crt := l.after("crt"); crt != "" {
		tls.Certificate, tls.CertPos = crt, l.pos
		if strings.HasSuffix(crt, "/") { // every file of the directory is a certificate with its key
			crt += "lbproof.pem"
		}
		r.cfg.Needs = append(r.cfg.Needs, model.Need{Pos: l.pos, Kind: model.NeedCertificate, Path: inDir(r.certificates(), crt)})
	} else {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Rejected,
			Text:    "the bind speaks ssl and names no certificate",
			Instead: "bind … ssl crt /etc/haproxy/certs/",
		})
	}
	if len(listeners) > 0 { // a socket is not spoken to
		r.cfg.TLS = append(r.cfg.TLS, tls)
	}
}

// certificates is where HAProxy looks for a certificate that is not named from the root.
func (r *haReader) certificates() string {
	if l, ok := r.global.last("crt-base"); ok {
		return l.word(1)
	}
	return haproxyDir
}

// haVersions are the TLS versions that options leave; nil where they say nothing of it.
func haVersions(options haLine) []string {
	all := []string{"TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"}
	words := []string{"no-tlsv10", "no-tlsv11", "no-tlsv12", "no-tlsv13"}
	var left []string
	said := false
	low, high := slices.Index(all, options.after("ssl-min-ver")), slices.Index(all, options.after("ssl-max-ver"))
	for i, v := range all {
		switch {
		case low >= 0 && i < low, high >= 0 && i > high, slices.Contains(options.words, words[i]):
			said = true
		case low < 0 && i < 2 && !slices.Contains(options.words, "ssl-min-ver"): // HAProxy 2.2 and later begin with TLSv1.2
		default:
			left = append(left, v)
		}
	}
	if !said {
		return nil
	}
	return left
}

// stats is the statistics page of a section.
func (r *haReader) stats(s haSection, base model.Route) {
	enable, ok := s.last("stats", "enable")
	uri, named := s.last("stats", "uri")
	if !ok && !named {
		return
	}
	route := base
	route.Path, route.Pos, route.Priority = "/haproxy?stats", enable.pos, haFirst
	if named {
		route.Path, route.Pos = uri.word(2), uri.pos
	}
	route.Own = &model.Own{Pos: route.Pos, What: "HAProxy's statistics page"}
	if auth, ok := s.last("stats", "auth"); ok {
		route.Auth = &model.Auth{Pos: auth.pos, By: "a list of users", Code: 401}
	}
	if admin, ok := s.last("stats", "admin"); ok {
		_, condition := haCondition(admin.words)
		when := strings.Join(condition, " ")
		route.Own.What += "; servers can be disabled on it " + when
		if slices.Contains(condition, "TRUE") && route.Auth == nil {
			r.problem(model.Problem{
				Pos: admin.pos, Effect: model.Differs,
				Text:    "anyone who reaches this port may disable servers: there is no password, and the condition is always true",
				Instead: "stats auth USER:PASSWORD, and stats admin if LOCALHOST",
			})
		}
	}
	r.cfg.Routes = append(r.cfg.Routes, route)
}

func (r *haReader) frontendTimeouts(s haSection, base *model.Route) {
	for _, t := range []struct{ word, what, then string }{
		{"client", model.ClientTimeout, "the connection is closed (408 where it had sent nothing)"},
		{"http-request", model.HeaderTimeout, "408"},
		{"http-keep-alive", model.IdleTimeout, "the connection is closed"},
	} {
		if l, ok := s.last("timeout", t.word); ok {
			if after, err := haproxyTime(l.word(2)); err == nil {
				base.Timeouts = append(base.Timeouts, model.TimeLimit{Pos: l.pos, For: t.what, After: after, Then: t.then})
			}
		}
	}
}

// branches reads use_backend rules in their order, then the default.
func (r *haReader) branches(s haSection, base model.Route) error {
	var closes model.Pos
	for _, never := range neverKept {
		if l, ok := s.option(never); ok && closes.Line == 0 {
			closes = l.pos
		}
	}
	add := func(l haLine, backend string, m haMatch) {
		route := m.apply(base)
		r.priority--
		route.Priority, route.PoolPos, route.Pos = r.priority, l.pos, l.pos
		r.routes = append(r.routes, haRoute{route, backend, closes})
	}
	for _, l := range s.all("use_backend") {
		_, condition := haCondition(l.words)
		if strings.Contains(l.word(1), "%[") {
			r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: l.pos, Text: l.text(), Why: "the backend is known only while HAProxy runs"})
			continue
		}
		for _, m := range r.matches(s, l, condition) {
			add(l, l.word(1), m)
		}
	}
	if s.kind == "listen" {
		if len(s.all("server")) > 0 {
			add(haLine{pos: s.pos}, s.name, haMatch{})
		}
		return nil
	}
	if l, ok := s.last("default_backend"); ok {
		add(l, l.word(1), haMatch{})
	} else if _, stats := s.last("stats", "enable"); !stats {
		r.problem(model.Problem{
			Pos: s.pos, Effect: model.Differs,
			Text:    fmt.Sprintf("the frontend %s has no default_backend: what no use_backend takes is answered 503", s.name),
			Instead: "default_backend NAME",
		})
	}
	return nil
}

// closing gives pools what all frontends that lead to them say of connections to servers, which is enough (mux_h1.c).
func (r *haReader) closing() {
	for i, p := range r.cfg.Pools {
		var from model.Pos
		keeps := false
		for _, hr := range r.routes {
			if hr.backend == p.Name {
				from, keeps = hr.closes, keeps || hr.closes.Line == 0
			}
		}
		if p.Keepalive != nil && p.Keepalive.Implicit && from.Line > 0 && !keeps {
			r.cfg.Pools[i].Keepalive = &model.Keepalive{Pos: from, Never: true}
		}
	}
}

// finish adds to a route what its backend says.
func (r *haReader) finish(hr haRoute) error {
	route := hr.route
	i, ok := r.backends[hr.backend]
	if !ok {
		r.problem(model.Problem{
			Pos: route.PoolPos, Effect: model.Rejected,
			Text:    fmt.Sprintf("there is no backend called %s", hr.backend),
			Instead: fmt.Sprintf("backend %s with its servers, or the name of one that there is", hr.backend),
		})
		return nil
	}
	s := r.sections[i]
	if mode, ok := s.last("mode"); !ok || mode.word(1) != "http" {
		r.problem(model.Problem{
			Pos: route.PoolPos, Effect: model.Rejected,
			Text:    fmt.Sprintf("the frontend proxies HTTP and the backend %s proxies TCP, which is the default", hr.backend),
			Instead: "mode http, in the backend or in defaults",
		})
	}
	route.Pool = hr.backend
	r.retry(s, &route)
	r.serverTimeouts(s, &route)
	if s.kind == "backend" {
		if err := r.requestRules(s, &route, nil); err != nil {
			return err
		}
	}
	if len(s.all("server")) == 0 {
		route.Pool = ""
	}
	if l, ok := s.option("forwardfor"); ok && route.Pool != "" && !slices.ContainsFunc(route.SetHeaders, func(h model.Header) bool { return h.Name == "X-Forwarded-For" }) {
		route.SetHeaders = append(route.SetHeaders, model.Header{Pos: l.pos, Name: "X-Forwarded-For", Value: "%[src]", Adds: true})
	}
	route.Guarded = len(route.Limits)+len(route.Access) > 0 || slices.ContainsFunc(route.Rules, model.Rule.Refuses) || route.Auth != nil
	if route.Pool == "" && route.Answer == nil && route.Redirect == nil {
		return nil
	}
	r.cfg.Routes = append(r.cfg.Routes, route)
	return nil
}

func (r *haReader) retry(s haSection, route *model.Route) {
	retry := &model.Retry{Pos: route.PoolPos, Implicit: true, On: []string{"conn-failure"}, Attempts: 4, Wait: time.Second}
	if l, ok := s.last("retries"); ok {
		if n, err := strconv.Atoi(l.word(1)); err == nil {
			retry.Pos, retry.Implicit, retry.Attempts = l.pos, false, n+1
		}
	}
	if l, ok := s.last("retry-on"); ok {
		retry.Pos, retry.Implicit, retry.On = l.pos, false, l.from(1)
		retry.AnyMethod = !slices.ContainsFunc(s.all("http-request"), func(l haLine) bool { return l.word(1) == "disable-l7-retry" })
	}
	balance, _ := s.last("balance")
	if l, ok := s.option("redispatch"); ok && len(s.all("server")) > 1 {
		retry.Elsewhere = !haHashed(balance.word(1)) // a hash chooses the same one again until checks have found it dead
		if retry.Implicit {
			retry.Pos, retry.Implicit = l.pos, false
		}
	}
	route.Retry = retry
}

// haHashed says whether a balance algorithm hashes something of the request.
func haHashed(algorithm string) bool {
	for _, name := range []string{"source", "uri", "url_param", "hdr(", "rdp-cookie", "hash"} {
		if strings.HasPrefix(algorithm, name) {
			return true
		}
	}
	return false
}

func (r *haReader) serverTimeouts(s haSection, route *model.Route) {
	for _, t := range []struct{ word, what, then string }{
		{"connect", model.ConnectTimeout, "503 once the retries are used up"},
		{"server", model.ReadTimeout, "504"},
		{"queue", model.QueueTimeout, "503"},
		{"tunnel", model.TunnelTimeout, "the tunnel is closed"},
	} {
		l, ok := s.last("timeout", t.word)
		if !ok {
			continue
		}
		if after, err := haproxyTime(l.word(2)); err == nil {
			route.Timeouts = append(route.Timeouts, model.TimeLimit{Pos: l.pos, For: t.what, After: after, Then: t.then})
		}
	}
	if _, ok := s.last("timeout", "tunnel"); ok {
		return
	}
	for _, t := range route.Timeouts {
		if t.For == model.ReadTimeout { // without timeout tunnel the ordinary ones end idle WebSockets
			route.Timeouts = append(route.Timeouts, model.TimeLimit{Pos: t.Pos, Implicit: true, For: model.TunnelTimeout, After: t.After, Then: "the tunnel is closed"})
		}
	}
}
