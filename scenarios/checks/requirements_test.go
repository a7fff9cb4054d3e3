package checks

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/requests"
)

// A check of response headers never waits for a 504 by itself: it uses the 504 of a timeout test if there is one, and
// otherwise is decided without.
func TestResponsesShareTimeouts(t *testing.T) {
	at := model.Pos{File: "x", Line: 1}
	r := model.Route{
		Path: "/", Port: 80, Pool: "p", DefaultHost: true,
		AddHeaders: []model.Header{{Pos: at, Name: "X-A", Value: model.Literal("1")}},
		Timeouts:   []model.Timeout{{Kind: model.ReadTimeout, Duration: 5 * time.Second}},
	}
	cfg := model.Config{
		Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{r},
		Pools: []model.Pool{{Name: "p", Servers: []model.Server{{Host: "b", Port: 80}}}},
	}
	own := plan.Claim{ID: "response/:80/#X-A", Check: "response", Subject: r.Key(), Detail: "X-A", Pos: at}
	waits := plan.Claim{
		ID: "timeouts/:80/#receive-a-response", Check: "timeouts", Subject: r.Key(),
		Detail: "receive-a-response", Params: plan.Params{plan.ParamTimeout: 5},
	}
	f := func(wanted bool, claims ...plan.Claim) {
		t.Helper()
		p := plan.Plan{Config: cfg}
		var kinds []plan.PhaseKind
		for _, requirement := range Requirements(cfg, claims, check.DesignParams{})[own.ID] {
			requirement.Phase.Kind = requirement.Kind
			p.Phases, kinds = append(p.Phases, requirement.Phase), append(kinds, requirement.Kind)
		}
		assert.Equal(t, wanted, slices.Contains(kinds, plan.KindTimeouts))
		probes, _ := requests.Response.ProbesIn(p)(cfg, own)
		assert.Equal(t, wanted, slices.ContainsFunc(probes, func(q check.Probe) bool { return q.Kind == plan.KindTimeouts }))
		assert.NotEmpty(t, probes)
	}
	f(false, own)
	f(true, own, waits)
}
