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

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"github.com/lbproof/lbproof/internal/lb"
)

const nginxConf = "/etc/nginx/nginx.conf"

var nginx = Balancer{
	Name:   "nginx",
	Doc:    "upstream servers and weights, locations, proxy_set_header, return; the image is nginx:stable, else Debian's package",
	Suffix: ".conf",
	Parse:  parseNginx,
	Spec:   nginxSpec,
}

func nginxSpec(cfg lb.Config) lb.Spec {
	command := []string{"nginx"}
	if !cfg.Foreground {
		command = append(command, "-g", "daemon off;")
	}
	spec := lb.Spec{
		Name:    "nginx",
		Role:    lb.Balancer,
		Command: command,
		Check:   []string{"nginx", "-t", "-q"},
		Version: []string{"nginx", "-v"},
		Title:   "nginx: worker process",
		Files:   map[string]string{},
		Image: lb.Image{
			Ref:      "nginx:stable",
			Packages: []string{"nginx"},
			Users:    []string{"nobody", "nogroup", "www-data", "nginx"},
			Dirs:     []string{"/etc/nginx", "/run", "/var/lib/nginx", "/var/log/nginx", "/tmp"},
			Links:    []string{"/var/run -> /run", "/var/log/nginx/access.log -> /dev/stdout", "/var/log/nginx/error.log -> /dev/stderr"},
		},
	}
	for i, file := range cfg.Files {
		if i == 0 {
			spec.Files[nginxConf] = file.Name
			continue
		}
		spec.Files[inContainer(nginxConf, cfg.Files[0].Name, file.Name)] = file.Name
	}
	for _, l := range cfg.Listeners {
		spec.Ports = append(spec.Ports, l.Port)
	}
	return spec
}

// parseNginx reads the main file and its includes with crossplane, which checks contexts and argument counts as nginx does.
func parseNginx(fsys fs.FS, name string) (lb.Config, error) {
	if _, err := fs.Stat(fsys, name); err != nil {
		return lb.Config{}, fmt.Errorf("read configuration %s: %w", name, errors.Unwrap(err))
	}
	payload, err := crossplane.Parse(name, &crossplane.ParseOptions{
		StopParsingOnError: false,
		Open:               func(p string) (io.ReadCloser, error) { return openConfig(fsys, p) },
		Glob:               func(p string) ([]string, error) { return fs.Glob(fsys, path.Clean(p)) },
	})
	if err != nil {
		return lb.Config{}, fmt.Errorf("%s: %w", name, err)
	}
	if err := nginxSyntax(payload); err != nil {
		return lb.Config{}, err
	}
	cfg := lb.Config{Balancer: "nginx", Workers: lb.Workers{Pos: lb.Pos{File: name}, Count: 1}}
	for _, file := range payload.Config {
		content, err := fs.ReadFile(fsys, path.Clean(file.File))
		if err != nil {
			return lb.Config{}, fmt.Errorf("read configuration %s: %w", file.File, err)
		}
		cfg.Files = append(cfg.Files, lb.NewFile(file.File, content))
	}
	r := nginxReader{payload: payload, cfg: &cfg}
	if err := r.main(); err != nil {
		return lb.Config{}, err
	}
	return cfg, nil
}

// openConfig never returns nil: crossplane closes what it could not open.
func openConfig(fsys fs.FS, name string) (io.ReadCloser, error) {
	f, err := fsys.Open(path.Clean(name))
	if err != nil {
		return io.NopCloser(strings.NewReader("")), err
	}
	return f, nil
}

// nginxSyntax gives the first error that crossplane found, as file:line: message.
func nginxSyntax(payload *crossplane.Payload) error {
	if len(payload.Errors) == 0 {
		return nil
	}
	first := payload.Errors[0]
	pos := lb.Pos{File: first.File}
	if first.Line != nil {
		pos.Line = *first.Line
	}
	text := first.Error.Error()
	var parse *crossplane.ParseError
	if errors.As(first.Error, &parse) {
		text = parse.What
	}
	return fmt.Errorf("%s: %s", pos, text)
}

// nginxReader turns directives into lb.Config. What it does not understand it lists as unread, with its line.
type nginxReader struct {
	payload  *crossplane.Payload
	cfg      *lb.Config
	defaults map[int]lb.Pos // port → the server block that answers a Host that no other names
}

