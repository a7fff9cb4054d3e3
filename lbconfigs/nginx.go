package lbconfigs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/nginxinc/nginx-go-crossplane"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Where nginx looks for its configuration.
const (
	nginxDir  = "/etc/nginx"
	nginxConf = nginxDir + "/nginx.conf"
)

var nginx = Balancer{
	Name: "nginx",
	Doc:  "nginx.conf with all that it includes; the image is nginx:stable, else Debian's package",
	Main: []string{"nginx.conf"},
	Owns: func(text string) bool {
		return hasWord(text, "http {", "http{", "events {", "events{", "upstream ", "server {", "location ")
	},
	Parse:   parseNginx,
	Unknown: model.Rejected,
	Spec:    nginxSpec,
	Edits:   nginxEdits,
}

func nginxSpec(cfg model.Config) plan.Spec {
	command := []string{"nginx"}
	if !cfg.Foreground {
		command = append(command, "-g", "daemon off;")
	}
	spec := plan.Spec{
		Name:    plan.OwnName("nginx"),
		Role:    plan.Balancer,
		Command: command,
		Check:   []string{"nginx", "-t", "-q"},
		Version: []string{"nginx", "-v"},
		Title:   "nginx: worker process",
		Reload:  "HUP",
		Files:   map[string]string{},
		Image: plan.Image{
			Ref:      "nginx:stable",
			Packages: []string{"nginx"},
			Users:    []string{"nobody", "nogroup", "www-data", "nginx"},
			Dirs:     []string{"/etc/nginx", "/run", "/var/lib/nginx", "/var/log/nginx", "/tmp"},
			Links:    []string{"/var/run -> /run", "/var/log/nginx/access.log -> /dev/stdout", "/var/log/nginx/error.log -> /dev/stderr"},
		},
	}
	if slices.ContainsFunc(cfg.Unread, func(u model.Unread) bool { return u.Why == whyLua }) {
		spec.Image.Ref, spec.Image.Packages = "openresty/openresty", append(spec.Image.Packages, "libnginx-mod-http-lua", "lua-cjson", "lua-nginx-redis")
	}
	for i, file := range cfg.Files {
		if i == 0 {
			spec.Files[nginxConf] = file.Name
			continue
		}
		spec.Files[inContainer(nginxConf, cfg.Files[0].Name, file.Name)] = file.Name
	}
	return spec
}

// nginxOwn are the files that come with nginx's package: what they hold is known, so they need not lie beside the
// configuration. Debian's proxy_params is the only one with promises.
var nginxOwn = map[string]string{
	"mime.types": "", "fastcgi_params": "", "fastcgi.conf": "", "uwsgi_params": "", "scgi_params": "", "koi-utf": "", "koi-win": "", "win-utf": "",
	"proxy_params": "proxy_set_header Host $http_host;\nproxy_set_header X-Real-IP $remote_addr;\n" +
		"proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\nproxy_set_header X-Forwarded-Proto $scheme;\n",
}

// nginxFiles opens what a configuration includes. A path below /etc/nginx lies beside the main file.
type nginxFiles struct {
	fsys   fs.FS
	main   string
	failed map[string]error // of includes with a wildcard, what kept something from being read
}

// local is where an included path lies beside the main file.
func (f nginxFiles) local(name string) string {
	name = path.Clean(name)
	if rest, ok := strings.CutPrefix(name, nginxDir+"/"); ok && !strings.HasPrefix(f.main, nginxDir+"/") {
		return path.Join(path.Dir(f.main), rest)
	}
	return name
}

// own gives the content of a file that comes with nginx.
func (f nginxFiles) own(name string) (content string, ok bool) {
	if path.Dir(f.local(name)) != path.Dir(f.main) {
		return "", false
	}
	if _, err := fs.Stat(f.fsys, f.local(name)); err == nil {
		return "", false
	}
	content, ok = nginxOwn[path.Base(name)]
	return content, ok
}

