package requests

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
)

// Admin pages come from the balancer itself, for clients with access.
func TestAdminPages(t *testing.T) {
	page := model.Route{
		Path: "/metrics", Port: 8405, Exact: true, DefaultHost: true,
		LocalContent: &model.LocalContent{Pos: testPos, Description: "counters"},
	}
	f := func(page model.Route, request string) checkReply {
		t.Helper()
		return probesFor(t, AdminPages, configOf(page), "admin/:8405 = /metrics", 1).find(t, "an ordinary request", request)
	}
	open := f(page, "GET http://any:8405/metrics")
	open(history.Hit{Code: 200}, "")
	open(history.Hit{Code: 404}, "status 404 from the balancer instead of 200")
	open(history.Hit{Code: 200, Server: "a"}, "status 200 from a; the balancer must answer itself", "a")
	open(history.Hit{Code: 200}, "forwarded to a", "a")

	limited := page
	limited.Access = []model.Access{{Pos: testPos, Clients: "127.0.0.1", Allow: true}, {Pos: testPos, Clients: "all"}}
	inside := f(limited, "GET http://any:8405/metrics, from 127.0.0.1")
	inside(history.Hit{Code: 200}, "")
	inside(history.Hit{Code: 403}, "status 403 from the balancer instead of 200")

	locked := page
	locked.Auth = &model.Auth{Pos: testPos, Target: "a password"}
	denied := f(locked, "GET http://any:8405/metrics")
	denied(history.Hit{Code: 401}, "")
	denied(history.Hit{Code: 200}, "status 200 from the balancer instead of 401")

	internal := page
	internal.Internal = true
	assert.Empty(t, AdminPages.Claims(configOf(internal)))
}

// The claim states who can change the balancer's state on the page.
func TestAdminPageControl(t *testing.T) {
	f := func(want string, page model.LocalContent) {
		t.Helper()
		page.Description = "statistics"
		claims := AdminPages.Claims(configOf(model.Route{Path: "/stats", Port: 8404, DefaultHost: true, LocalContent: &page}))
		assert.Len(t, claims, 1)
		assert.Equal(t, ":8404/stats serves statistics to any client"+want+"; no backend sees the request.", claims[0].Text)
	}
	f("", model.LocalContent{})
	f(" and lets them disable servers", model.LocalContent{Control: true})
	local := []model.Condition{{Source: "LOCALHOST"}}
	f(" and lets them disable servers if LOCALHOST holds", model.LocalContent{Control: true, ControlConditions: local})
}
