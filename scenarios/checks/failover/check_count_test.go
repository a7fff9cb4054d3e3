package failover

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

func TestCountHealthChecks(t *testing.T) {
	server := model.Server{Host: "a", HealthCheck: &model.HealthCheck{Request: model.HealthRequest{Method: "GET", Path: "/health"}, Interval: 5 * time.Second, FastInterval: 5 * time.Second, DownInterval: 5 * time.Second, Rise: 1, Fall: 1}}
	marks := []history.FaultWindow{{Event: plan.Event{Target: "a"}, RequestedAt: 40 * time.Second, EndsBy: 60 * time.Second}, {Event: plan.Event{Target: "b"}, RequestedAt: 70 * time.Second}}
	f := func(path string, every time.Duration, known, wrong bool, specs ...plan.Spec) {
		t.Helper()
		pools := []model.Pool{{Name: "p", Servers: []model.Server{server, {Host: "b"}}}}
		h := history.History{Plan: plan.Plan{Specs: specs, Config: model.Config{Pools: pools}, Phases: []plan.Phase{{}, {Checks: []plan.Check{plan.CheckBackup}}}}}
		h.Plan.Events = []plan.Event{{Target: "a", Phase: 1, Duration: time.Minute}} // other checks do not see its fault
		h.Env = history.Environment{Phases: []history.Phase{{End: 120 * time.Second}, {Start: 120 * time.Second, End: 180 * time.Second}}, Faults: marks}
		h.HealthChecks = func(yield func(history.HealthCheck) bool) {
			for at := 2 * time.Second; at < 120*time.Second; at += every {
				down := at > 40*time.Second && at < 60*time.Second
				if !down && !yield(history.HealthCheck{At: at, Server: "a", Path: path}) || !yield(history.HealthCheck{At: at, Server: "b", Path: "/health"}) {
					return
				}
			}
		}
		c := countHealthChecks(h, server)
		assert.Equal(t, known, c.isConclusive())
		assert.Equal(t, wrong, c.isWrong(), c.String())
	}
	f("/health", 5*time.Second, true, false)
	f("/health", 5200*time.Millisecond, true, false)
	f("/health", 10*time.Second, true, true)
	f("/health", 3*time.Second, true, true)
	f("/health", 2500*time.Millisecond, true, true)
	f("/health", 2500*time.Millisecond, true, false, plan.Spec{Role: plan.Balancer}, plan.Spec{Role: plan.Peer}) // both of a pair send checks
	f("/other", 5*time.Second, false, false)                                                                     // not the configured check
}