// guards are directives by which nginx may answer a request before it is proxied.
var guards = []string{
	"limit_req", "limit_conn", "limit_except", "auth_basic", "auth_request", "auth_jwt", "allow", "deny", "satisfy", "internal",
	"if", "return", "rewrite", "try_files",
}

// guarded says whether a block has a guard of its own.
func (r *nginxReader) guarded(file string, block crossplane.Directives) bool {
	found := false
	_ = r.each(file, block, func(d *crossplane.Directive, _ lb.Pos) error { // the function fails never
		found = found || slices.Contains(guards, d.Directive)
		return nil
	})
	return found
}

// each calls f for every directive of a block, includes followed, with the file it stands in. Crossplane refuses cycles.
func (r *nginxReader) each(file string, block crossplane.Directives, f func(d *crossplane.Directive, pos lb.Pos) error) error {
	for _, d := range block {
		if d.Directive == "include" {
			for _, i := range d.Includes {
				included := r.payload.Config[i]
				if err := r.each(included.File, included.Parsed, f); err != nil {
					return err
				}
			}
			continue
		}
		if err := f(d, lb.Pos{File: file, Line: d.Line}); err != nil {
			return err
		}
	}
	return nil
}

func (r *nginxReader) main() error {
	root := r.payload.Config[0]
	err := r.each(root.File, root.Parsed, func(d *crossplane.Directive, pos lb.Pos) error {
		switch d.Directive {
		case "worker_processes":
			return r.workers(d, pos)
		case "daemon":
			r.cfg.Foreground = d.Args[0] == "off"
		case "http":
			return r.http(pos.File, d)
		case "events":
			return r.each(pos.File, d.Block, r.unread)
		default:
			return r.unread(d, pos)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.pools()
}

func (r *nginxReader) unread(d *crossplane.Directive, pos lb.Pos) error {
	r.cfg.Unread = append(r.cfg.Unread, lb.Unread{Pos: pos, Text: strings.Join(append([]string{d.Directive}, d.Args...), " ")})
	return nil
}

func (r *nginxReader) workers(d *crossplane.Directive, pos lb.Pos) error {
	r.cfg.Workers = lb.Workers{Pos: pos, Auto: true}
	if d.Args[0] == "auto" {
		return nil
	}
	n, err := strconv.Atoi(d.Args[0])
	if err != nil || n < 1 {
		return fmt.Errorf("%s: worker_processes %s is neither a positive number nor auto", pos, d.Args[0])
	}
	r.cfg.Workers = lb.Workers{Pos: pos, Count: n}
	return nil
}

func (r *nginxReader) http(file string, http *crossplane.Directive) error {
	headers, err := r.setHeaders(file, http.Block, nil)
	if err != nil {
		return err
	}
	if err := r.findDefaults(file, http); err != nil {
		return err
	}
	return r.each(file, http.Block, func(d *crossplane.Directive, pos lb.Pos) error {
		switch d.Directive {
		case "upstream":
			return r.upstream(d, pos)
		case "server":
			return r.server(d, pos, scope{headers: headers, guarded: r.guarded(file, http.Block)})
		case "proxy_set_header":
			return nil
		}
		return r.unread(d, pos)
	})
}

// setHeaders are the proxy_set_header lines in force in a block: its own if it has any, else the outer ones.
func (r *nginxReader) setHeaders(file string, block crossplane.Directives, outer []lb.Header) ([]lb.Header, error) {
	var own []lb.Header
	err := r.each(file, block, func(d *crossplane.Directive, pos lb.Pos) error {
		if d.Directive == "proxy_set_header" {
			own = append(own, lb.Header{Pos: pos, Name: d.Args[0], Value: d.Args[1]})
		}
		return nil
	})
	if own == nil {
		own = outer
	}
	return own, err
}

func (r *nginxReader) upstream(up *crossplane.Directive, pos lb.Pos) error {
	pool := lb.Pool{Pos: pos, Name: up.Args[0], Method: lb.RoundRobin}
	err := r.each(pos.File, up.Block, func(d *crossplane.Directive, pos lb.Pos) error {
		switch d.Directive {
		case "server":
			server, err := r.upstreamServer(d, pos)
			pool.Servers = append(pool.Servers, server)
			return err
		case "zone":
			pool.SharedState = true
			return nil
		case "least_conn", "ip_hash", "hash", "random", "least_time", "sticky":
			pool.Method = d.Directive
		}
		return r.unread(d, pos)
	})
	r.cfg.Pools = append(r.cfg.Pools, pool)
	return err
}

func (r *nginxReader) upstreamServer(d *crossplane.Directive, pos lb.Pos) (lb.Server, error) {
	host, port, err := hostPort(d.Args[0], 80)
	if err != nil {
		return lb.Server{}, fmt.Errorf("%s: upstream server %q: %w", pos, d.Args[0], err)
	}
	server := lb.Server{Pos: pos, Host: host, Port: port, Weight: 1}
	for _, arg := range d.Args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "weight":
			if server.Weight, err = strconv.Atoi(value); err != nil || server.Weight < 1 {
				return server, fmt.Errorf("%s: weight=%s is not a positive number", pos, value)
			}
		case "backup":
			server.Backup = true
		case "down":
			server.Down = true
		default:
			r.cfg.Unread = append(r.cfg.Unread, lb.Unread{Pos: pos, Text: "server " + d.Args[0] + " " + arg})
		}
	}
	return server, nil
}

// hostPort splits host:port; unix sockets come back whole.
func hostPort(addr string, port int) (string, int, error) {
	if strings.HasPrefix(addr, "unix:") {
		return addr, port, nil
	}
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, port, nil // no port: a bare host
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no port", text)
	}
	return host, int(n), nil
}

