package lbconfigs

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

const traefikDir = "/etc/traefik"

var traefik = Balancer{
	Name:    "traefik",
	Doc:     "traefik.yaml or .toml of Traefik v3 with the files of its file provider; the image is traefik:v3.6, else built from the Go module proxy",
	Main:    []string{"traefik.yaml", "traefik.yml", "traefik.toml"},
	Owns:    isTraefik,
	Parse:   parseTraefik,
	Unknown: model.Differs,
	Spec:    traefikSpec,
	Edits:   traefikEdits,
}

// isTraefik says whether a document reads like a file of Traefik's.
func isTraefik(text string) bool {
	return hasWord(text, "entryPoints:", "[entryPoints", "providers:", "[providers", "http:", "[http.", "[http]", "certificatesResolvers:", "tcp:", "[tcp") &&
		!hasWord(text, "upstream ", "server {", "frontend ")
}

func traefikSpec(cfg model.Config) plan.Spec {
	spec := plan.Spec{
		Name:    plan.OwnName("traefik"),
		Role:    plan.Balancer,
		Command: []string{"traefik"},
		Version: []string{"traefik", "version"},
		Dir:     traefikDir,
		Title:   "traefik",
		Settle:  2 * time.Second, // it reads its dynamic files after it listens
		Files:   map[string]string{},
		Image: plan.Image{
			Ref:    "traefik:v3.6",
			Module: &plan.Module{Name: "traefik", Path: "github.com/traefik/traefik/v3", Version: "v3.6.12", Package: "cmd/traefik"},
			Dirs:   []string{"/etc/traefik", "/tmp"},
		},
	}
	for i, file := range cfg.Files {
		at := path.Join(traefikDir, path.Base(file.Name))
		if i > 0 {
			at = inContainer(path.Join(traefikDir, path.Base(cfg.Files[0].Name)), cfg.Files[0].Name, file.Name)
		} else if dynamicOnly(cfg) {
			at = path.Join(traefikDir, "dynamic", path.Base(file.Name)) // beside itself Traefik would take it for its static file
		}
		spec.Files[at] = file.Name
		if i == 0 {
			spec.Command = append(spec.Command, "--configFile="+at)
		}
	}
	if len(cfg.Files) > 0 && dynamicOnly(cfg) {
		spec.Command = []string{
			"traefik", "--entryPoints.web.address=:80", "--entryPoints.websecure.address=:443",
			"--providers.file.filename=" + path.Join(traefikDir, "dynamic", path.Base(cfg.Files[0].Name)),
		}
	}
	return spec
}

// dynamicOnly says whether a configuration has no static part, whose place the command line then takes.
func dynamicOnly(cfg model.Config) bool {
	root, err := parseTree(cfg.Files[0].Name, cfg.Files[0].Content)
	return err == nil && isDynamic(root)
}

func isDynamic(root *tree) bool {
	return root.get("entryPoints") == nil && root.get("providers") == nil && (root.get("http") != nil || root.get("tcp") != nil || root.get("tls") != nil)
}

// trReader turns the documents into model.Config.
type trReader struct {
	fsys    fs.FS
	cfg     *model.Config
	static  *tree
	dynamic []*tree
	entries []trEntry
	named   map[string]*tree // kind and name of a part of http → the part
}

// parseTraefik reads the static file, and what its file provider names.
func parseTraefik(fsys fs.FS, names ...string) (model.Config, error) {
	name := names[0]
	cfg := model.Config{Balancer: "traefik", Foreground: true, Workers: model.Workers{Pos: model.Pos{File: name}, Count: 1}}
	r := trReader{fsys: fsys, cfg: &cfg}
	root, err := r.load(name)
	if err != nil {
		return model.Config{}, err
	}
	if isDynamic(root) {
		r.dynamic = []*tree{root}
	} else {
		r.static = root
		traefikStatic.strangers(root, func(t *tree, nearest string) { r.problem(stranger(t, nearest, true)) })
		if err := r.provided(name); err != nil {
			return model.Config{}, err
		}
	}
	for _, d := range r.dynamic {
		traefikDynamic.strangers(d, func(t *tree, nearest string) { r.problem(stranger(t, nearest, false)) })
	}
	r.index()
	r.entryPoints()
	r.silent()
	r.unreadParts()
	r.services()
	for _, d := range r.dynamic {
		for _, router := range d.get("http", "routers").parts() {
			r.router(router)
		}
	}
	r.unusedMiddlewares()
	r.tlsOptions()
	cfg.Reload = &model.Reload{Pos: model.Pos{File: name}, How: "the file provider takes over an edited file within its throttle of 2 s; a file with a mistake is left, with one line in the log"}
	return cfg, nil
}

