package haproxy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// finishRoute completes a route with the settings of its backend.
func (r *reader) finishRoute(hr pendingRoute) error {
	route := hr.route
	i, ok := r.backends[hr.backend]
	if !ok {
		r.problem(model.Problem{
			Pos: route.PoolPos, Effect: model.Rejected,
			Text:    fmt.Sprintf("backend %s is not defined%s", cmp.Or(hr.backend, `""`), r.suggestBackend(hr.backend)),
			Instead: fmt.Sprintf("backend %s with its servers, or the name of an existing backend", cmp.Or(hr.backend, "NAME")),
		})
		return nil
	}
	s := r.sections[i]
	if mode, ok := s.last("mode"); !ok || mode.word(1) != "http" {
		r.problem(model.Problem{
			Pos: route.PoolPos, Effect: model.Rejected,
			Text:    fmt.Sprintf("the frontend is in mode http, but backend %s in mode tcp, which is the default", hr.backend),
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
	r.forwardedFor(s, &route)
	refuses := slices.ContainsFunc(route.Rules, model.Rule.MayRefuse)
	route.MayRefuse = len(route.Limits)+len(route.Access) > 0 || refuses || route.Auth != nil
	if route.Pool == "" && route.StaticResponse == nil && route.Redirect == nil {
		return nil
	}
	r.cfg.Routes = append(r.cfg.Routes, route)
	return nil
}

// suggestBackend returns a suggestion for a misspelled backend.
func (r *reader) suggestBackend(name string) string {
	return reading.DidYouMean(name, slices.Sorted(maps.Keys(r.backends)))
}

// forwardedFor reads option forwardfor, which applies unless a rule sets the header.
func (r *reader) forwardedFor(s section, route *model.Route) {
	l, ok := s.option("forwardfor")
	isSet := slices.ContainsFunc(route.SetHeaders, func(h model.Header) bool { return h.Name == "X-Forwarded-For" })
	if !ok || route.Pool == "" || isSet {
		return
	}
	route.SetHeaders = append(route.SetHeaders, model.Header{
		Pos: l.pos, Name: "X-Forwarded-For", Value: readTemplate("%[src]"), Append: true,
	})
}

func (r *reader) retry(s section, route *model.Route) {
	retry := &model.Retry{
		Pos: route.PoolPos, Implicit: true, Failures: failures([]string{"conn-failure"}), Attempts: 4,
		Backoff: model.FixedBackoff, Delay: time.Second, Next: model.NextSame, Methods: model.NoMethods,
	}
	if l, ok := s.last("retries"); ok {
		if n, err := strconv.Atoi(l.word(1)); err == nil {
			retry.Pos, retry.Implicit, retry.Attempts = l.pos, false, n+1
		}
	}
	if l, ok := s.last("retry-on"); ok {
		retry.Pos, retry.Implicit, retry.Failures, retry.Methods = l.pos, false, failures(l.wordsFrom(1)), model.AllMethods
		if slices.ContainsFunc(s.all("http-request"), func(l statement) bool { return l.word(1) == "disable-l7-retry" }) {
			retry.Methods = model.GetMethods
		}
	}
	balance, _ := s.last("balance")
	if l, ok := s.option("redispatch"); ok && len(s.all("server")) > 1 {
		if !isHashAlgorithm(balance.word(1)) { // a hash picks the same server until checks find it down
			retry.Next = model.NextOtherOnLast
		}
		if retry.Implicit {
			retry.Pos, retry.Implicit = l.pos, false
		}
	}
	route.Retry = retry
}

// causes are the values of retry-on other than statuses (docs.haproxy.org/2.6/configuration.html#4.2-retry-on).
var causes = map[string]model.Cause{
	"conn-failure": model.CauseConnect, "empty-response": model.CauseClosed, "junk-response": model.CauseMalformed,
	"response-timeout": model.CauseTimeout, "0rtt-rejected": model.CauseEarlyData,
}

// failures converts values of retry-on.
func failures(words []string) model.Failures {
	f := model.Failures{Source: strings.Join(words, ", ")}
	for _, word := range words {
		code, err := strconv.Atoi(word)
		cause, known := causes[word]
		switch {
		case word == "all-retryable-errors":
			f.Causes = append(f.Causes, slices.Sorted(maps.Values(causes))...)
			f.Statuses = append(f.Statuses, model.Status(500), model.StatusRange{From: 502, To: 504})
		case known:
			f.Causes = append(f.Causes, cause)
		case err == nil:
			f.Statuses = append(f.Statuses, model.Status(code))
		default:
			f.Causes = append(f.Causes, model.CauseOther)
		}
	}
	return f
}

// isHashAlgorithm reports whether a balance algorithm hashes a part of the request.
func isHashAlgorithm(algorithm string) bool {
	for _, name := range []string{"source", "uri", "url_param", "hdr(", "rdp-cookie", "hash"} {
		if strings.HasPrefix(algorithm, name) {
			return true
		}
	}
	return false
}

func (r *reader) serverTimeouts(s section, route *model.Route) {
	for _, t := range []struct{ word, what, then string }{
		{"connect", model.ConnectTimeout, "503 after the last retry"},
		{"server", model.ReadTimeout, "504"},
		{"queue", model.QueueTimeout, "503"},
		{"tunnel", model.TunnelTimeout, "the tunnel is closed"},
	} {
		l, ok := s.last("timeout", t.word)
		if !ok {
			continue
		}
		if after, err := parseTime(l.word(2)); err == nil {
			limit := model.Timeout{Pos: l.pos, Kind: t.what, Duration: after, Result: t.then}
			if t.what == model.ConnectTimeout {
				limit.Statuses = []int{503, 504}
			}
			route.Timeouts = append(route.Timeouts, limit)
		}
	}
	if _, ok := s.last("timeout", "tunnel"); ok {
		return
	}
	for _, t := range route.Timeouts {
		if t.Kind == model.ReadTimeout { // it ends idle WebSockets if there is no timeout tunnel
			route.Timeouts = append(route.Timeouts, model.Timeout{
				Pos: t.Pos, Implicit: true, Kind: model.TunnelTimeout, Duration: t.Duration, Result: "the tunnel is closed",
			})
		}
	}
}
