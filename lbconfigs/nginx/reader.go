package nginx

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// readConfig reads the main file and its includes with crossplane, which checks contexts and argument counts as nginx
// does.
func readConfig(fsys fs.FS, names ...string) (model.Config, error) {
	name := names[0]
	files := confFiles{fsys, path.Clean(name), map[string]error{}}
	if _, err := files.read(name); err != nil {
		return model.Config{}, err
	}
	lua := &crossplane.Lua{}
	payload, err := crossplane.Parse(files.main, &crossplane.ParseOptions{
		Open: files.open, Glob: files.glob,
		SkipDirectiveContextCheck: true, // unreadAll checks it and continues
		LexOptions:                crossplane.LexOptions{Lexers: []crossplane.RegisterLexer{lua.RegisterLexer()}},
	})
	if err != nil { // the only error that is not in the payload
		return model.Config{}, fmt.Errorf("%s: %w; remove the include by which a file includes itself", files.main, err)
	}
	cfg := model.Config{Balancer: "nginx", Dialect: dialect, Workers: model.Workers{Pos: model.Pos{File: name}, Count: 1}}
	r := reader{cfg: &cfg, files: files, payload: payload, poolIndex: map[string]int{}}
	for i := range payload.Config {
		file := &payload.Config[i]
		if _, own := files.packagedContent(file.File); own {
			continue
		}
		file.File = files.localPath(file.File)
		content, err := reading.ReadText(fsys, file.File)
		if err != nil {
			return model.Config{}, err
		}
		cfg.Files = append(cfg.Files, model.NewFile(file.File, content))
	}
	if err := r.syntax(); err != nil {
		return model.Config{}, err
	}
	if err := r.checkIncludes(); err != nil {
		return model.Config{}, err
	}
	return cfg, r.main()
}

// syntax returns the first error after which reading cannot continue, as file:line: message. What nginx rejects but
// lbproof can skip becomes a problem.
func (r *reader) syntax() error {
	for _, e := range r.payload.Errors {
		pos := model.Pos{File: r.files.localPath(e.File)}
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

// refusedDirective explains an error of crossplane that concerns a single directive.
func refusedDirective(what string) (text, instead string, ok bool) {
	parts := strings.Split(what, `"`)
	if len(parts) < 3 {
		return "", "", false
	}
	name := parts[1]
	switch {
	case strings.Contains(what, "invalid number of arguments"):
		return fmt.Sprintf("%s: wrong number of arguments", name),
			"if its semicolon is missing, it has swallowed the next line: add the semicolon", true
	case strings.Contains(what, "is not terminated by"), strings.Contains(what, "has no opening"):
		text = fmt.Sprintf("%s: missing semicolon, or a block that this directive does not have", name)
		return text, "", strings.Contains(what, `";"`)
	}
	return "", "", false
}

// reader turns directives into model.Config. It lists what it does not evaluate as unread, with its line.
type reader struct {
	payload   *crossplane.Payload
	files     confFiles
	cfg       *model.Config
	zones     []limitZone
	maps      map[string]mapBlock
	poolIndex map[string]int    // upstream → index in cfg.Pools
	tlsPools  []string          // upstreams reached by TLS
	defaults  map[int]model.Pos // port → its default server block
}

// limitZone is a shared memory zone for limits.
type limitZone struct {
	pos      model.Pos
	kind     string // limit_req_zone or limit_conn_zone
	name     string
	key      string
	rate     float64 // requests per second
	declared string  // the rate as written
	used     bool
}

// mapBlock is a map block.
type mapBlock struct {
	from         string
	defaultValue string
	empty        []string // the values of from that map to ""
}

func (r *reader) problem(p model.Problem) { r.cfg.Problems = append(r.cfg.Problems, p) }

func (r *reader) main() error {
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
			r.unreadAll(r.block(d), anyContext)
			r.connections(r.block(d))
		}
	}
	if part := pick(top, "server", "upstream"); len(part) > 0 && len(pick(top, "http")) == 0 {
		r.problem(model.Problem{
			Pos: part[0].pos, Effect: model.Rejected,
			Text:    "this file is part of an http block: nginx does not start with it alone",
			Instead: "a file with events {} and http { include " + path.Base(part[0].pos.File) + "; }",
		})
		if err := r.http(top); err != nil {
			return err
		}
	} else {
		r.unreadAll(top, inMain)
	}
	r.checkUnusedZones()
	r.cfg.Reload = &model.Reload{
		Pos: model.Pos{File: r.cfg.Files[0].Name},
		Description: "SIGHUP: new workers start with fresh rotation and failure counts, " +
			"old workers finish their requests",
	}
	return r.finishPools()
}