// open never returns nil: crossplane closes what it could not open.
func (f nginxFiles) open(name string) (io.ReadCloser, error) {
	text, err := f.read(name)
	return io.NopCloser(strings.NewReader(text)), err
}

func (f nginxFiles) read(name string) (string, error) {
	if content, ok := f.own(name); ok {
		return content, nil
	}
	text, err := readText(f.fsys, f.local(name))
	if err == nil {
		err = shallow(f.local(name), text, "{", "}", " \t\r\n;{}")
	}
	return string(text), err
}

// glob gives crossplane, which does not say whose include it is, no error and no file that cannot be read: includes tells of both.
func (f nginxFiles) glob(pattern string) (found []string, _ error) {
	names, err := glob(f.fsys, f.local(pattern))
	f.failed[pattern] = err
	for _, name := range names {
		if _, err := f.read(name); err != nil {
			f.failed[pattern] = errors.Join(f.failed[pattern], err)
			continue
		}
		found = append(found, name)
	}
	return found, nil
}

// parseNginx reads the main file and its includes with crossplane, which checks contexts and argument counts as nginx does.
func parseNginx(fsys fs.FS, names ...string) (model.Config, error) {
	name := names[0]
	files := nginxFiles{fsys, path.Clean(name), map[string]error{}}
	if _, err := files.read(name); err != nil {
		return model.Config{}, err
	}
	lua := &crossplane.Lua{}
	payload, err := crossplane.Parse(files.main, &crossplane.ParseOptions{
		Open: files.open, Glob: files.glob,
		SkipDirectiveContextCheck: true, // unreadAll checks it, and reads on
		LexOptions:                crossplane.LexOptions{Lexers: []crossplane.RegisterLexer{lua.RegisterLexer()}},
	})
	if err != nil { // all others it keeps
		return model.Config{}, fmt.Errorf("%s: %w; leave out the include by which a file includes itself, or one that includes it", files.main, err)
	}
	cfg := model.Config{Balancer: "nginx", Workers: model.Workers{Pos: model.Pos{File: name}, Count: 1}}
	r := nginxReader{cfg: &cfg, files: files, payload: payload, named: map[string]int{}}
	for i := range payload.Config {
		file := &payload.Config[i]
		if _, own := files.own(file.File); own {
			continue
		}
		file.File = files.local(file.File)
		content, err := readText(fsys, file.File)
		if err != nil {
			return model.Config{}, err
		}
		cfg.Files = append(cfg.Files, model.NewFile(file.File, content))
	}
	if err := r.syntax(); err != nil {
		return model.Config{}, err
	}
	if err := r.includes(); err != nil {
		return model.Config{}, err
	}
	return cfg, r.main()
}

// takeAlong has nginx find a file that a directive names, unread: a program, a list of users.
func (r *nginxReader) takeAlong(d item) {
	name := d.arg(0)
	if strings.Contains(name, "$") {
		return
	}
	if !path.IsAbs(name) {
		name = path.Join(nginxDir, name)
	}
	file := r.files.local(name)
	if slices.ContainsFunc(r.cfg.Files, func(f model.File) bool { return f.Name == file }) {
		return
	}
	text, err := readText(r.files.fsys, file)
	if err != nil {
		r.problem(fileless(d.pos, err))
		return
	}
	r.cfg.Files = append(r.cfg.Files, model.NewFile(file, text))
}

// syntax gives the first thing that ends the reading, as file:line: message. What nginx refuses, but lbproof can read
// past, becomes a problem.
func (r *nginxReader) syntax() error {
	for _, e := range r.payload.Errors {
		pos := model.Pos{File: r.files.local(e.File)}
		if e.Line != nil {
			pos.Line = *e.Line
		}
		var parse *crossplane.ParseError
		if !errors.As(e.Error, &parse) {
			return fmt.Errorf("%s: %w", pos, e.Error)
		}
		text, instead, ok := refusedDirective(parse.What)
		if !ok {
			return fmt.Errorf("%s: %s", pos, strings.TrimPrefix(parse.What, "read configuration "))
		}
		r.problem(model.Problem{Pos: pos, Effect: model.Rejected, Text: text, Instead: instead})
	}
	return nil
}

