package check

import (
	"maps"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// example is a path that takes a route; empty where lbproof finds none.
func example(r model.Route) string {
	if !r.Regex {
		return r.Path
	}
	path, _ := Sample(r.Path)
	return path
}

// Probe is a request that takes a route and tries to pass for another client's: forged headers must not get through
// where the configuration sets them, and do no harm elsewhere.
func Probe(cfg model.Config, claim plan.Claim) []plan.Request {
	r, ok := RouteOf(cfg, claim)
	if !ok {
		return nil
	}
	return []plan.Request{RequestTo(r, ForgedHeaders)}
}

// RequestTo is a request that takes a route.
func RequestTo(r model.Route, header map[string]string) plan.Request {
	if host, _ := r.Askable(); host != "" {
		header = maps.Clone(header)
		if header == nil {
			header = map[string]string{}
		}
		header["Host"] = host
	}
	request := plan.Request{Method: "GET", Port: r.Port, TLS: r.TLS, Path: example(r), Header: maps.Clone(header)}
	if request.Header == nil {
		request.Header = map[string]string{}
	}
	if r.AsksBackend() {
		maps.Copy(request.Header, Wish("status=200&at="+r.Seen(request.Path)))
	}
	for _, rule := range r.Rules {
		if rule.Code != 0 {
			Miss(rule.When, &request)
		}
	}
	if len(request.Header) == 0 {
		request.Header = nil
	}
	return request
}

// ForgedHeaders are headers that a client may send to pass for another.
var ForgedHeaders = map[string]string{
	"Host": "forged.example", "X-Real-Ip": "192.0.2.1", "X-Forwarded-For": "192.0.2.2", "X-Forwarded-Proto": "gopher",
}

// Wish asks the backend for an answer, see backends.Wish; empty is 200 whatever is asked.
func Wish(text string) map[string]string {
	if text == "" {
		text = "status=200"
	}
	return map[string]string{history.WishHeader: text}
}

// Carrying is a request that carries a header, where it has no such field of its own.
func Carrying(r plan.Request, header map[string]string) plan.Request {
	if len(header) == 0 {
		return r
	}
	all := maps.Clone(header)
	maps.Copy(all, r.Header)
	r.Header = all
	return r
}

// WishingRequest is a request that takes a route and that a backend answers as it is asked to. ok is false where
// lbproof knows none.
func WishingRequest(cfg model.Config, r model.Route, text string) (request plan.Request, ok bool) {
	if r.Internal || r.Redirect != nil || IsProgrammed(r) {
		return request, false
	}
	path := r.Path
	if r.Regex {
		if path, ok = Sample(r.Path); !ok {
			return request, false
		}
	}
	host, _ := r.Askable()
	if len(r.Hosts) > 0 && host == "" {
		return request, false
	}
	request = plan.Request{Method: "GET", Port: r.Port, TLS: r.TLS, Path: path, Header: Wish(text)}
	if r.AsksBackend() && !strings.Contains(text, "at=") {
		request.Header[history.WishHeader] += "&at=" + r.Seen(path)
	}
	if host != "" {
		request.Header["Host"] = host
	}
	if len(r.Access) > 0 {
		if request.From, ok = welcome(r.Access); !ok {
			return request, false
		}
	}
	if !Meet(r.When, &request) {
		return request, false
	}
	for _, rule := range r.Rules {
		if rule.Code != 0 && !Miss(rule.When, &request) {
			return request, false
		}
	}
	if strings.EqualFold(request.Header["Upgrade"], "websocket") {
		return Upgrade(request), true
	}
	if len(r.When) > 0 {
		return request, true
	}
	got, found := cfg.Route(r.Port, host, path)
	return request, found && got.Key() == r.Key()
}

// Plain is a request that a backend answers.
func Plain(cfg model.Config) (plan.Request, bool) {
	for _, r := range ProxiedRoutes(cfg) {
		if len(r.Access) == 0 {
			return RequestTo(r, nil), true
		}
	}
	return plan.Request{}, false
}

// Aside is a request that the balancer answers by itself, and as often as one likes.
func Aside(cfg model.Config) (plan.Request, bool) {
	for _, r := range cfg.Routes {
		bySelf := r.Answer != nil || r.Redirect != nil
		bounded := len(r.Access)+len(r.Limits)+len(r.When)+len(r.Rules) > 0 || r.Auth != nil
		if !bySelf || bounded || r.Internal || r.Regex {
			continue
		}
		request := RequestTo(r, nil)
		if first, ok := cfg.Route(request.Port, request.Header["Host"], request.Path); ok && first.Key() == r.Key() {
			return request, true
		}
	}
	return plan.Request{}, false
}

// RequestToPool is a request that some route takes to a pool, or to a split.
func RequestToPool(cfg model.Config, pool string) (plan.Request, bool) {
	for _, r := range ProxiedRoutes(cfg) {
		if r.Pool == pool && len(r.Access) == 0 {
			return RequestTo(r, nil), true
		}
	}
	return plan.Request{}, false
}

// Upgrade makes a request a WebSocket handshake (RFC 6455, section 4.1).
func Upgrade(r plan.Request) plan.Request {
	r.Method, r.Header = "GET", maps.Clone(r.Header)
	maps.Copy(r.Header, map[string]string{
		"Connection":            "Upgrade",
		"Upgrade":               "websocket",
		"Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key":     "bGJwcm9vZiBsYnByb29mIQ==",
	})
	return r
}