func (r *reader) workers(d item) error {
	w := &r.cfg.Workers
	w.Pos, w.Auto, w.Count = d.pos, true, 0
	if d.arg(0) == "auto" {
		return nil
	}
	n, err := strconv.Atoi(d.arg(0))
	if err != nil || n < 1 {
		return fmt.Errorf("%s: worker_processes %s: neither a positive number nor auto", d.pos, d.arg(0))
	}
	w.Auto, w.Count = false, n
	return nil
}

// connections reads the connection limit of a worker, of clients and backends together (ngx_event.c: 512 by default).
func (r *reader) connections(events []item) {
	w := &r.cfg.Workers
	w.Connections, w.ConnectionsPos = 512, model.Pos{File: r.cfg.Files[0].Name}
	for _, d := range events {
		if n, err := strconv.Atoi(d.arg(0)); d.Directive.Directive == "worker_connections" && err == nil {
			w.Connections, w.ConnectionsPos = n, d.pos
		}
	}
}

// http reads the directives of the http block.
func (r *reader) http(block []item) error {
	r.maps = map[string]mapBlock{}
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
	if err := r.readMisplaced(block); err != nil {
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

// httpDirective reads directives of the http block that servers refer to.
func (r *reader) httpDirective(d item) error {
	switch d.Directive.Directive {
	case "upstream":
		return r.upstream(d)
	case "limit_req_zone", "limit_conn_zone":
		return r.zone(d)
	case "map":
		m := mapBlock{from: d.arg(0)}
		for _, c := range d.Block {
			switch {
			case len(c.Args) != 1:
			case c.Directive == "default":
				m.defaultValue = c.Args[0]
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

func (r *reader) zone(d item) error {
	z := limitZone{pos: d.pos, kind: d.Directive.Directive, key: d.arg(0)}
	for _, arg := range d.rest() {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "zone":
			z.name, _, _ = strings.Cut(value, ":")
		case "rate":
			number, per, _ := strings.Cut(value, "r/")
			n, err := strconv.Atoi(number)
			seconds, ok := map[string]int{"s": 1, "m": 60}[per]
			if err != nil || n < 1 || !ok {
				return fmt.Errorf("%s: rate=%s: not a rate such as 10r/s or 30r/m", d.pos, value)
			}
			z.rate, z.declared = float64(1000*n/seconds)/1000, value // nginx counts in thousandths and rounds down
		}
	}
	r.zones = append(r.zones, z)
	return nil
}

func (r *reader) checkUnusedZones() {
	for _, z := range r.zones {
		if !z.used {
			limit := strings.TrimSuffix(z.kind, "_zone")
			r.problem(model.Problem{
				Pos: z.pos, Effect: model.Inert,
				Text:    fmt.Sprintf("zone %s is declared, but no %s uses it: nothing is limited", z.name, limit),
				Instead: fmt.Sprintf("%s zone=%s; in the intended location", limit, z.name),
			})
		}
	}
}

// split reads split_clients, whose parts divide the range of hashes in the order in which they are written.
func (r *reader) split(d item) error {
	s := model.Split{Pos: d.pos, Name: d.arg(1), Hash: &model.Hash{Key: readKey(d.arg(0)), Function: model.Murmur2Shares}}
	rest := 100.0
	for _, c := range d.Block {
		pos := model.Pos{File: d.pos.File, Line: c.Line}
		share := rest
		if c.Directive != "*" {
			n, err := strconv.ParseFloat(strings.TrimSuffix(c.Directive, "%"), 64)
			if err != nil || n < 0 || n > rest {
				return fmt.Errorf("%s: %s: not a share of the remaining %g %%", pos, c.Directive, rest)
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