// refusedDirective explains an error of crossplane's that concerns one directive only.
func refusedDirective(what string) (text, instead string, ok bool) {
	parts := strings.Split(what, `"`)
	if len(parts) < 3 {
		return "", "", false
	}
	name := parts[1]
	switch {
	case strings.Contains(what, "invalid number of arguments"):
		return fmt.Sprintf("the directive %s has another number of arguments", name),
			"is the semicolon at its end missing? Then it has swallowed the next line", true
	case strings.Contains(what, "is not terminated by"), strings.Contains(what, "has no opening"):
		return fmt.Sprintf("the directive %s does not end with a semicolon, or has a block that it cannot have", name), "", strings.Contains(what, `";"`)
	}
	return "", "", false
}

// Blocks of a configuration, by the bits that crossplane gives them.
const (
	inMain     = 1 << 18
	inHTTP     = 1 << 25
	inServer   = 1 << 26
	inLocation = 1 << 27
	inUpstream = 1 << 28
	anywhere   = 0 // not looked at
)

// contexts names the blocks in which a directive of nginx may stand; ok says whether block is one of them.
func contexts(name string, block uint) (where string, ok bool) {
	masks, known := crossplane.MatchOssLatest(name)
	var all uint
	for _, m := range masks {
		all |= m
	}
	var blocks []string
	for _, b := range []struct {
		mask uint
		name string
	}{{inMain, "the main context"}, {inHTTP, "http"}, {inServer, "server"}, {inLocation, "location"}, {inUpstream, "upstream"}} {
		if all&b.mask != 0 {
			blocks = append(blocks, b.name)
		}
	}
	return strings.Join(blocks, " or "), !known || len(blocks) == 0 || block == anywhere || all&block != 0
}

var misplacedHints = map[string]string{
	"split_clients": ", and the location proxies to its variable: proxy_pass http://$variant",
}

// nginxReader turns directives into model.Config. What it does not understand it lists as unread, with its line.
type nginxReader struct {
	payload  *crossplane.Payload
	files    nginxFiles
	cfg      *model.Config
	zones    []nginxZone
	maps     map[string]nginxMap
	named    map[string]int    // upstream → its place in cfg.Pools
	secure   []string          // upstreams that are spoken to in TLS
	defaults map[int]model.Pos // port → the server block that answers a Host that no other names
}

// nginxZone is a shared memory zone of limits.
type nginxZone struct {
	pos      model.Pos
	kind     string // limit_req_zone or limit_conn_zone
	name     string
	key      string
	rate     float64 // requests per second
	declared string  // the rate as it is written
	used     bool
}

// nginxMap is a map block.
type nginxMap struct {
	from      string
	otherwise string
	empty     []string // the values of from for which it is empty
}

func (r *nginxReader) problem(p model.Problem) { r.cfg.Problems = append(r.cfg.Problems, p) }

// item is a directive with its place.
type item struct {
	*crossplane.Directive
	pos model.Pos
}

func (i item) text() string {
	return strings.Join(append([]string{i.Directive.Directive}, i.Args...), " ")
}

// arg is an argument, or empty where there are not so many.
func (i item) arg(n int) string {
	if n >= 0 && n < len(i.Args) {
		return i.Args[n]
	}
	return ""
}

// rest are the arguments after the first.
func (i item) rest() []string { return i.Args[min(1, len(i.Args)):] }

// items are the directives of a block, includes followed. Crossplane refuses cycles.
func (r *nginxReader) items(file string, block crossplane.Directives) []item {
	var out []item
	for _, d := range block {
		if d.Directive != "include" {
			out = append(out, item{d, model.Pos{File: file, Line: d.Line}})
			continue
		}
		for _, i := range d.Includes {
			included := r.payload.Config[i]
			out = append(out, r.items(included.File, included.Parsed)...)
		}
	}
	return out
}

