package requests

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// The balancer's own 504 is probed wherever it generates one, and carries the header fields of such responses.
func TestResponsesOfTheBalancer(t *testing.T) {
	at := model.Pos{File: "x", Line: 1}
	f := func(probed bool, values []string, edit func(*model.Route)) {
		t.Helper()
		r := model.Route{
			Path: "/", Port: 80, Pool: "p", DefaultHost: true,
			AddHeaders: []model.Header{{Pos: at, Name: "X-A", Value: model.Literal("1")}},
			Timeouts:   []model.Timeout{{Kind: model.ReadTimeout, Duration: 5 * time.Second}},
		}
		edit(&r)
		cfg := model.Config{
			Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{r},
			Pools: []model.Pool{{Name: "p", Servers: []model.Server{{Host: "b", Port: 80}}}},
		}
		claim := plan.Claim{ID: "response/:80/#X-A", Subject: r.Key(), Detail: "X-A", Pos: at}
		probes, untestable := responseProbes(cfg, claim)
		assert.Empty(t, untestable)
		i := slices.IndexFunc(probes, func(q check.Probe) bool { return slices.Equal(q.Want.OnlyIfCodes, []int{504}) })
		if assert.Equal(t, probed, i >= 0) && probed {
			assert.Equal(t, plan.KindTimeouts, probes[i].Kind)
			assert.Contains(t, probes[i].Want.Headers, "X-A")
			assert.Equal(t, values, probes[i].Want.Headers["X-A"])
			waits, _ := timeoutProbes(cfg, plan.Claim{ID: "timeouts/:80/#receive-a-response", Subject: r.Key(), Detail: "receive-a-response", Params: plan.Params{plan.ParamTimeout: 5}})
			assert.Equal(t, waits[0].Request, probes[i].Request, "one probe serves both claims")
		}
	}
	f(true, []string{"1"}, func(*model.Route) {})
	f(true, nil, func(r *model.Route) { r.AddHeaders[0].Statuses = []int{200} })
	f(true, nil, func(r *model.Route) { r.AddHeaders[0].ProxiedOnly = true })
	f(false, nil, func(r *model.Route) { r.Timeouts = nil })
	f(true, []string{"1"}, func(r *model.Route) { r.Timeouts[0].Implicit = true })
	f(false, nil, func(r *model.Route) { r.Timeouts[0].Duration = 2 * check.MaxWait })
	f(false, nil, func(r *model.Route) { r.ErrorPages = []model.ErrorPage{{Codes: []int{504}, Target: "other"}} })
}
