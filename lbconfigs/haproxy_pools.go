package lbconfigs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
)

// Defaults of HAProxy's health checks (configuration manual, section 5.2).
const (
	haInter      = 2 * time.Second
	haFall       = 3
	haRise       = 2
	haErrorLimit = 10
)

// pool reads the servers of a section and how they are chosen.
func (r *haReader) pool(s haSection) error {
	pool := model.Pool{Pos: s.pos, Name: s.name, Method: "roundrobin", SharedState: true, Resolve: &model.Resolve{Pos: s.pos, Implicit: true}}
	if l, ok := s.last("balance"); ok {
		pool.Method, pool.MethodPos = strings.Join(l.from(1), " "), l.pos
		switch l.word(1) {
		case "source":
			pool.Key = "the client's address"
		case "uri", "url_param", "hdr", "hash", "rdp-cookie":
			pool.Key = strings.Join(l.from(1), " ")
		}
		if hash, ok := s.last("hash-type"); ok {
			pool.Consistent, pool.Hash = hash.word(1) == "consistent", strings.Join(hash.from(2), " ")
		}
	}
	defaults := settings{}
	for _, l := range s.defaults {
		if l.word(0) == "default-server" {
			defaults.read(l.from(1))
		}
	}
	for _, l := range s.own {
		switch l.word(0) {
		case "default-server":
			defaults.read(l.from(1))
			r.lateDefault(s, l)
		case "server":
			server, err := r.server(s, l, defaults)
			if err != nil {
				return err
			}
			pool.Servers = append(pool.Servers, server)
		}
	}
	r.idleCheck(s, pool)
	r.sticky(s, &pool)
	r.reuse(s, &pool)
	if l, ok := s.last("timeout", "queue"); ok {
		if after, err := haproxyTime(l.word(2)); err == nil {
			pool.Queue = &model.TimeLimit{Pos: l.pos, For: model.QueueTimeout, After: after, Then: "503"}
		}
	}
	if len(pool.Servers) > 0 {
		r.cfg.Pools = append(r.cfg.Pools, pool)
	}
	return nil
}

// idleCheck: option httpchk says how to check, and only check on a server does it.
func (r *haReader) idleCheck(s haSection, pool model.Pool) {
	l, ok := s.option("httpchk")
	if !ok || len(pool.Servers) == 0 || slices.ContainsFunc(pool.Servers, func(one model.Server) bool { return one.Active != nil }) {
		return
	}
	r.problem(model.Problem{
		Pos: l.pos, Effect: model.Inert,
		Text:    fmt.Sprintf("no server of %s is checked: option httpchk only says how", s.name),
		Instead: "server NAME ADDRESS check",
	})
}

// lateDefault: default-server applies to the servers after it only.
func (r *haReader) lateDefault(s haSection, l haLine) {
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
			Text:    fmt.Sprintf("default-server applies to servers in later lines, and all %d stand before it", before),
			Instead: "the same line before the first server",
		})
	}
}

// settings are a server's options by name; flags have an empty value.
type settings map[string]string

// read adds the options of a line, which overrule earlier ones.
func (o settings) read(words []string) {
	for i := 0; i < len(words); i++ {
		name, _, _ := strings.Cut(words[i], "(") // set-proxy-v2-tlv-fmt(ID) VALUE
		switch {
		case !slices.Contains(haServerValues, name):
			o[words[i]] = ""
		case i+1 < len(words):
			o[words[i]] = words[i+1]
			i++
		}
	}
}

func (o settings) has(name string) bool { _, ok := o[name]; return ok }

// number is an option's value, or otherwise where it is not given.
func (o settings) number(name string, otherwise int) (int, error) {
	text, ok := o[name]
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s %s is no number", name, text)
	}
	return n, nil
}

func (o settings) time(name string, otherwise time.Duration) (time.Duration, error) {
	text, ok := o[name]
	if !ok {
		return otherwise, nil
	}
	d, err := haproxyTime(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

func (r *haReader) server(s haSection, l haLine, defaults settings) (model.Server, error) {
	if len(l.words) < 3 {
		return model.Server{}, fmt.Errorf("%s: a server needs a name and an address, as server web1 10.0.0.1:80", l.pos)
	}
	host, port, err := hostPort(strings.TrimPrefix(l.word(2), "ipv4@"), 0)
	if err != nil {
		return model.Server{}, fmt.Errorf("%s: server %s: %w", l.pos, l.word(1), err)
	}
	if port == 0 && !strings.HasPrefix(host, "/") {
		port = 80
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Differs,
			Text:    fmt.Sprintf("the server %s has no port: it is asked on the port that the client asked", l.word(1)),
			Instead: l.word(2) + ":80",
		})
	}
	o := maps.Clone(defaults)
	o.read(l.from(3))
	server := model.Server{
		Pos: l.pos, Name: l.word(1), Host: host, Port: port, Backup: o.has("backup"), Down: o.has("disabled"), TLS: o.has("ssl"),
	}
	if ca := o["ca-file"]; strings.HasPrefix(ca, "/") {
		r.cfg.Needs = append(r.cfg.Needs, model.Need{Pos: l.pos, Kind: model.NeedAuthority, Path: ca})
	}
	if server.Weight, err = o.number("weight", 1); err != nil {
		return server, fmt.Errorf("%s: server %s: %w", l.pos, server.Name, err)
	}
	if server.Weight > 256 {
		return server, fmt.Errorf("%s: server %s: weight %d is above 256", l.pos, server.Name, server.Weight)
	}
	server.Drain = server.Weight == 0
	if n, err := o.number("maxconn", 0); err == nil && n > 0 {
		server.Conns = &model.Number{Pos: l.pos, Value: int64(n)}
	}
	if err := r.checks(s, l, o, &server); err != nil {
		return server, fmt.Errorf("%s: server %s: %w", l.pos, server.Name, err)
	}
	return server, nil
}

