package checks

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/lb"
)

// Of a pool that nobody can answer for no run shows anything, whatever is done to it.
func TestDeserted(t *testing.T) {
	f := func(cannot string, servers ...lb.Server) {
		t.Helper()
		route := lb.Route{Path: "/", Port: 80, Pool: "p"}
		h := lb.History{
			Hits: func(func(lb.Hit) bool) {}, Arrivals: func(func(lb.Arrival) bool) {}, Attempts: func(func(lb.Attempt) bool) {},
			Plan: lb.Plan{Config: lb.Config{Pools: []lb.Pool{{Name: "p", Servers: servers}}, Routes: []lb.Route{route}}},
		}
		assert.Equal(t, cannot, judgeOnce(lb.Claim{Subject: route.Key()}, h).Cannot)
		assert.Equal(t, cannot, judgeReload(lb.Claim{}, h).Cannot)
	}
	f(nobodyUp, lb.Server{Host: "a", Down: true})
	f(nobodyUp, lb.Server{Host: "a", Drain: true}, lb.Server{Host: "b", Down: true})
	f("", lb.Server{Host: "a", Down: true}, lb.Server{Host: "b", Backup: true})
	f("", lb.Server{Host: "a"})
}