// block are the directives in a directive's block.
func (r *nginxReader) block(d item) []item { return r.items(d.pos.File, d.Block) }

// scope is a chain of blocks, the outermost first. A directive of an inner block replaces all of its name in outer ones
// (nginx: "directives are inherited from the previous level if and only if there are none on the current level").
type scope []level

// level is one block of a scope, with its directives by name.
type level struct {
	items []item
	named map[string][]item
}

func newLevel(items []item) level {
	named := map[string][]item{}
	for _, d := range items {
		named[d.Directive.Directive] = append(named[d.Directive.Directive], d)
	}
	return level{items, named}
}

// pick are the directives with one of the names, in their order.
func (l level) pick(names ...string) []item {
	if len(names) == 1 {
		return l.named[names[0]]
	}
	for _, n := range names {
		if len(l.named[n]) > 0 {
			return pick(l.items, names...)
		}
	}
	return nil
}

// all are the directives in force that have one of the names.
func (s scope) all(names ...string) []item {
	for i := len(s) - 1; i >= 0; i-- {
		if found := s[i].pick(names...); len(found) > 0 {
			return found
		}
	}
	return nil
}

// programmed says whether a program has a hand in a location's requests.
func (s scope) programmed() bool {
	for _, l := range s {
		for name := range l.named {
			if strings.Contains(name, "_by_lua") && !strings.HasPrefix(name, "init_") && !strings.HasPrefix(name, "log_") {
				return true
			}
		}
	}
	return false
}

// own are the directives of the innermost block.
func (s scope) own() []item { return s[len(s)-1].items }

// one is the directive in force; ok is false where there is none.
func (s scope) one(name string) (d item, ok bool) {
	if found := s.all(name); len(found) > 0 {
		return found[len(found)-1], true
	}
	return item{}, false
}

// is says whether a directive's first argument is the value.
func (s scope) is(name, value string) bool {
	d, ok := s.one(name)
	return ok && d.arg(0) == value
}

// replaced are the directives of the name that an inner block has put out of force.
func (s scope) replaced(name string) []item {
	var lost, inner []item
	for _, block := range s {
		if found := block.pick(name); len(found) > 0 {
			lost, inner = append(lost, inner...), found
		}
	}
	return lost
}

func (s scope) with(block []item) scope { return append(slices.Clip(s), newLevel(block)) }

// pick are the directives of a block with one of the names.
func pick(block []item, names ...string) []item {
	var found []item
	for _, d := range block {
		if slices.Contains(names, d.Directive.Directive) {
			found = append(found, d)
		}
	}
	return found
}

func (r *nginxReader) main() error {
	root := r.payload.Config[0]
	top := r.items(root.File, root.Parsed)
	for _, d := range top {
		switch d.Directive.Directive {
		case "worker_processes":
			if err := r.workers(d); err != nil {
				return err
			}
		case "daemon":
			r.cfg.Foreground = d.arg(0) == "off"
		case "http":
			if err := r.http(r.block(d)); err != nil {
				return err
			}
		case "events":
			r.unreadAll(r.block(d), anywhere)
			r.connections(r.block(d))
		}
	}
	if part := pick(top, "server", "upstream"); len(part) > 0 && len(pick(top, "http")) == 0 {
		r.problem(model.Problem{
			Pos: part[0].pos, Effect: model.Rejected,
			Text:    "this file is a part of an http block: nginx does not start with it alone",
			Instead: "a file with events {} and http { include " + path.Base(part[0].pos.File) + "; }",
		})
		if err := r.http(top); err != nil {
			return err
		}
	} else {
		r.unreadAll(top, inMain)
	}
	r.unusedZones()
	r.cfg.Reload = &model.Reload{Pos: model.Pos{File: r.cfg.Files[0].Name}, How: "SIGHUP: new workers take over, and begin their turns and failure counts anew; the old ones finish what they have"}
	return r.pools()
}

