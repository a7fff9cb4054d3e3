package checks

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Of a pool that nobody can answer for no run shows anything, whatever is done to it.
func TestDeserted(t *testing.T) {
	f := func(cannot string, servers ...model.Server) {
		t.Helper()
		route := model.Route{Path: "/", Port: 80, Pool: "p"}
		h := history.History{
			Hits: func(func(history.Hit) bool) {}, Arrivals: func(func(history.Arrival) bool) {}, Attempts: func(func(history.Attempt) bool) {},
			Plan: plan.Plan{Config: model.Config{Pools: []model.Pool{{Name: "p", Servers: servers}}, Routes: []model.Route{route}}},
		}
		assert.Equal(t, cannot, once.Judge(plan.Claim{Subject: route.Key()}, h).Cannot)
		assert.Equal(t, cannot, reload.Judge(plan.Claim{}, h).Cannot)
	}
	f(nobodyUp, model.Server{Host: "a", Down: true})
	f(nobodyUp, model.Server{Host: "a", Drain: true}, model.Server{Host: "b", Down: true})
	f("", model.Server{Host: "a", Down: true}, model.Server{Host: "b", Backup: true})
	f("", model.Server{Host: "a"})
}
