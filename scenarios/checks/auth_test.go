package checks

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/lb"
)

// Who is refused by a service hears its own answer, and no server of the pool hears of the request.
func TestForwardedAuth(t *testing.T) {
	cfg := lb.Config{
		Balancer: "traefik", Listeners: []lb.Listener{{Port: 80}}, Pools: []lb.Pool{{Name: "p", Servers: []lb.Server{{Host: "a", Port: 80}}}},
		Routes: []lb.Route{{Path: "/", Port: 80, Pool: "p", Fallback: true, Auth: &lb.Auth{Pos: lb.Pos{File: "f", Line: 1}, By: "http://auth:8080/validate"}}},
	}
	asked, cannot := authQuestions(cfg, lb.Claim{Subject: cfg.Routes[0].Key(), Pos: lb.Pos{File: "f", Line: 1}})
	require.Empty(t, cannot)
	require.Len(t, asked, 2)
	f := func(hit lb.Hit, want string, servers ...string) {
		t.Helper()
		var arrived []lb.Arrival
		for _, server := range servers {
			arrived = append(arrived, lb.Arrival{Server: server})
		}
		assert.Equal(t, want, asked[1].Want.differs(lb.History{Plan: lb.Plan{Config: cfg}}, hit, arrived))
	}
	f(lb.Hit{Code: 401, Server: "auth"}, "", "auth")
	f(lb.Hit{Code: 401}, "")
	f(lb.Hit{Code: 401, Server: "auth"}, "answered 401, and it reached a", "auth", "a")
	f(lb.Hit{Code: 200, Server: "a"}, "answered 200 by a instead of 401", "auth", "a")
}