func (r *nginxReader) workers(d item) error {
	w := &r.cfg.Workers
	w.Pos, w.Auto, w.Count = d.pos, true, 0
	if d.arg(0) == "auto" {
		return nil
	}
	n, err := strconv.Atoi(d.arg(0))
	if err != nil || n < 1 {
		return fmt.Errorf("%s: worker_processes %s is neither a positive number nor auto", d.pos, d.arg(0))
	}
	w.Auto, w.Count = false, n
	return nil
}

// connections reads how many connections a worker may have (ngx_event.c: 512 by default), clients' and backends' together.
func (r *nginxReader) connections(events []item) {
	w := &r.cfg.Workers
	w.Connections, w.ConnectionsPos = 512, model.Pos{File: r.cfg.Files[0].Name}
	for _, d := range events {
		if n, err := strconv.Atoi(d.arg(0)); d.Directive.Directive == "worker_connections" && err == nil {
			w.Connections, w.ConnectionsPos = n, d.pos
		}
	}
}

// http reads the directives of the http block.
func (r *nginxReader) http(block []item) error {
	r.maps = map[string]nginxMap{}
	for _, d := range block {
		if err := r.httpDirective(d); err != nil {
			return err
		}
	}
	r.unreadAll(block, inHTTP)
	servers := pick(block, "server")
	if err := r.findDefaults(servers); err != nil {
		return err
	}
	if err := r.misplaced(block); err != nil {
		return err
	}
	outer := scope{newLevel(block)}
	for _, s := range servers {
		if err := r.server(s, outer); err != nil {
			return err
		}
	}
	return nil
}

// httpDirective reads what only the http block has, and what servers refer to.
func (r *nginxReader) httpDirective(d item) error {
	switch d.Directive.Directive {
	case "upstream":
		return r.upstream(d)
	case "limit_req_zone", "limit_conn_zone":
		return r.zone(d)
	case "map":
		m := nginxMap{from: d.arg(0)}
		for _, c := range d.Block {
			switch {
			case len(c.Args) != 1:
			case c.Directive == "default":
				m.otherwise = c.Args[0]
			case c.Args[0] == "":
				m.empty = append(m.empty, c.Directive)
			}
		}
		r.maps[d.arg(1)] = m
	case "split_clients":
		return r.split(d)
	}
	return nil
}

