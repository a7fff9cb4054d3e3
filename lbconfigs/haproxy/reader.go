package haproxy

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// reader turns sections into model.Config.
type reader struct {
	cfg          *model.Config
	sections     []section
	global       section
	routes       []pendingRoute
	priority     int
	acls         map[model.Pos]map[string][]string // section → ACL → criterion
	words        map[model.Pos]map[string]bool     // section → its words outside ACLs, without negation
	reportedACLs map[string]bool                   // unused ACLs, which may have several lines
	backends     map[string]int                    // backend → index in sections
}

// pendingRoute is a route with the name of its backend.
type pendingRoute struct {
	route   model.Route
	backend string
	// closesConnections is the line of the frontend that closes connections to servers after each request; line 0: none.
	closesConnections model.Pos
}

// readConfig reads files in the order of their names, as HAProxy does.
func readConfig(fsys fs.FS, names ...string) (model.Config, error) {
	cfg := model.Config{
		Balancer: "haproxy", Dialect: dialect, Foreground: true,
		Workers: model.Workers{Pos: model.Pos{File: names[0]}, Count: 1},
	}
	r := reader{cfg: &cfg, priority: 1 << 20}
	for _, n := range names {
		text, err := reading.ReadText(fsys, n)
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

// split parses a file into sections.
func (r *reader) split(file, text string) error {
	number := 0
	named := map[string][]statement{}
	var defaults []statement
	var current *section
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
		l := statement{pos: model.Pos{File: file, Line: number}}
		var err error
		if l.words, err = splitWords(raw); err != nil {
			return fmt.Errorf("%s: %w", l.pos, err)
		}
		r.checkLength(l)
		switch {
		case len(l.words) == 0:
		case slices.Contains(sectionWords, l.word(0)):
			keep()
			current = r.beginSection(l, defaults, named)
		case current == nil:
			return fmt.Errorf("%s: %q is outside any section (global, defaults, frontend, backend, listen)", l.pos, l.text())
		default:
			current.own = append(current.own, l)
		}
	}
	keep()
	return nil
}

// checkLength reports a line with more words than HAProxy allows.
func (r *reader) checkLength(l statement) {
	if n := len(l.words); n > maxWords {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Rejected,
			Text:    fmt.Sprintf("the line has %d words, but HAProxy allows at most %d", n, maxWords),
			Instead: "several lines; an acl may have several lines with its name",
		})
	}
}

// beginSection returns a new section with the named defaults, or the last ones.
func (r *reader) beginSection(l statement, defaults []statement, named map[string][]statement) *section {
	s := &section{pos: l.pos, kind: l.word(0), name: l.word(1), defaults: defaults}
	if from := l.wordAfter("from"); from != "" {
		inherited, ok := named[from]
		if !ok {
			r.problem(model.Problem{
				Pos: l.pos, Effect: model.Rejected, Text: fmt.Sprintf("defaults section %s is not defined", from),
			})
		}
		s.defaults = inherited
	}
	if s.kind == "defaults" {
		s.defaults = nil
	}
	return s
}

func (r *reader) problem(p model.Problem) { r.cfg.Problems = append(r.cfg.Problems, p) }

func (r *reader) read() error {
	r.index()
	if proxies := r.readKeywords(); proxies == 0 {
		return fmt.Errorf("%s: no frontend, backend or listen section", r.cfg.Files[0].Name)
	}
	r.checkDescriptors()
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
		if err := r.finishRoute(hr); err != nil {
			return err
		}
	}
	r.finishKeepalive()
	r.cfg.Reload = &model.Reload{
		Pos: model.Pos{File: r.cfg.Files[0].Name},
		Description: "a new process takes over the listening sockets (SO_REUSEPORT, or -x), " +
			"the old one finishes its requests",
	}
	return nil
}

// readKeywords reads the keywords of all sections, collects the global ones, and returns the number of proxies.
func (r *reader) readKeywords() (proxies int) {
	for _, s := range r.sections {
		r.keywords(s)
		switch s.kind {
		case "global":
			r.global.own = append(r.global.own, s.own...)
		case "frontend", "listen", "backend":
			proxies++
		}
	}
	return proxies
}

// index builds the lookup tables.
func (r *reader) index() {
	r.reportedACLs = map[string]bool{}
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

// checkDescriptors reports a large maxconn: HAProxy needs two descriptors per connection, or does not start.
func (r *reader) checkDescriptors() {
	l, ok := r.global.last("maxconn")
	n, err := strconv.Atoi(l.word(1))
	if !ok || err != nil || n < 32768 {
		return
	}
	r.problem(model.Problem{
		Pos: l.pos, Effect: model.Misleading,
		Text: fmt.Sprintf("maxconn needs more than %s file descriptors: "+
			"if the hard limit is lower, HAProxy does not start, although its -c accepts the file", units.Number(2*n)),
		Instead: "remove it, so that HAProxy uses what the limit allows; or raise the limit (LimitNOFILE=)",
	})
}

// finishKeepalive disables keep-alive of pools whose frontends all close connections to servers, which suffices
// (mux_h1.c).
func (r *reader) finishKeepalive() {
	for i, p := range r.cfg.Pools {
		var from model.Pos
		keeps := false
		for _, hr := range r.routes {
			if hr.backend == p.Name {
				from, keeps = hr.closesConnections, keeps || hr.closesConnections.Line == 0
			}
		}
		implicit := p.Keepalive != nil && p.Keepalive.Implicit
		if implicit && from.Line > 0 && !keeps {
			r.cfg.Pools[i].Keepalive = &model.Keepalive{Pos: from, Disabled: true}
		}
	}
}
