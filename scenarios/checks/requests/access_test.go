package requests

import (
	"testing"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
)

// Requests come from both sides of each rule, and forged headers change nothing.
func TestAccess(t *testing.T) {
	a := probesFor(t, Access, configOf(model.Route{
		Path: "/in", Pool: "p", DefaultHost: true,
		Access: []model.Access{{Pos: testPos, Clients: "10.0.0.0/24", Allow: true}, {Pos: testPos, Clients: "all"}},
	}), "access/in", 4)
	outside := a.find(t, "from the worker's address", "GET http://any:80/in")
	outside(history.Hit{Code: 403}, "")
	outside(history.Hit{Code: 200, Server: "a"}, "status 200 from a instead of 403", "a")
	forged := a.find(t, "with forged addresses in its headers", "GET http://any:80/in")
	forged(history.Hit{Code: 403}, "")
	forged(history.Hit{Code: 200, Server: "a"}, "status 200 from a instead of 403", "a")
	own := a.find(t, "from the balancer's own host", "GET http://any:80/in, from 127.0.0.1")
	own(history.Hit{Code: 403}, "")
	own(history.Hit{Code: 404}, "status 404 from the balancer instead of 403")
	inside := a.find(t, "from 10.0.0.254", "GET http://any:80/in, from 10.0.0.254")
	inside(history.Hit{Code: 200, Server: "a"}, "", "a")
	inside(history.Hit{Code: 403}, "unexpected status 403 from the balancer")
}

// The first matching rule wins, whatever follows.
func TestAccessFirstRuleWins(t *testing.T) {
	a := probesFor(t, Access, configOf(model.Route{
		Path: "/", Pool: "p", DefaultHost: true,
		Access: []model.Access{
			{Pos: testPos, Clients: "127.0.0.1"},
			{Pos: testPos, Clients: "127.0.0.0/8", Allow: true},
			{Pos: testPos, Clients: "all"},
		},
	}), "access/", 3)
	own := a.find(t, "from the balancer's own host", "GET http://any:80/, from 127.0.0.1")
	own(history.Hit{Code: 403}, "")
	own(history.Hit{Code: 200, Server: "a"}, "status 200 from a instead of 403", "a")
}

// Internal routes do not exist for clients.
func TestAccessToInternalRoutes(t *testing.T) {
	cfg := configOf(model.Route{Pos: testPos, Path: "/copy", Exact: true, Internal: true, Pool: "p"})
	a := probesFor(t, Access, cfg, "access/= /copy#internal", 1)
	outside := a.find(t, "from outside", "GET http://any:80/copy")
	outside(history.Hit{Code: 404}, "")
	outside(history.Hit{Code: 404}, "forwarded to a", "a")
	outside(history.Hit{Code: 200, Server: "a"}, "status 200 from a instead of 404", "a")
	outside(history.Hit{Err: history.Closed}, "no response (connection closed)")
}
