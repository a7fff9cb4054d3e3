package requests

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// A denied client gets the auth service's response, and no server of the pool receives the request.
func TestForwardedAuth(t *testing.T) {
	cfg := model.Config{
		Balancer: "traefik", Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{{Name: "p", Servers: []model.Server{{Host: "a", Port: 80}}}},
		Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true, Auth: &model.Auth{Pos: model.Pos{File: "f", Line: 1}, Kind: model.AuthService, Target: "http://auth:8080/validate"}}},
	}
	probes, untestable := authProbes(cfg, plan.Claim{Subject: cfg.Routes[0].Key(), Pos: model.Pos{File: "f", Line: 1}})
	require.Empty(t, untestable)
	require.Len(t, probes, 2)
	f := func(hit history.Hit, want string, servers ...string) {
		t.Helper()
		var arrived []history.Arrival
		for _, server := range servers {
			arrived = append(arrived, history.Arrival{Server: server})
		}
		assert.Equal(t, want, probes[1].Want.Mismatch(history.History{Plan: plan.Plan{Config: cfg}}, hit, arrived))
	}
	f(history.Hit{Code: 401, Server: "auth"}, "", "auth")
	f(history.Hit{Code: 401}, "")
	f(history.Hit{Code: 401, Server: "auth"}, "status 401, and forwarded to a", "auth", "a")
	f(history.Hit{Code: 200, Server: "a"}, "status 200 from a instead of 401", "auth", "a")
}