func (r *trReader) load(name string) (*tree, error) {
	text, err := readText(r.fsys, name)
	if err != nil {
		return nil, err
	}
	root, err := parseTree(name, text)
	if err != nil {
		return nil, err
	}
	r.cfg.Files = append(r.cfg.Files, model.NewFile(name, text))
	return root, nil
}

// trLocal is where a file that the configuration names lies: a path below /etc/traefik, or one that begins nowhere, beside the main file.
func trLocal(main, name string) string {
	name = path.Clean(name)
	if rest, ok := strings.CutPrefix(name, traefikDir); ok && !strings.HasPrefix(main, traefikDir) {
		return path.Join(path.Dir(main), rest)
	}
	if !path.IsAbs(name) {
		return path.Join(path.Dir(main), name)
	}
	return name
}

// takeAlong has Traefik find a file that a part names, unread.
func (r *trReader) takeAlong(t *tree) {
	if t.text() == "" {
		return
	}
	file := trLocal(r.cfg.Files[0].Name, t.text())
	if slices.ContainsFunc(r.cfg.Files, func(f model.File) bool { return f.Name == file }) {
		return
	}
	text, err := readText(r.fsys, file)
	if err != nil {
		r.problem(fileless(t.pos, err))
		return
	}
	r.cfg.Files = append(r.cfg.Files, model.NewFile(file, text))
}

// provided loads the files of the file provider.
func (r *trReader) provided(main string) error {
	file := r.static.get("providers", "file")
	local := func(name string) string { return trLocal(main, name) }
	if one := file.get("filename"); one.text() != "" {
		root, err := r.load(local(one.text()))
		if err != nil {
			return fmt.Errorf("%s: providers.file.filename: %w", one.pos, err)
		}
		r.dynamic = append(r.dynamic, root)
	}
	dir := file.get("directory")
	if dir.text() == "" {
		return nil
	}
	var names []string
	err := fs.WalkDir(r.fsys, local(dir.text()), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".toml"}, path.Ext(name)) {
			names = append(names, name)
		}
		if len(names) > 1000 {
			return errors.New("there are more than 1000 files in it")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: providers.file.directory %s: %w", dir.pos, dir.text(), cause(err))
	}
	for _, name := range names {
		root, err := r.load(name)
		if err != nil {
			return err
		}
		r.dynamic = append(r.dynamic, root)
	}
	return nil
}

func (r *trReader) problem(p model.Problem) { r.cfg.Problems = append(r.cfg.Problems, p) }

func (r *trReader) unread(t *tree, text, why string) {
	if t != nil {
		r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: t.pos, Text: text, Why: why})
	}
}

// entry is an entry point.
type trEntry struct {
	t    *tree
	name string
	port int
	tls  bool // of every router on it

	speaks bool // TLS, because it says so or a router on it does
}

// index notes entry points, and parts by name.
func (r *trReader) index() {
	r.named = map[string]*tree{}
	for _, d := range slices.Backward(r.dynamic) { // of two with a name the first counts
		for _, kind := range []string{"services", "middlewares"} {
			for _, t := range d.get("http", kind).parts() {
				r.named[kind+" "+strings.ToLower(t.key)] = t
			}
		}
	}
	r.entries = r.readEntries()
	for _, d := range r.dynamic {
		for _, router := range d.get("http", "routers").parts() {
			if router.get("tls") == nil {
				continue
			}
			for _, u := range r.usedEntries(router) {
				for i := range r.entries {
					r.entries[i].speaks = r.entries[i].speaks || r.entries[i].name == u.name
				}
			}
		}
	}
}

func (r *trReader) readEntries() []trEntry {
	if r.static == nil {
		return []trEntry{{name: "web", port: 80}, {name: "websecure", port: 443}}
	}
	var out []trEntry
	for _, e := range r.static.get("entryPoints").parts() {
		address, protocol, _ := strings.Cut(e.get("address").text(), "/")
		port, err := strconv.ParseUint(address[strings.LastIndex(address, ":")+1:], 10, 16)
		if err != nil {
			r.problem(model.Problem{
				Pos: e.pos, Effect: model.Rejected,
				Text:    fmt.Sprintf("the entry point %s has no address with a port", e.key),
				Instead: `address: ":80"`,
			})
			continue
		}
		if protocol == "udp" {
			continue
		}
		tls := e.get("http", "tls") != nil
		out = append(out, trEntry{t: e, name: e.key, port: int(port), tls: tls, speaks: tls})
	}
	return out
}

