package lbconfigs

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks"
)

func TestMutationsOfALine(t *testing.T) {
	all := []plan.Claim{{ID: "a", Pos: model.Pos{File: "f", Line: 1}}}
	for _, check := range []string{"weights", "passive", "backup", "response", "active", "conns"} {
		all = append(all, plan.Claim{ID: check, Check: check, Pos: model.Pos{File: "f", Line: 1}})
	}
	f := func(balancer, line string, want ...string) {
		t.Helper()
		var got []string
		cfg := model.Config{Balancer: balancer, Files: []model.File{model.NewFile("f", []byte("    "+line+"\n"))}}
		for _, m := range mutations(cfg, model.Pos{File: "f", Line: 1}, all) {
			got = append(got, m.New)
			assert.Equal(t, line, m.Old)
		}
		assert.Equal(t, want, got, line)
	}
	f("nginx", "server a:80 weight=3 max_fails=3 fail_timeout=30s;",
		"server a:80 weight=2 max_fails=3 fail_timeout=30s;", "server a:80 weight=3 max_fails=4 fail_timeout=30s;", "server a:80 weight=3 max_fails=3 fail_timeout=15s;")
	f("nginx", "server a:80 backup;", "server a:80;")
	f("nginx", "limit_req zone=api burst=20 nodelay;", "limit_req zone=api burst=20;", "limit_req zone=api burst=13 nodelay;")
	f("nginx", `add_header X-A "b" always;`, `add_header X-A "b";`)
	f("nginx", "add_header X-A b;", "add_header X-A lbproof;")
	f("nginx", "proxy_read_timeout 60s;", "proxy_read_timeout 36s;")
	f("nginx", "client_max_body_size 10m;", "client_max_body_size 6m;")
	f("nginx", "return 301 https://$host;", "return 302 https://$host;")
	f("nginx", `return 200 "healthy\n";`, `return 200 "lbproof";`)
	f("nginx", "least_conn;", "")
	f("nginx", "keepalive 32;", "")
	f("nginx", "location / {")
	all[0].Pos.Line = 2
	text := "x\nlocation = /health { return 200 \"healthy\"; }\n"
	m := mutations(model.Config{Balancer: "nginx", Files: []model.File{model.NewFile("f", []byte(text))}}, model.Pos{File: "f", Line: 2}, all[:1])
	require.Len(t, m, 1)
	assert.Equal(t, "x\nlocation = /health { return 200 \"lbproof\"; }\n", string(m[0].Apply([]model.File{model.NewFile("f", []byte(text))})[0].Content))
	all[0].Pos.Line = 1
	f("haproxy", "server a 10.0.0.1:80 check inter 5s fall 3 rise 2",
		"server a 10.0.0.1:80 check inter 5s fall 4 rise 2", "server a 10.0.0.1:80 check inter 5s fall 3 rise 3", "server a 10.0.0.1:80 check inter 10s fall 3 rise 2")
	f("haproxy", "timeout client 50000ms", "timeout client 30000ms")
	f("haproxy", "option forwardfor", "")
	f("haproxy", "backend api")
	f("traefik", "average: 100", "average: 65")
	f("traefik", "interval: 10s", "interval: 20s")
}

// A mutation changes its line and no other, and every built-in configuration has lines that promise something.
func TestMutationsOfEveryConfiguration(t *testing.T) {
	for _, name := range Names() {
		cfg, err := Read(BuiltIn, name, "")
		require.NoError(t, err, name)
		claims := checks.Claims(cfg)
		all := Mutations(cfg, claims)
		if len(claims) > 3 {
			assert.NotEmpty(t, all, name)
		}
		for _, m := range all {
			assert.NotEmpty(t, m.Claims, m.String())
			changed := m.Apply(cfg.Files)
			differ := 0
			for i, f := range changed {
				if f.SHA256 != cfg.Files[i].SHA256 {
					differ++
					assert.Equal(t, m.Pos.File, f.Name)
				}
			}
			assert.Equal(t, 1, differ, m.String())
		}
	}
}
