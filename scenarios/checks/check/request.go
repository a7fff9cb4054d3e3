package check

import (
	"maps"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// examplePath returns a path that selects a route, or "" if lbproof finds none.
func examplePath(r model.Route) string {
	if !r.Regex {
		return r.Path
	}
	path, _ := Sample(r.Path)
	return path
}

// ForgedRequests requests the claim's route with forged client headers: they must not get through if the configuration
// sets them, and are harmless otherwise.
func ForgedRequests(cfg model.Config, claim plan.Claim) []plan.Request {
	r, ok := RouteOf(cfg, claim)
	if !ok {
		return nil
	}
	return []plan.Request{RequestTo(r, ForgedHeaders)}
}

// RequestTo returns a request that selects a route.
func RequestTo(r model.Route, header map[string]string) plan.Request {
	if host, _ := r.ProbeHost(); host != "" {
		header = maps.Clone(header)
		if header == nil {
			header = map[string]string{}
		}
		header["Host"] = host
	}
	request := plan.Request{Method: "GET", Port: r.Port, TLS: r.TLS, Path: examplePath(r), Header: maps.Clone(header)}
	if request.Header == nil {
		request.Header = map[string]string{}
	}
	if r.HasBackendAuth() {
		maps.Copy(request.Header, RespondWith("status=200&at="+r.BackendPath(request.Path)))
	}
	for _, rule := range r.Rules {
		if rule.Code != 0 {
			Violate(rule.Conditions, &request)
		}
	}
	if len(request.Header) == 0 {
		request.Header = nil
	}
	return request
}

// ForgedHeaders are headers with which a client may pose as another.
var ForgedHeaders = map[string]string{
	"Host": "forged.example", "X-Real-Ip": "192.0.2.1", "X-Forwarded-For": "192.0.2.2", "X-Forwarded-Proto": "gopher",
}

// RespondWith returns the header that tells a backend how to respond (see backends.ResponseSpec); empty: 200.
func RespondWith(text string) map[string]string {
	if text == "" {
		text = "status=200"
	}
	return map[string]string{history.ResponseSpecHeader: text}
}

// WithHeader adds header fields that the request does not have yet.
func WithHeader(r plan.Request, header map[string]string) plan.Request {
	if len(header) == 0 {
		return r
	}
	all := maps.Clone(header)
	maps.Copy(all, r.Header)
	r.Header = all
	return r
}

// RequestWithSpec returns a request that selects a route and that a backend answers by a response spec. ok is false if
// lbproof knows none.
func RequestWithSpec(cfg model.Config, r model.Route, text string) (request plan.Request, ok bool) {
	if r.Internal || r.Redirect != nil || IsOpaque(r) {
		return request, false
	}
	path := r.Path
	if r.Regex {
		if path, ok = Sample(r.Path); !ok {
			return request, false
		}
	}
	host, _ := r.ProbeHost()
	if len(r.Hosts) > 0 && host == "" {
		return request, false
	}
	request = plan.Request{Method: "GET", Port: r.Port, TLS: r.TLS, Path: path, Header: RespondWith(text)}
	if r.HasBackendAuth() && !strings.Contains(text, "at=") {
		request.Header[history.ResponseSpecHeader] += "&at=" + r.BackendPath(path)
	}
	if host != "" {
		request.Header["Host"] = host
	}
	if !passGuards(r, &request) {
		return request, false
	}
	if strings.EqualFold(request.Header["Upgrade"], "websocket") {
		return WebSocketHandshake(request), true
	}
	if len(r.Conditions) > 0 {
		return request, true
	}
	got, found := cfg.Route(r.Port, host, path)
	return request, found && got.Key() == r.Key()
}

// passGuards changes a request so that it passes the access rules, conditions and refusing rules of a route; ok is
// false if lbproof does not know how.
func passGuards(r model.Route, request *plan.Request) (ok bool) {
	if len(r.Access) > 0 {
		if request.LocalEndpoint, ok = allowedAddress(r.Access); !ok {
			return false
		}
	}
	if !Satisfy(r.Conditions, request) {
		return false
	}
	for _, rule := range r.Rules {
		if rule.Code != 0 && !Violate(rule.Conditions, request) {
			return false
		}
	}
	return true
}

// BackendRequest returns a request that a backend answers.
func BackendRequest(cfg model.Config) (plan.Request, bool) {
	for _, r := range ProxiedRoutes(cfg) {
		if len(r.Access) == 0 {
			return RequestTo(r, nil), true
		}
	}
	return plan.Request{}, false
}

// LocalRequest returns a request that the balancer answers itself, without any limit.
func LocalRequest(cfg model.Config) (plan.Request, bool) {
	for _, r := range cfg.Routes {
		bySelf := r.StaticResponse != nil || r.Redirect != nil
		bounded := len(r.Access)+len(r.Limits)+len(r.Conditions)+len(r.Rules) > 0 || r.Auth != nil
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

// RequestToPool returns a request that some route forwards to a pool or a split.
func RequestToPool(cfg model.Config, pool string) (plan.Request, bool) {
	for _, r := range ProxiedRoutes(cfg) {
		if r.Pool == pool && len(r.Access) == 0 {
			return RequestTo(r, nil), true
		}
	}
	return plan.Request{}, false
}

// WebSocketHandshake turns a request into a WebSocket handshake (RFC 6455, section 4.1).
func WebSocketHandshake(r plan.Request) plan.Request {
	r.Method, r.Header = "GET", maps.Clone(r.Header)
	maps.Copy(r.Header, map[string]string{
		"Connection":            "Upgrade",
		"Upgrade":               "websocket",
		"Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key":     "bGJwcm9vZiBsYnByb29mIQ==",
	})
	return r
}