// entryPoints reads listeners, redirections and timeouts.
func (r *trReader) entryPoints() {
	for _, e := range r.entries {
		pos := model.Pos{File: r.cfg.Files[0].Name}
		if e.t != nil {
			pos = e.t.pos
		}
		r.cfg.Listeners = append(r.cfg.Listeners, model.Listener{Pos: pos, Port: e.port, TLS: e.speaks, HTTP2: e.speaks})
		redirect := e.t.get("http", "redirections", "entryPoint")
		if redirect == nil {
			continue
		}
		code := 301
		if p := redirect.get("permanent"); p != nil && !p.is() {
			code = 302
		}
		scheme := redirect.get("scheme").text()
		if scheme == "" {
			scheme = "https"
		}
		to := redirect.get("to").text()
		if !strings.HasPrefix(to, ":") && !slices.ContainsFunc(r.entries, func(o trEntry) bool { return o.name == to }) {
			r.problem(model.Problem{
				Pos: redirect.pos, Effect: model.Rejected,
				Text: fmt.Sprintf("the redirection leads to the entry point %q, which is not there", to),
			})
		}
		r.cfg.Routes = append(r.cfg.Routes, model.Route{
			Pos: redirect.pos, Path: "/", Port: e.port, Priority: 1 << 30,
			Redirect: &model.Redirect{Pos: redirect.pos, Code: code, To: scheme + "://"},
		})
	}
}

// usedEntries are the entry points of a router: those that it names, else the default ones.
func (r *trReader) usedEntries(router *tree) []trEntry {
	all := r.entries
	names := router.get("entryPoints").texts()
	var out, defaults []trEntry
	for _, e := range all {
		if slices.Contains(names, e.name) {
			out = append(out, e)
		}
		if e.t.get("asDefault").is() {
			defaults = append(defaults, e)
		}
	}
	switch {
	case names != nil:
		return out
	case defaults != nil:
		return defaults
	}
	return all
}

// unreadParts lists what is known, and read no further.
func (r *trReader) unreadParts() {
	list := func(t *tree, names ...string) {
		for _, n := range names {
			r.unread(t.get(n), n, whyUnread)
		}
	}
	for _, e := range r.entries {
		list(e.t, "proxyProtocol", "forwardedHeaders", "http2", "http3", "udp", "observability")
		list(e.t.get("transport"), "lifeCycle", "keepAliveMaxTime", "keepAliveMaxRequests")
		list(e.t.get("http"), "encodeQuerySemicolons", "sanitizePath", "maxHeaderBytes", "encodedCharacters")
	}
	for _, d := range r.dynamic {
		list(d, "tcp", "udp")
		list(d.get("http"), "serversTransports")
		for _, t := range d.get("http", "serversTransports").parts() {
			for _, ca := range t.get("rootCAs").items() {
				r.cfg.Needs = append(r.cfg.Needs, model.Need{Pos: ca.pos, Kind: model.NeedAuthority, Path: inDir(traefikDir, ca.text())})
			}
		}
		list(d.get("tls"), "stores")
		for _, s := range d.get("http", "services").parts() {
			list(s.get("loadBalancer"), "passHostHeader", "responseForwarding", "serversTransport")
		}
		for _, router := range d.get("http", "routers").parts() {
			list(router, "observability", "parentRefs", "ruleSyntax")
			list(router.get("tls"), "domains")
		}
	}
}

