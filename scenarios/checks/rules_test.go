package checks

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/lb"
)

// What backends see of rewritten paths is asked from inside, from below and of what a service is asked.
func TestRewriteQuestions(t *testing.T) {
	rewritten := lb.Rule{Pos: lb.Pos{File: "x", Line: 1}, When: lb.Always, Rewrite: &lb.Rewrite{Match: "^/api/", With: "/v2/"}}
	asked := lb.Rule{Pos: lb.Pos{File: "x", Line: 2}, When: lb.Always, Rewrite: &lb.Rewrite{Match: "^/check", With: "/up"}}
	cfg := lb.Config{
		Balancer: "nginx", Listeners: []lb.Listener{{Port: 80}}, Pools: []lb.Pool{{Name: "p", Servers: []lb.Server{{Host: "b", Port: 80}}}},
		Routes: []lb.Route{
			{Path: "/api/", Port: 80, Pool: "p", Fallback: true, Rules: []lb.Rule{rewritten}},
			{Path: "/in/", Port: 80, Pool: "p", Fallback: true, Auth: &lb.Auth{By: "/check"}},
			{Path: "/check", Port: 80, Pool: "p", Internal: true, Rules: []lb.Rule{asked}},
		},
	}
	f := func(line int, subject string, want map[string][]string) {
		t.Helper()
		questions, cannot := ruleQuestions(cfg, lb.Claim{Subject: subject, Pos: lb.Pos{File: "x", Line: line}})
		require.Empty(t, cannot)
		assert.Len(t, questions, len(want), "each question once")
		got := map[string][]string{}
		for _, q := range questions {
			got[q.Ask.Path] = q.Want.Paths
		}
		assert.Equal(t, want, got)
	}
	f(1, "/api/", map[string][]string{"/api/": {"/v2/"}, "/api/lbproof/a": {"/v2/lbproof/a"}, "/api/b": {"/v2/b"}})
	f(2, "/check", map[string][]string{"/in/": {"/in/", "/up"}})

	arrived := func(path string) lb.Arrival {
		return lb.Arrival{Server: "b", Header: url.Values{lb.NotedPath: {path}}.Encode()}
	}
	want := Reply{Paths: []string{"/in/", "/up"}}
	hit := lb.Hit{Code: 200, Server: "b"}
	assert.Empty(t, want.differs(lb.History{}, hit, []lb.Arrival{arrived("/up"), arrived("/in/?a=1"), arrived("/in/")}))
	assert.Equal(t, "answered 200, and backends saw /in/ instead of /in/ and /up", want.differs(lb.History{}, hit, []lb.Arrival{arrived("/in/")}))
}

// A client that hears an answer late is silent for longer than it knows.
func TestSilenceOfALateClient(t *testing.T) {
	want := Reply{Quiet: Interval{65 * time.Second, 66 * time.Second}}
	f := func(differs bool, quiet, all time.Duration) {
		t.Helper()
		assert.Equal(t, differs, want.silence(lb.Hit{Quiet: quiet, Done: all}) != "")
	}
	f(false, 65500*time.Millisecond, 65500*time.Millisecond)
	f(false, 64500*time.Millisecond, 65200*time.Millisecond)
	f(true, 64500*time.Millisecond, 64600*time.Millisecond)
	f(true, 66500*time.Millisecond, 66600*time.Millisecond)
}
