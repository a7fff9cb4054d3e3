package requests

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// Rewritten paths are probed at the route's path, below it, and through the auth subrequest.
func TestRewriteProbes(t *testing.T) {
	rewritten := model.Rule{Pos: model.Pos{File: "x", Line: 1}, Rewrite: &model.Rewrite{Match: "^/api/", Replacement: "/v2/"}}
	probes := model.Rule{Pos: model.Pos{File: "x", Line: 2}, Rewrite: &model.Rewrite{Match: "^/check", Replacement: "/up"}}
	cfg := model.Config{
		Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{{Name: "p", Servers: []model.Server{{Host: "b", Port: 80}}}},
		Routes: []model.Route{
			{Path: "/api/", Port: 80, Pool: "p", DefaultHost: true, Rules: []model.Rule{rewritten}},
			{Path: "/in/", Port: 80, Pool: "p", DefaultHost: true, Auth: &model.Auth{Kind: model.AuthRoute, Target: "/check"}},
			{Path: "/check", Port: 80, Pool: "p", Internal: true, Rules: []model.Rule{probes}},
		},
	}
	f := func(line int, subject string, want map[string][]string) {
		t.Helper()
		probes, untestable := ruleProbes(cfg, plan.Claim{Subject: subject, Pos: model.Pos{File: "x", Line: line}})
		require.Empty(t, untestable)
		assert.Len(t, probes, len(want), "each probe once")
		got := map[string][]string{}
		for _, probe := range probes {
			got[probe.Request.Path] = probe.Want.BackendPaths
		}
		assert.Equal(t, want, got)
	}
	f(1, "/api/", map[string][]string{"/api/": {"/v2/"}, "/api/lbproof/a": {"/v2/lbproof/a"}, "/api/b": {"/v2/b"}})
	f(2, "/check", map[string][]string{"/in/": {"/in/", "/up"}})

	arrived := func(path string) history.Arrival {
		return history.Arrival{Server: "b", Header: url.Values{history.PathField: {path}}.Encode()}
	}
	want := check.Want{BackendPaths: []string{"/in/", "/up"}}
	hit := history.Hit{Code: 200, Server: "b"}
	assert.Empty(t, want.Mismatch(history.History{}, hit, []history.Arrival{arrived("/up"), arrived("/in/?a=1"), arrived("/in/")}))
	assert.Equal(t, "status 200, and backends saw /in/ instead of /in/ and /up", want.Mismatch(history.History{}, hit, []history.Arrival{arrived("/in/")}))
}