// silent lists the static parts that promise nothing to clients, and what is not there for lack of its surroundings.
func (r *trReader) silent() {
	if r.static == nil {
		return
	}
	for _, s := range []struct{ key, why string }{
		{"log", whyLog}, {"accessLog", whyLog}, {"global", whyLog}, {"experimental", whyUnread}, {"serversTransport", whyUnread}, {"hostResolver", whyUnread}, {"tracing", whyLog},
	} {
		r.unread(r.static.get(s.key), s.key, s.why)
	}
	for _, p := range r.static.get("providers").parts() {
		if p.key == "file" || !p.isMap && p.scalar != "" {
			continue
		}
		r.problem(model.Problem{
			Pos: p.pos, Effect: model.Dropped,
			Text:    fmt.Sprintf("the %s provider is not there in a run: lbproof gives no balancer access to what it reads, and its routers are missing", p.key),
			Instead: "the same routers in a file of the file provider",
		})
	}
	for _, c := range r.static.get("certificatesResolvers").parts() {
		r.problem(model.Problem{
			Pos: c.pos, Effect: model.Dropped,
			Text:    fmt.Sprintf("the resolver %s reaches no certificate authority in a run: Traefik serves a certificate that it signed itself, and goes on", c.key),
			Instead: "tls.certificates with certFile and keyFile, where the certificate is to be proven",
		})
	}
	r.ownPages()
	if endpoint := r.static.get("tracing", "otlp", "grpc", "endpoint"); endpoint != nil {
		r.cfg.Needs = append(r.cfg.Needs, model.Need{Pos: endpoint.pos, Kind: model.NeedHost, Path: endpoint.text()})
	}
}

// ownPages are dashboard, metrics and ping, which Traefik serves on an entry point of its own unless told otherwise.
func (r *trReader) ownPages() {
	api, metrics, ping := r.static.get("api"), r.static.get("metrics", "prometheus"), r.static.get("ping")
	insecure := api.get("insecure").is()
	if api != nil && !insecure {
		r.unread(api, "api", "no router leads to api@internal here: the dashboard is not to be reached")
	}
	port := 8080
	for _, e := range r.entries {
		if e.name == "traefik" {
			port = e.port
		}
	}
	page := func(t *tree, at, what string) {
		on := port
		for _, e := range r.entries {
			if e.name == t.get("entryPoint").text() {
				on = e.port
			}
		}
		if t != nil {
			r.cfg.Routes = append(r.cfg.Routes, model.Route{Pos: t.pos, Path: at, Port: on, Priority: 1 << 29, Own: &model.Own{Pos: t.pos, What: what}})
		}
		if t != nil && !slices.ContainsFunc(r.cfg.Listeners, func(l model.Listener) bool { return l.Port == on }) {
			r.cfg.Listeners = append(r.cfg.Listeners, model.Listener{Pos: t.pos, Port: on})
		}
	}
	page(metrics, "/metrics", "Prometheus metrics")
	page(ping, "/ping", "ping")
	if insecure {
		page(api, "/api/", "Traefik's API and dashboard")
	}
}

// find gives a named part of any dynamic file, as http.services.NAME.
func (r *trReader) find(kind, name string) *tree {
	name, _, _ = strings.Cut(name, "@")
	return r.named[kind+" "+strings.ToLower(name)]
}

// services reads pools, and splits of them.
func (r *trReader) services() {
	for _, d := range r.dynamic {
		for _, s := range d.get("http", "services").parts() {
			if balancer := s.get("loadBalancer"); balancer != nil {
				r.pool(s, balancer)
			}
			for _, kind := range []string{"weighted", "highestRandomWeight"} {
				if weighted := s.get(kind); weighted != nil {
					r.weighted(s, weighted)
				}
			}
		}
	}
}

func (r *trReader) weighted(s, weighted *tree) {
	split := model.Split{Pos: s.pos, Name: s.key, Sticky: trSticky(weighted.get("sticky"))}
	if strings.EqualFold(weighted.key, "highestRandomWeight") {
		split.Key = "the client's address"
	}
	total := 0
	for _, one := range weighted.get("services").items() {
		total += number(one.get("weight"), 1)
	}
	for _, one := range weighted.get("services").items() {
		name := one.get("name").text()
		if r.find("services", name) == nil {
			r.problem(model.Problem{
				Pos: one.pos, Effect: model.Dropped,
				Text: fmt.Sprintf("there is no service %s: Traefik leaves out every router that leads here", name),
			})
		}
		share := model.Share{Pos: one.pos, Pool: name}
		if total > 0 {
			share.Share = float64(number(one.get("weight"), 1)) / float64(total)
		}
		split.Shares = append(split.Shares, share)
	}
	r.cfg.Splits = append(r.cfg.Splits, split)
}

// number is a scalar as a number, or otherwise where it is none.
func number(t *tree, otherwise int) int {
	n, err := strconv.Atoi(t.text())
	if err != nil {
		return otherwise
	}
	return n
}

// period is a scalar as a time, or otherwise where it is none.
func period(t *tree, otherwise time.Duration) time.Duration {
	d, err := traefikTime(t.text())
	if err != nil {
		return otherwise
	}
	return d
}