// checks reads a server's health checks and what its own traffic does to it.
func (r *haReader) checks(s haSection, l haLine, o settings, server *model.Server) (err error) {
	if o.has("check") {
		a := &model.Active{Pos: l.pos, Request: "a connection"}
		r.request(s, a)
		for _, d := range []struct {
			to        *time.Duration
			name      string
			otherwise *time.Duration
		}{{&a.Interval, "inter", new(haInter)}, {&a.Fast, "fastinter", &a.Interval}, {&a.Slow, "downinter", &a.Interval}} {
			if *d.to, err = o.time(d.name, *d.otherwise); err != nil {
				return err
			}
		}
		if a.Fall, err = o.number("fall", haFall); err != nil {
			return err
		}
		if a.Rise, err = o.number("rise", haRise); err != nil {
			return err
		}
		for _, name := range []string{"inter", "fall", "rise"} {
			if !o.has(name) {
				a.Implicit = append(a.Implicit, name)
			}
		}
		a.Timeout = a.Interval
		if t, ok := s.last("timeout", "check"); ok {
			if d, err := haproxyTime(t.word(2)); err == nil {
				a.Timeout = d
			}
		} else {
			a.Implicit = append(a.Implicit, "timeout")
		}
		server.Active = a
	}
	if o.has("observe") {
		n, err := o.number("error-limit", haErrorLimit)
		if err != nil {
			return err
		}
		then := o["on-error"]
		if then == "" {
			then = "fail-check"
		}
		server.Passive = &model.Passive{Pos: l.pos, Fails: n, On: fmt.Sprintf("observe %s, then %s", o["observe"], then), Law: "haproxy"}
	}
	return nil
}

// request is what health checks ask and expect.
func (r *haReader) request(s haSection, a *model.Active) {
	l, ok := s.option("httpchk")
	if !ok {
		return
	}
	a.Request, a.Expect = "OPTIONS /", "a status from 200 to 399"
	switch {
	case len(l.words) == 3:
		a.Request = "OPTIONS " + l.word(2)
	case len(l.words) > 3:
		a.Request = l.word(2) + " " + l.word(3)
	}
	if expect, ok := s.last("http-check", "expect"); ok {
		a.Expect = strings.Join(expect.from(2), " ")
	}
	if send, ok := s.last("http-check", "send"); ok && send.after("uri") != "" {
		method := send.after("meth")
		if method == "" {
			method = "GET"
		}
		a.Request = method + " " + send.after("uri")
	}
}

func (r *haReader) sticky(s haSection, pool *model.Pool) {
	if l, ok := s.last("cookie"); ok {
		pool.Sticky = &model.Sticky{Pos: l.pos, Cookie: l.word(1), With: l.from(2)}
		named := slices.ContainsFunc(s.own, func(o haLine) bool { return o.word(0) == "server" && o.after("cookie") != "" })
		if !named && !slices.Contains(l.words, "dynamic") {
			r.problem(model.Problem{
				Pos: l.pos, Effect: model.Inert,
				Text:    "no server of this backend has a cookie value, so no client is pinned",
				Instead: "server NAME ADDRESS … cookie NAME",
			})
			pool.Sticky = nil
		}
	}
	if l, ok := s.last("stick"); ok && pool.Sticky == nil {
		pool.Sticky = &model.Sticky{Pos: l.pos, With: l.words}
	}
}

// neverKept are options after which connections to servers end with their request.
var neverKept = []string{"httpclose", "http-server-close"}

// reuse is how connections to servers are kept.
func (r *haReader) reuse(s haSection, pool *model.Pool) {
	pool.Keepalive = &model.Keepalive{Pos: s.pos, Implicit: true}
	for _, never := range neverKept {
		if l, ok := s.option(never); ok {
			pool.Keepalive = &model.Keepalive{Pos: l.pos, Never: true}
			return
		}
	}
}
