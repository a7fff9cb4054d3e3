package traefik

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// entryPoint is an entry point.
type entryPoint struct {
	tree *reading.Tree
	name string
	port int
	tls  bool // of every router on it

	servesTLS bool // by its own TLS or that of a router
}

func (r *reader) readEntries() []entryPoint {
	if r.static == nil {
		return []entryPoint{{name: "web", port: 80}, {name: "websecure", port: 443}}
	}
	var out []entryPoint
	for _, e := range r.static.Get("entryPoints").Parts() {
		address, protocol, _ := strings.Cut(e.Get("address").Text(), "/")
		port, err := strconv.ParseUint(address[strings.LastIndex(address, ":")+1:], 10, 16)
		if err != nil {
			r.problem(model.Problem{
				Pos: e.Pos, Effect: model.Rejected,
				Text:    fmt.Sprintf("entry point %s has no address with a port", e.Key),
				Instead: `address: ":80"`,
			})
			continue
		}
		if protocol == "udp" {
			continue
		}
		tls := e.Get("http", "tls") != nil
		out = append(out, entryPoint{tree: e, name: e.Key, port: int(port), tls: tls, servesTLS: tls})
	}
	return out
}

// entryPointNames returns the names of all entry points.
func (r *reader) entryPointNames() []string {
	var names []string
	for _, e := range r.entries {
		names = append(names, e.name)
	}
	return names
}

// entryPoints reads listeners, redirections and timeouts.
func (r *reader) entryPoints() {
	for _, e := range r.entries {
		pos := model.Pos{File: r.cfg.Files[0].Name}
		if e.tree != nil {
			pos = e.tree.Pos
		}
		r.cfg.Listeners = append(r.cfg.Listeners, model.Listener{
			Pos: pos, Port: e.port, TLS: e.servesTLS, HTTP2: e.servesTLS,
		})
		redirect := e.tree.Get("http", "redirections", "entryPoint")
		if redirect == nil {
			continue
		}
		code := 301
		if p := redirect.Get("permanent"); p != nil && !p.IsTrue() {
			code = 302
		}
		scheme := redirect.Get("scheme").Text()
		if scheme == "" {
			scheme = "https"
		}
		to := redirect.Get("to").Text()
		if !strings.HasPrefix(to, ":") && !slices.ContainsFunc(r.entries, func(o entryPoint) bool { return o.name == to }) {
			r.problem(model.Problem{
				Pos: redirect.Pos, Effect: model.Rejected,
				Text:    fmt.Sprintf("the redirection is to entry point %q, which is not defined", to),
				Instead: fmt.Sprintf("entryPoints: {%s: {address: ':443'}}", to),
			})
		}
		r.cfg.Routes = append(r.cfg.Routes, model.Route{
			Pos: redirect.Pos, Path: "/", Port: e.port, Priority: 1 << 30,
			Redirect: redirectTo(redirect.Pos, code, scheme),
		})
	}
}

// usedEntries returns the entry points of a router: the named ones, else the default ones.
func (r *reader) usedEntries(router *reading.Tree) []entryPoint {
	all := r.entries
	names := router.Get("entryPoints").Texts()
	var out, defaults []entryPoint
	for _, e := range all {
		if slices.Contains(names, e.name) {
			out = append(out, e)
		}
		if e.tree.Get("asDefault").IsTrue() {
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

// timeouts reads the timeouts of entry points (doc.traefik.io, "Responding timeouts": reading 60 s, writing unlimited,
// idle 180 s) and of servers (dialing 30 s, response unlimited).
func (r *reader) timeouts(t *reading.Tree, route *model.Route) {
	entry := r.usedEntries(t)
	if len(entry) == 0 {
		return
	}
	at := entry[0].tree.Get("transport", "respondingTimeouts")
	for _, x := range []struct {
		key, what, then string
		after           time.Duration
	}{
		{"readTimeout", model.ClientTimeout, "the connection is closed", time.Minute},
		{"idleTimeout", model.IdleTimeout, "the connection is closed", 3 * time.Minute},
	} {
		set := at.Get(x.key)
		route.Timeouts = append(route.Timeouts, model.Timeout{
			Pos: set.PosOr(t.Pos), Implicit: set == nil, Kind: x.what, Duration: readDuration(set, x.after), Result: x.then,
		})
	}
	route.Timeouts = append(route.Timeouts,
		model.Timeout{
			Pos: t.Pos, Implicit: true, Kind: model.ConnectTimeout, Duration: 30 * time.Second, Result: "504",
			Statuses: []int{502, 504},
		},
		model.Timeout{Pos: t.Pos, Implicit: true, Kind: model.ReadTimeout, Result: "504"})
	route.Retry = &model.Retry{
		Pos: t.Pos, Implicit: true, Attempts: 1, Backoff: model.NoBackoff, Next: model.NextInRotation,
		Methods: model.NoMethods,
	}
}