func trSticky(t *tree) *model.Sticky {
	cookie := t.get("cookie")
	if cookie == nil {
		return nil
	}
	s := &model.Sticky{Pos: cookie.pos, Cookie: cookie.get("name").text()}
	if s.Cookie == "" {
		s.Cookie = "a name that Traefik makes of the service's"
	}
	for _, attribute := range []struct{ key, as string }{{"secure", "Secure"}, {"httpOnly", "HttpOnly"}} {
		if cookie.get(attribute.key).is() {
			s.With = append(s.With, attribute.as)
		}
	}
	for _, attribute := range []struct{ key, as string }{{"sameSite", "SameSite"}, {"maxAge", "Max-Age"}, {"domain", "Domain"}, {"path", "Path"}} {
		if v := cookie.get(attribute.key).text(); v != "" {
			s.With = append(s.With, attribute.as+"="+v)
		}
	}
	return s
}

func (r *trReader) pool(s, balancer *tree) {
	pool := model.Pool{
		Pos: s.pos, Name: s.key, Method: "wrr", SharedState: true, Sticky: trSticky(balancer.get("sticky")),
		Keepalive: &model.Keepalive{Pos: s.pos, Implicit: true, Idle: 200}, Resolve: &model.Resolve{Pos: s.pos, Implicit: true, Every: -1},
	}
	if strategy := balancer.get("strategy"); strategy != nil {
		pool.Method, pool.MethodPos = strategy.text(), strategy.pos
		if pool.Method == "hrw" {
			pool.Key, pool.Consistent = "the client's address", true
		}
	}
	for i, item := range balancer.get("servers").items() {
		server, ok := r.server(item)
		if !ok {
			continue
		}
		server.Active = r.active(balancer.get("healthCheck"), i)
		if passive := balancer.get("passiveHealthCheck"); passive != nil {
			window := period(passive.get("failureWindow"), 10*time.Second)
			server.Passive = &model.Passive{
				Pos: passive.pos, Fails: number(passive.get("maxFailedAttempts"), 1), Within: window, Out: window,
				On: "no answer, or a status from 500 on", Law: "traefik",
			}
		}
		pool.Servers = append(pool.Servers, server)
	}
	if len(pool.Servers) == 0 {
		r.problem(model.Problem{
			Pos: s.pos, Effect: model.Differs,
			Text: fmt.Sprintf("the service %s has no servers: it answers 503", s.key),
		})
	}
	r.cfg.Pools = append(r.cfg.Pools, pool)
}

func (r *trReader) server(t *tree) (model.Server, bool) {
	u, err := url.Parse(t.get("url").text())
	if err != nil || u.Hostname() == "" {
		r.problem(model.Problem{
			Pos: t.pos, Effect: model.Dropped,
			Text:    fmt.Sprintf("the server %q has no URL with a host: Traefik leaves the service out", t.get("url").text()),
			Instead: "url: http://HOST:PORT",
		})
		return model.Server{}, false
	}
	host := u.Hostname()
	if known, err := idna.Lookup.ToASCII(host); err == nil && !ascii(host) {
		host = known // which Traefik asks for
	}
	server := model.Server{Pos: t.pos, Host: host, Port: 80, Weight: number(t.get("weight"), 1), TLS: u.Scheme == "https"}
	if server.TLS {
		server.Port = 443
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		server.Port = int(port)
	}
	server.Drain = server.Weight == 0
	return server, true
}

// active is Traefik's health check: one failure takes a server out, one success brings it back, and the servers of a
// service are asked one after another.
func (r *trReader) active(t *tree, before int) *model.Active {
	if t == nil {
		return nil
	}
	a := &model.Active{
		Pos: t.pos, Interval: period(t.get("interval"), 30*time.Second), Timeout: period(t.get("timeout"), 5*time.Second), Fall: 1, Rise: 1,
		Implicit: []string{"fall", "rise"}, Queued: before, Expect: "a status from 200 to 399",
	}
	for _, key := range []string{"interval", "timeout"} {
		if t.get(key) == nil {
			a.Implicit = append(a.Implicit, key)
		}
	}
	a.Fast = a.Interval
	a.Slow = period(t.get("unhealthyInterval"), a.Interval)
	method := t.get("method").text()
	if method == "" {
		method = "GET"
	}
	a.Request = method + " " + t.get("path").text()
	if status := t.get("status"); status != nil {
		a.Expect = "status " + status.text()
	}
	return a
}