// scope is what an outer block leaves to an inner one.
type scope struct {
	headers []lb.Header
	guarded bool
	regex   bool // a location by regular expression may take what a prefix matches
	port    int
}

func (r *nginxReader) server(server *crossplane.Directive, pos lb.Pos, outer scope) error {
	headers, err := r.setHeaders(pos.File, server.Block, outer.headers)
	if err != nil {
		return err
	}
	port := 0
	listens, err := r.listens(server, pos)
	if err != nil {
		return err
	}
	for _, l := range listens {
		if r.defaults[l.Port] == pos && port == 0 {
			port = l.Port
		}
	}
	if port == 0 {
		return r.unread(server, pos) // TLS, or another server answers for its port
	}
	r.cfg.Listeners = append(r.cfg.Listeners, listens...)
	inner := scope{headers: headers, guarded: outer.guarded || r.guarded(pos.File, server.Block), regex: r.regex(pos.File, server.Block), port: port}
	return r.each(pos.File, server.Block, func(d *crossplane.Directive, pos lb.Pos) error {
		switch d.Directive {
		case "listen", "proxy_set_header":
			return nil
		case "location":
			return r.location(d, pos, inner)
		}
		return r.unread(d, pos)
	})
}

// findDefaults notes which server block is each port's default: the one that says so, else the first.
func (r *nginxReader) findDefaults(file string, http *crossplane.Directive) error {
	r.defaults = map[int]lb.Pos{}
	return r.each(file, http.Block, func(d *crossplane.Directive, pos lb.Pos) error {
		if d.Directive != "server" {
			return nil
		}
		listens, err := r.listens(d, pos)
		for _, l := range listens {
			if _, taken := r.defaults[l.Port]; !taken || l.Default {
				r.defaults[l.Port] = pos
			}
		}
		return err
	})
}

// listens are the ports on which a server block speaks plain HTTP.
func (r *nginxReader) listens(server *crossplane.Directive, pos lb.Pos) ([]lb.Listener, error) {
	var found []lb.Listener
	silent := true
	err := r.each(pos.File, server.Block, func(d *crossplane.Directive, pos lb.Pos) error {
		if d.Directive != "listen" {
			return nil
		}
		silent = false
		if slices.Contains(d.Args, "ssl") || strings.HasPrefix(d.Args[0], "unix:") {
			return nil
		}
		port, err := listenPort(d.Args[0])
		if err != nil {
			return fmt.Errorf("%s: listen %s: %w", pos, d.Args[0], err)
		}
		l := lb.Listener{Pos: pos, Port: port, Default: slices.Contains(d.Args, "default_server")}
		if !slices.ContainsFunc(found, func(f lb.Listener) bool { return f.Port == port }) { // [::]:80 beside 80
			found = append(found, l)
		}
		return nil
	})
	if silent { // nginx listens on 80 where nothing else is said
		found = append(found, lb.Listener{Pos: pos, Port: 80})
	}
	return found, err
}

