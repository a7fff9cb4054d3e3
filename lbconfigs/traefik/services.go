package traefik

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// isASCII reports whether a text contains only ASCII characters.
func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
}

// services reads the pools and their splits.
func (r *reader) services() {
	for _, d := range r.dynamic {
		for _, s := range d.Get("http", "services").Parts() {
			if balancer := s.Get("loadBalancer"); balancer != nil {
				r.pool(s, balancer)
			}
			for _, kind := range []string{"weighted", "highestRandomWeight"} {
				if weighted := s.Get(kind); weighted != nil {
					r.weighted(s, weighted)
				}
			}
		}
	}
}

func (r *reader) weighted(s, weighted *reading.Tree) {
	split := model.Split{Pos: s.Pos, Name: s.Key, Sticky: readSticky(weighted.Get("sticky"))}
	if strings.EqualFold(weighted.Key, "highestRandomWeight") {
		split.Hash = &model.Hash{Key: model.Key{Variable: model.ClientAddress}, Consistent: true}
	}
	total := 0
	for _, one := range weighted.Get("services").Items() {
		total += readNumber(one.Get("weight"), 1)
	}
	for _, one := range weighted.Get("services").Items() {
		name := one.Get("name").Text()
		if r.find("services", name) == nil {
			r.problem(model.Problem{
				Pos: one.Pos, Effect: model.Dropped,
				Text: fmt.Sprintf("service %s is not defined; Traefik ignores every router of this service", name),
			})
		}
		share := model.Share{Pos: one.Pos, Pool: name}
		if total > 0 {
			share.Share = float64(readNumber(one.Get("weight"), 1)) / float64(total)
		}
		split.Shares = append(split.Shares, share)
	}
	r.cfg.Splits = append(r.cfg.Splits, split)
}

func readSticky(t *reading.Tree) *model.Sticky {
	cookie := t.Get("cookie")
	if cookie == nil {
		return nil
	}
	s := &model.Sticky{Pos: cookie.Pos, Cookie: cookie.Get("name").Text(), SetsCookie: true}
	if s.Cookie == "" {
		s.GeneratedName = "named after the service"
	}
	for _, attribute := range []struct{ key, as string }{{"secure", "Secure"}, {"httpOnly", "HttpOnly"}} {
		if cookie.Get(attribute.key).IsTrue() {
			s.Source = append(s.Source, attribute.as)
		}
	}
	for _, attribute := range []struct{ key, as string }{
		{"sameSite", "SameSite"},
		{"maxAge", "Max-Age"},
		{"domain", "Domain"},
		{"path", "Path"},
	} {
		if v := cookie.Get(attribute.key).Text(); v != "" {
			s.Source = append(s.Source, attribute.as+"="+v)
		}
	}
	s.Attributes = reading.CookieAttributes(s.Source)
	return s
}

func (r *reader) pool(s, balancer *reading.Tree) {
	pool := model.Pool{
		Pos: s.Pos, Name: s.Key, SharedState: true,
		Balance:   readBalance(balancer.Get("strategy")),
		Sticky:    readSticky(balancer.Get("sticky")),
		Keepalive: &model.Keepalive{Pos: s.Pos, Implicit: true, MaxIdle: 200},
		Resolve:   &model.Resolve{Pos: s.Pos, Implicit: true, Interval: -1},
	}
	for i, item := range balancer.Get("servers").Items() {
		server, ok := r.server(item)
		if !ok {
			continue
		}
		server.HealthCheck = r.active(balancer.Get("healthCheck"), i)
		if passive := balancer.Get("passiveHealthCheck"); passive != nil {
			window := readDuration(passive.Get("failureWindow"), 10*time.Second)
			server.Ejection = &model.Ejection{
				Pos: passive.Pos, Rule: model.ConsecutiveErrors,
				MaxFails: readNumber(passive.Get("maxFailedAttempts"), 1),
				Window:   window, Duration: window,
				EndedBy: model.EndedByTime, Action: model.ActionEject,
				Failures: model.Failures{
					Causes: []model.Cause{model.CauseConnect, model.CauseClosed}, Statuses: []model.StatusRange{{From: 500, To: 999}},
					Source: "no response, or a status of 500 or more",
				},
			}
		}
		pool.Servers = append(pool.Servers, server)
	}
	if len(pool.Servers) == 0 {
		r.problem(model.Problem{
			Pos: s.Pos, Effect: model.Misleading,
			Text: fmt.Sprintf("service %s has no servers: it responds 503", s.Key),
		})
	}
	r.cfg.Pools = append(r.cfg.Pools, pool)
}

func (r *reader) server(t *reading.Tree) (model.Server, bool) {
	u, err := url.Parse(t.Get("url").Text())
	if err != nil || u.Hostname() == "" {
		r.problem(model.Problem{
			Pos: t.Pos, Effect: model.Dropped,
			Text:    fmt.Sprintf("server %q is not a URL with a host: Traefik ignores the service", t.Get("url").Text()),
			Instead: "url: http://HOST:PORT",
		})
		return model.Server{}, false
	}
	host := u.Hostname()
	if known, err := idna.Lookup.ToASCII(host); err == nil && !isASCII(host) {
		host = known // the name that Traefik resolves
	}
	server := model.Server{
		Pos: t.Pos, Host: host, Port: 80, Weight: readNumber(t.Get("weight"), 1), TLS: u.Scheme == "https",
	}
	if server.TLS {
		server.Port = 443
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		server.Port = int(port)
	}
	server.Drain = server.Weight == 0
	return server, true
}

// active reads Traefik's health check: one failure takes a server out, one success brings it back, and the servers of a
// service are checked one after another.
func (r *reader) active(t *reading.Tree, before int) *model.HealthCheck {
	if t == nil {
		return nil
	}
	a := &model.HealthCheck{
		Pos: t.Pos, Interval: readDuration(t.Get("interval"), 30*time.Second),
		Timeout: readDuration(t.Get("timeout"), 5*time.Second), Fall: 1, Rise: 1,
		TimeoutScope: model.TimeoutOfCheck, Implicit: []string{"fall", "rise"}, CheckedBefore: before,
		Expect: model.HealthExpectation{Statuses: model.StatusRange{From: 200, To: 399}},
	}
	for _, key := range []string{"interval", "timeout"} {
		if t.Get(key) == nil {
			a.Implicit = append(a.Implicit, key)
		}
	}
	a.FastInterval = a.Interval
	a.DownInterval = readDuration(t.Get("unhealthyInterval"), a.Interval)
	method := t.Get("method").Text()
	if method == "" {
		method = "GET"
	}
	a.Request = model.HealthRequest{Method: method, Path: t.Get("path").Text()}
	if status := t.Get("status"); status != nil {
		a.Expect = model.HealthExpectation{Source: "status " + status.Text()}
	}
	return a
}
