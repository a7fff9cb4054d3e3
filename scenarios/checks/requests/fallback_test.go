package requests

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// The balancer's own 502 triggers the fallback; the same status from a backend is passed through.
func TestFallback(t *testing.T) {
	a := probesFor(t, Fallback, configOf(
		model.Route{
			Path: "/api/", Pool: "p", DefaultHost: true,
			ErrorPages: []model.ErrorPage{{Pos: testPos, Codes: []int{502, 503, 504}, Target: "@spare"}},
		},
		model.Route{Path: "@spare", Pool: "q", Internal: true},
	), "fallback/api/#@spare", 2)
	assert.Equal(t, "cut&by=a", a.probes[0].Request.Header[history.ResponseSpecHeader], "not on the fallback's server")
	assert.Equal(t, []plan.PhaseKind{plan.KindNoResponse, plan.KindFailures}, []plan.PhaseKind{a.probes[0].Kind, a.probes[1].Kind})

	cut := a.find(t, "a backend closes the connection", "POST http://any:80/api/")
	cut(history.Hit{Code: 200, Server: "b"}, "", "a", "b")
	cut(history.Hit{Code: 502}, "status 502 from the balancer, which is not a server of q", "a")
	answered := a.find(t, "a backend answers 503", "POST http://any:80/api/")
	answered(history.Hit{Code: 503, Server: "a"}, "", "a")
	answered(history.Hit{Code: 200, Server: "b"}, "status 200 from b instead of 503", "a", "b")
}

// If backend statuses count too, each of them triggers the page, with the configured status.
func TestFallbackToAPage(t *testing.T) {
	a := probesFor(t, Fallback, configOf(
		model.Route{
			Path: "/", Pool: "p", DefaultHost: true,
			ErrorPages: []model.ErrorPage{{Pos: testPos, Codes: []int{404, 500}, InterceptsBackend: true, Code: 200, Target: "/sorry"}},
		},
		model.Route{Path: "/sorry", Exact: true, StaticResponse: &model.StaticResponse{Pos: testPos, Code: 203}, DefaultHost: true},
	), "fallback/#/sorry", 2)
	for _, label := range []string{"a backend answers 404", "a backend answers 500"} {
		page := a.find(t, label, "POST http://any:80/")
		page(history.Hit{Code: 200}, "", "a")
		page(history.Hit{Code: 404, Server: "a"}, "status 404 from a instead of 200", "a")
	}
}
