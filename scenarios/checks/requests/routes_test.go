package requests

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
)

// Requests on both sides of a route's path and host are routed as configured.
func TestRoutes(t *testing.T) {
	cfg := configOf(
		model.Route{Path: "/", Pool: "p", PoolPos: testPos, DefaultHost: true},
		model.Route{Path: "/api/", Pool: "q", PoolPos: testPos, DefaultHost: true},
	)
	a := probesFor(t, Routes, cfg, "routes/api/", 5)
	f := func(label, request, server, other string) {
		t.Helper()
		reply, pool := a.find(t, label, request), map[string]string{"a": "p", "b": "q"}[server]
		reply(history.Hit{Code: 200, Server: server}, "", server)
		reply(history.Hit{Code: 200, Server: other}, "status 200 from "+other+", which is not a server of "+pool, other)
		reply(history.Hit{Err: history.Refused}, "no response (connection refused)")
	}
	f("within the route", "GET http://any:80/api/", "b", "a")
	f("below the path", "GET http://any:80/api/lbproof", "b", "a")
	f("one letter shorter", "GET http://any:80/ap", "a", "b")
	f("in upper case", "GET http://any:80/API/", "a", "b")
	f("under another path", "GET http://any:80/lbproof/api/", "a", "b")
	inside := a.find(t, "within the route", "GET http://any:80/api/")
	inside(history.Hit{Code: 404}, "status 404 from the balancer instead of 200 or 101")
	inside(history.Hit{Code: 404, Server: "b"}, "status 404 from b instead of 200 or 101", "b")
}

// The balancer refuses what no route takes, and what another route answers itself reaches no backend.
func TestRoutesTakenByOthers(t *testing.T) {
	cfg := configOf(
		model.Route{Path: "/", Hosts: []string{"shop.example"}, Pool: "p", PoolPos: testPos},
		model.Route{Path: "/api", Hosts: []string{"shop.example"}, Pool: "q", PoolPos: testPos},
		model.Route{Path: "/ap", Exact: true, Hosts: []string{"shop.example"}, StaticResponse: &model.StaticResponse{Pos: testPos, Code: 204}},
	)
	a := probesFor(t, Routes, cfg, "routes/http://shop.example/api", 6)
	page := a.find(t, "one letter shorter", "GET http://shop.example:80/ap")
	page(history.Hit{Code: 204}, "")
	page(history.Hit{Code: 200, Server: "a"}, "status 200 from a instead of 204", "a")
	unrouted := a.find(t, "for another host", "GET http://lbproof.invalid:80/api")
	unrouted(history.Hit{Code: 404}, "")
	unrouted(history.Hit{Code: 200, Server: "b"}, "status 200 from b instead of 400 or 404 or 421 or 503", "b")
	unrouted(history.Hit{Code: 404}, "forwarded to b", "b")
}

// A single route has no boundary.
func TestRoutesNeedTwoPools(t *testing.T) {
	assert.Empty(t, Routes.Claims(configOf(model.Route{Path: "/", Pool: "p", PoolPos: testPos, DefaultHost: true})))
}
