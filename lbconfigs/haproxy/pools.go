package haproxy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// Defaults of HAProxy's health checks (configuration manual, section 5.2).
const (
	defaultInter      = 2 * time.Second
	defaultFall       = 3
	defaultRise       = 2
	defaultErrorLimit = 10
)

// pool reads the servers of a section and their balancing.
func (r *reader) pool(s section) error {
	pool := model.Pool{
		Pos: s.pos, Name: s.name, Balance: readBalance(s), WhenFull: model.QueueForServer, SharedState: true,
		Resolve: &model.Resolve{Pos: s.pos, Implicit: true},
	}
	defaults := serverOptions{}
	for _, l := range s.defaults {
		if l.word(0) == "default-server" {
			defaults.read(l.wordsFrom(1))
		}
	}
	for _, l := range s.own {
		switch l.word(0) {
		case "default-server":
			defaults.read(l.wordsFrom(1))
			r.checkLateDefaultServer(s, l)
		case "server":
			server, err := r.server(s, l, defaults)
			if err != nil {
				return err
			}
			pool.Servers = append(pool.Servers, server)
		}
	}
	r.checkUnusedHTTPCheck(s, pool)
	r.sticky(s, &pool)
	r.readKeepalive(s, &pool)
	if l, ok := s.last("timeout", "queue"); ok {
		if after, err := parseTime(l.word(2)); err == nil {
			pool.Queue = &model.Timeout{Pos: l.pos, Kind: model.QueueTimeout, Duration: after, Result: "503"}
		}
	}
	if len(pool.Servers) > 0 {
		r.cfg.Pools = append(r.cfg.Pools, pool)
	}
	return nil
}

// checkUnusedHTTPCheck reports an option httpchk without a server that has check, which alone enables checks.
func (r *reader) checkUnusedHTTPCheck(s section, pool model.Pool) {
	l, ok := s.option("httpchk")
	checked := slices.ContainsFunc(pool.Servers, func(one model.Server) bool { return one.HealthCheck != nil })
	if !ok || len(pool.Servers) == 0 || checked {
		return
	}
	r.problem(model.Problem{
		Pos: l.pos, Effect: model.Inert,
		Text:    fmt.Sprintf("no server of %s has check: option httpchk alone enables no health checks", s.name),
		Instead: "server NAME ADDRESS check",
	})
}

// checkLateDefaultServer reports a default-server after all servers: it applies to later servers only.
func (r *reader) checkLateDefaultServer(s section, l statement) {
	before, after := 0, 0
	for _, o := range s.own {
		switch {
		case o.word(0) != "server":
		case o.pos.Line < l.pos.Line:
			before++
		default:
			after++
		}
	}
	if before > 0 && after == 0 {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Inert,
			Text:    fmt.Sprintf("default-server applies to later servers only, but all %d precede it", before),
			Instead: "the same line before the first server",
		})
	}
}

func (r *reader) server(s section, l statement, defaults serverOptions) (model.Server, error) {
	if len(l.words) < 3 {
		return model.Server{}, fmt.Errorf(
			"%s: server without name or address; write server NAME ADDRESS, as server web1 10.0.0.1:80", l.pos)
	}
	host, port, err := reading.SplitHostPort(strings.TrimPrefix(l.word(2), "ipv4@"), 0)
	if err != nil {
		return model.Server{}, fmt.Errorf("%s: server %s: %w", l.pos, l.word(1), err)
	}
	if port == 0 && !strings.HasPrefix(host, "/") {
		port = 80
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Misleading,
			Text:    fmt.Sprintf("server %s has no port: requests go to the port to which the client connected", l.word(1)),
			Instead: l.word(2) + ":80",
		})
	}
	o := maps.Clone(defaults)
	o.read(l.wordsFrom(3))
	server := model.Server{
		Pos: l.pos, Name: l.word(1), Host: host, Port: port,
		Backup: o.has("backup"), Down: o.has("disabled"), TLS: o.has("ssl"),
	}
	if ca := o["ca-file"]; strings.HasPrefix(ca, "/") {
		r.cfg.Needs = append(r.cfg.Needs, model.Need{Pos: l.pos, Kind: model.NeedAuthority, Path: ca})
	}
	if server.Weight, err = o.number("weight", 1); err != nil {
		return server, fmt.Errorf("%s: server %s: %w", l.pos, server.Name, err)
	}
	if server.Weight > 256 {
		return server, fmt.Errorf("%s: server %s: weight %d is greater than 256", l.pos, server.Name, server.Weight)
	}
	server.Drain = server.Weight == 0
	if n, err := o.number("maxconn", 0); err == nil && n > 0 {
		server.MaxConns = &model.Number{Pos: l.pos, Value: int64(n)}
	}
	if err := r.checks(s, l, o, &server); err != nil {
		return server, fmt.Errorf("%s: server %s: %w", l.pos, server.Name, err)
	}
	return server, nil
}

func (r *reader) sticky(s section, pool *model.Pool) {
	if l, ok := s.last("cookie"); ok {
		words := l.wordsFrom(2)
		pool.Sticky = &model.Sticky{
			Pos: l.pos, Cookie: l.word(1), SetsCookie: slices.Contains(words, "insert"),
			Attributes: reading.CookieAttributes(words), Source: words,
		}
		named := slices.ContainsFunc(s.all("server"), func(o statement) bool { return o.wordAfter("cookie") != "" })
		if !named && !slices.Contains(l.words, "dynamic") {
			r.problem(model.Problem{
				Pos: l.pos, Effect: model.Inert,
				Text:    "no server of this backend has a cookie value, so that no client is pinned",
				Instead: "server NAME ADDRESS … cookie NAME",
			})
			pool.Sticky = nil
		}
	}
	if l, ok := s.last("stick"); ok && pool.Sticky == nil {
		pool.Sticky = &model.Sticky{Pos: l.pos, Source: l.words}
	}
}

// readKeepalive reads whether connections to servers are kept open.
func (r *reader) readKeepalive(s section, pool *model.Pool) {
	pool.Keepalive = &model.Keepalive{Pos: s.pos, Implicit: true}
	for _, never := range closeOptions {
		if l, ok := s.option(never); ok {
			pool.Keepalive = &model.Keepalive{Pos: l.pos, Disabled: true}
			return
		}
	}
}