// listenPort is the port of a listen directive's address: a port, an address, or both.
func listenPort(addr string) (int, error) {
	if port, err := strconv.ParseUint(addr, 10, 16); err == nil {
		return int(port), nil
	}
	_, port, err := hostPort(addr, 80)
	return port, err
}

// regex says whether a server has a location by regular expression.
func (r *nginxReader) regex(file string, block crossplane.Directives) bool {
	found := false
	_ = r.each(file, block, func(d *crossplane.Directive, _ lb.Pos) error { // the function fails never
		found = found || d.Directive == "location" && strings.HasPrefix(d.Args[0], "~")
		return nil
	})
	return found
}

func (r *nginxReader) location(location *crossplane.Directive, pos lb.Pos, outer scope) error {
	route := lb.Route{Pos: pos, Port: outer.port, Path: location.Args[len(location.Args)-1]}
	switch kind := strings.Join(location.Args[:len(location.Args)-1], ""); {
	case kind == "=":
		route.Exact = true
	case kind == "^~", kind == "" && !outer.regex:
	default: // a regular expression, or a prefix of which one may take a part
		return r.unread(location, pos)
	}
	if strings.HasPrefix(route.Path, "@") {
		return r.unread(location, pos)
	}
	headers, err := r.setHeaders(pos.File, location.Block, outer.headers)
	if err != nil {
		return err
	}
	err = r.each(pos.File, location.Block, func(d *crossplane.Directive, pos lb.Pos) error {
		switch d.Directive {
		case "proxy_pass":
			return r.proxyPass(&route, d, pos)
		case "return":
			return r.answer(&route, d, pos)
		case "proxy_set_header":
			return nil
		}
		return r.unread(d, pos)
	})
	if route.Pool != "" {
		route.SetHeaders = headers
		route.Guarded = outer.guarded || r.guarded(pos.File, location.Block)
	}
	if route.Pool != "" || route.Answer != nil && !outer.guarded {
		r.cfg.Routes = append(r.cfg.Routes, route)
	}
	return err
}

func (r *nginxReader) proxyPass(route *lb.Route, d *crossplane.Directive, pos lb.Pos) error {
	target, plain := strings.CutPrefix(d.Args[0], "http://")
	if !plain || strings.ContainsAny(target, "$") {
		return r.unread(d, pos)
	}
	route.Pool, _, _ = strings.Cut(target, "/")
	route.PoolPos = pos
	return nil
}

// answer reads return CODE [TEXT]; redirects and bodies with variables are left unread.
func (r *nginxReader) answer(route *lb.Route, d *crossplane.Directive, pos lb.Pos) error {
	code, err := strconv.Atoi(d.Args[0])
	if err != nil || (code >= 300 && code < 400) || strings.Contains(strings.Join(d.Args, ""), "$") {
		return r.unread(d, pos)
	}
	route.Answer = &lb.Answer{Pos: pos, Code: code}
	if len(d.Args) > 1 {
		route.Answer.Body = unescape(d.Args[1])
	}
	return nil
}

// unescape turns the escapes that nginx knows in a string into what they stand for.
var unescape = strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t", `\"`, `"`, `\'`, `'`, `\\`, `\`).Replace

// pools adds a pool of one server for each proxy_pass that names a host instead of an upstream.
func (r *nginxReader) pools() error {
	for _, route := range r.cfg.Routes {
		if _, known := r.cfg.Pool(route.Pool); known || route.Pool == "" {
			continue
		}
		host, port, err := hostPort(route.Pool, 80)
		if err != nil {
			return fmt.Errorf("%s: proxy_pass to %q: %w", route.PoolPos, route.Pool, err)
		}
		r.cfg.Pools = append(r.cfg.Pools, lb.Pool{
			Pos: route.PoolPos, Name: route.Pool, Method: lb.RoundRobin,
			Servers: []lb.Server{{Pos: route.PoolPos, Host: host, Port: port, Weight: 1}},
		})
	}
	return nil
}
