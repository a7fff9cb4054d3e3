package requests

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Two attempts of 3 s do not pass for one of 5 s, and clocks get some tolerance.
func TestFirstTolerance(t *testing.T) {
	assert.Less(t, firstTolerance(5*time.Second), time.Second)
	assert.Equal(t, 250*time.Millisecond, firstTolerance(time.Second))
	assert.Equal(t, 125*time.Millisecond, firstTolerance(500*time.Millisecond))
	assert.Equal(t, lateTolerance, firstTolerance(time.Minute))
}

// The read timeout is tested on the route with the fewest attempts.
func TestReadTimeoutUsesFewestAttempts(t *testing.T) {
	read := []model.Timeout{{Kind: model.ReadTimeout, Duration: 50 * time.Second}}
	cfg := model.Config{
		Balancer: "haproxy", Listeners: []model.Listener{{Port: 80}},
		Routes: []model.Route{
			{Path: "/api/", Port: 80, Pool: "p", Timeouts: read, Retry: &model.Retry{Attempts: 4, Methods: model.AllMethods}},
			{Path: "/static/", Port: 80, Pool: "p", Timeouts: read},
		},
		Pools: []model.Pool{{Name: "p", Servers: []model.Server{{Host: "b", Port: 80}}}},
	}
	claim := plan.Claim{ID: "timeouts/:80/api/#receive-a-response", Subject: cfg.Routes[0].Key(), Detail: "receive-a-response", Params: plan.Params{plan.ParamTimeout: 50}}
	probes, untestable := timeoutProbes(cfg, claim)
	assert.Empty(t, untestable)
	for _, q := range probes {
		assert.Equal(t, "/static/", q.Request.Path)
	}
	assert.Len(t, probes, 2)

	cfg.Routes = cfg.Routes[:1]
	_, untestable = timeoutProbes(cfg, claim)
	assert.Equal(t, "needs 4 attempts of 50 s; lbproof waits at most 80 s", untestable)
}