// misplaced reads what belongs into the http block and stands further inside: nginx refuses it there, and what it was meant
// to promise is told all the same.
func (r *nginxReader) misplaced(block []item) error {
	for _, d := range block {
		switch d.Directive.Directive {
		case "server", "location":
			for _, inner := range r.block(d) {
				if slices.Contains([]string{"limit_req_zone", "limit_conn_zone", "split_clients"}, inner.Directive.Directive) {
					if err := r.httpDirective(inner); err != nil {
						return err
					}
				}
			}
			if err := r.misplaced(r.block(d)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *nginxReader) zone(d item) error {
	z := nginxZone{pos: d.pos, kind: d.Directive.Directive, key: d.arg(0)}
	for _, arg := range d.rest() {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "zone":
			z.name, _, _ = strings.Cut(value, ":")
		case "rate":
			number, per, _ := strings.Cut(value, "r/")
			n, err := strconv.Atoi(number)
			if err != nil || n < 1 || per != "s" && per != "m" {
				return fmt.Errorf("%s: rate=%s is no rate, as 10r/s or 30r/m", d.pos, value)
			}
			seconds := map[string]int{"s": 1, "m": 60}[per]
			z.rate, z.declared = float64(1000*n/seconds)/1000, value // nginx counts in thousandths and rounds down
		}
	}
	r.zones = append(r.zones, z)
	return nil
}

func (r *nginxReader) unusedZones() {
	for _, z := range r.zones {
		if !z.used {
			r.problem(model.Problem{
				Pos: z.pos, Effect: model.Inert, Text: fmt.Sprintf("the zone %s is declared and no %s uses it: nothing is limited by it",
					z.name, strings.TrimSuffix(z.kind, "_zone")),
				Instead: fmt.Sprintf("%s zone=%s; in the location that it is meant for", strings.TrimSuffix(z.kind, "_zone"), z.name),
			})
		}
	}
}

// split reads split_clients: the shares are of hashes of the key, in the order in which they are written.
func (r *nginxReader) split(d item) error {
	s := model.Split{Pos: d.pos, Name: d.arg(1), Key: d.arg(0)}
	rest := 100.0
	for _, c := range d.Block {
		pos := model.Pos{File: d.pos.File, Line: c.Line}
		share := rest
		if c.Directive != "*" {
			n, err := strconv.ParseFloat(strings.TrimSuffix(c.Directive, "%"), 64)
			if err != nil || n < 0 || n > rest {
				return fmt.Errorf("%s: %s is no share of the %g %% that are left", pos, c.Directive, rest)
			}
			share = n
		}
		rest -= share
		pool := ""
		if len(c.Args) > 0 {
			pool = c.Args[0]
		}
		s.Shares = append(s.Shares, model.Share{Pos: pos, Pool: pool, Share: share / 100})
	}
	r.cfg.Splits = append(r.cfg.Splits, s)
	return nil
}

func (r *nginxReader) upstream(up item) error {
	pool := model.Pool{Pos: up.pos, Name: up.arg(0), Method: model.RoundRobin}
	block := r.block(up)
	for _, d := range block {
		switch name := d.Directive.Directive; name {
		case "server":
			server, err := r.upstreamServer(d)
			if err != nil {
				return err
			}
			pool.Servers = append(pool.Servers, server)
		case "zone":
			pool.SharedState = true
		case "least_conn", "ip_hash", "hash", "random", "least_time":
			pool.Method, pool.MethodPos = strings.Join(append([]string{name}, randomArgs(d)...), " "), d.pos
			if name == "hash" {
				pool.Key, pool.Consistent = d.arg(0), d.arg(1) == "consistent"
			}
			if name == "ip_hash" {
				pool.Key = "the client's address (IPv4: its first three octets)"
			}
		case "sticky":
			pool.Sticky = nginxSticky(d)
		}
	}
	r.keepalive(&pool, block)
	r.unreadAll(block, inUpstream)
	r.upstreamProblems(pool, block)
	r.named[strings.ToLower(pool.Name)] = len(r.cfg.Pools)
	r.cfg.Pools = append(r.cfg.Pools, pool)
	return nil
}

// randomArgs are the arguments that make "random two least_conn" another method than "random".
func randomArgs(d item) []string {
	if d.Directive.Directive == "random" {
		return d.Args
	}
	return nil
}

func nginxSticky(d item) *model.Sticky {
	if d.arg(0) != "cookie" || len(d.Args) < 2 {
		return &model.Sticky{Pos: d.pos, With: d.Args}
	}
	return &model.Sticky{Pos: d.pos, Cookie: d.arg(1), With: d.Args[2:]}
}

func (r *nginxReader) keepalive(pool *model.Pool, block []item) {
	for _, d := range block {
		n, err := strconv.Atoi(d.arg(0))
		if pool.Keepalive == nil && d.Directive.Directive == "keepalive" && err == nil {
			pool.Keepalive = &model.Keepalive{Pos: d.pos, Idle: n, Requests: 1000, Within: time60}
		}
	}
	if pool.Keepalive == nil {
		return
	}
	for _, d := range block {
		switch d.Directive.Directive {
		case "keepalive_requests":
			if n, err := strconv.Atoi(d.arg(0)); err == nil {
				pool.Keepalive.Requests = n
			}
		case "keepalive_timeout":
			if t, err := nginxTime(d.arg(0)); err == nil {
				pool.Keepalive.Within = t
			}
		}
	}
}

func (r *nginxReader) upstreamServer(d item) (model.Server, error) {
	host, port, err := hostPort(d.arg(0), 80)
	if err != nil {
		return model.Server{}, fmt.Errorf("%s: upstream server %q: %w", d.pos, d.arg(0), err)
	}
	s := model.Server{Pos: d.pos, Host: host, Port: port, Weight: 1, Passive: &model.Passive{
		Pos: d.pos, Implicit: true, Fails: 1, Within: time10, Out: time10, Law: "nginx",
	}}
	for _, arg := range d.rest() {
		if err := r.serverParameter(&s, d, arg); err != nil {
			return s, fmt.Errorf("%s: %w", d.pos, err)
		}
	}
	return s, nil
}

func (r *nginxReader) serverParameter(s *model.Server, d item, arg string) error {
	key, value, _ := strings.Cut(arg, "=")
	number := func(least int) (int, error) {
		n, err := strconv.Atoi(value)
		if err != nil || n < least {
			return 0, fmt.Errorf("%s=%s is not a number from %d on", key, value, least)
		}
		return n, nil
	}
	var err error
	switch key {
	case "weight":
		s.Weight, err = number(1)
	case "backup":
		s.Backup = true
	case "down":
		s.Down = true
	case "max_fails":
		s.Passive.Implicit = false
		s.Passive.Fails, err = number(0)
	case "fail_timeout":
		s.Passive.Implicit = false
		s.Passive.Within, err = nginxTime(value)
		s.Passive.Out = s.Passive.Within
	case "max_conns":
		var n int
		n, err = number(0)
		s.Conns = &model.Number{Pos: d.pos, Value: int64(n)}
	default:
		r.serverParameterProblem(d, key, arg)
	}
	return err
}

// serverParameterProblem tells of the parameters that not every nginx has.
func (r *nginxReader) serverParameterProblem(d item, key, arg string) {
	known := map[string]model.Problem{
		"resolve":    {Text: "server … resolve is NGINX Plus's before nginx 1.27.3", Until: "1.27.3", Instead: "a variable in proxy_pass, with a resolver"},
		"service":    {Text: "server … service= is NGINX Plus's before nginx 1.27.3", Until: "1.27.3", Instead: "name every server"},
		"slow_start": {Text: "server … slow_start= is NGINX Plus's", Instead: "HAProxy's slowstart"},
		"drain":      {Text: "server … drain is NGINX Plus's before nginx 1.29.6", Until: "1.29.6", Instead: "down"},
		"route":      {Text: "server … route= is NGINX Plus's before nginx 1.29.6", Until: "1.29.6", Instead: "hash $cookie_NAME consistent"},
	}
	if p, ok := known[key]; ok {
		p.Pos, p.Effect = d.pos, model.Rejected
		r.problem(p)
		return
	}
	r.problem(model.Problem{Pos: d.pos, Effect: model.Rejected, Text: fmt.Sprintf("no nginx has the server parameter %s", arg)})
}

// hostPort splits host:port; unix sockets come back whole.
func hostPort(addr string, port int) (string, int, error) {
	if strings.HasPrefix(addr, "unix:") {
		return addr, port, nil
	}
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return strings.Trim(addr, "[]"), port, nil // no port: a bare host
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no port", text)
	}
	return host, int(n), nil
}

// findDefaults notes which server block is each port's default: the one that says so, else the first.
func (r *nginxReader) findDefaults(servers []item) error {
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

// listens are the ports of a server block.
func (r *nginxReader) listens(server item) ([]model.Listener, error) {
	var found []model.Listener
	block := r.block(server)
	listens := pick(block, "listen")
	http2 := scope{newLevel(block)}.is("http2", "on")
	for _, d := range listens {
		if strings.HasPrefix(d.arg(0), "unix:") {
			continue
		}
		port, err := listenPort(d.arg(0))
		if err != nil {
			return nil, fmt.Errorf("%s: listen %s: %w", d.pos, d.arg(0), err)
		}
		has := func(word string) bool { return slices.Contains(d.Args, word) }
		l := model.Listener{Pos: d.pos, Port: port, Default: has("default_server"), TLS: has("ssl"), HTTP2: http2 || has("http2")}
		if !slices.ContainsFunc(found, func(f model.Listener) bool { return f.Port == port }) { // [::]:80 beside 80
			found = append(found, l)
		}
	}
	if len(listens) == 0 { // nginx listens on 80 where nothing else is said
		found = append(found, model.Listener{Pos: server.pos, Port: 80})
	}
	return found, nil
}

// listenPort is the port of a listen directive's address: a port, an address, or both.
func listenPort(addr string) (int, error) {
	if port, err := strconv.ParseUint(addr, 10, 16); err == nil {
		return int(port), nil
	}
	_, port, err := hostPort(addr, 80)
	return port, err
}

// spelled is a pool's name as its upstream has it: nginx finds upstreams by names in capitals or small letters.
func (r *nginxReader) spelled(pool string) string {
	if i, ok := r.named[strings.ToLower(pool)]; ok {
		return r.cfg.Pools[i].Name
	}
	return pool
}

// pools adds a pool of one server for each proxy_pass that names a host instead of an upstream.
func (r *nginxReader) pools() error {
	for _, split := range r.cfg.Splits {
		for i := range split.Shares {
			split.Shares[i].Pool = r.spelled(split.Shares[i].Pool)
		}
	}
	for i, route := range r.cfg.Routes {
		route.Pool = r.spelled(route.Pool)
		r.cfg.Routes[i].Pool = route.Pool
		_, pool := r.named[strings.ToLower(route.Pool)]
		_, split := r.cfg.Split(route.Pool)
		if pool || split || route.Pool == "" || strings.Contains(route.Pool, "$") {
			continue
		}
		host, port, err := hostPort(route.Pool, 80)
		if err != nil {
			return fmt.Errorf("%s: proxy_pass to %q: %w", route.PoolPos, route.Pool, err)
		}
		if _, named := r.named[strings.ToLower(host)]; named && strings.Contains(route.Pool, ":") {
			r.problem(model.Problem{
				Pos: route.PoolPos, Effect: model.Rejected, Text: fmt.Sprintf("%s is an upstream, whose servers have ports of their own: it may not have the port %d here", host, port),
				Instead: fmt.Sprintf("an upstream of its own for the servers' port %d", port),
			})
			r.cfg.Routes[i].Pool = ""
			continue
		}
		r.named[strings.ToLower(route.Pool)] = len(r.cfg.Pools)
		r.cfg.Pools = append(r.cfg.Pools, model.Pool{
			Pos: route.PoolPos, Name: route.Pool, Method: model.RoundRobin,
			Servers: []model.Server{{Pos: route.PoolPos, Host: host, Port: port, Weight: 1}},
		})
	}
	for i := range r.cfg.Pools {
		r.cfg.Pools[i].Resolve = &model.Resolve{Pos: r.cfg.Pools[i].Pos, Implicit: true}
		if slices.ContainsFunc(r.secure, func(name string) bool { return strings.EqualFold(name, r.cfg.Pools[i].Name) }) {
			for n := range r.cfg.Pools[i].Servers {
				r.cfg.Pools[i].Servers[n].TLS = true
			}
		}
	}
	r.splitPools()
	return nil
}

// splitPools warns of splits that lead to no upstream.
func (r *nginxReader) splitPools() {
	for _, s := range r.cfg.Splits {
		if !slices.ContainsFunc(r.cfg.Routes, func(route model.Route) bool { return route.Pool == s.Name }) {
			r.problem(model.Problem{
				Pos: s.Pos, Effect: model.Inert, Text: fmt.Sprintf("no proxy_pass leads to %s: nothing is split", s.Name),
				Instead: "proxy_pass http://" + s.Name + ";",
			})
		}
	}
}
