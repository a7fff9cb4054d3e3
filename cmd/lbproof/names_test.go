package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/lbproof/lbproof/internal/folder"
	"github.com/lbproof/lbproof/internal/plan"
)

// namesakes are configurations with servers named like lbproof's own nodes, now or formerly. One server's name is
// longer than a container's can be.
const namesakes = `
-- nginx.conf --
events {}
http {
    upstream app {
        server nginx:8000 weight=2;
        server HAProxy:8000;
        server traefik.:8000;
        server lbproof-worker:8000;
        server worker:8000;
        server redis:8000;
        server a-name-of-many-letters.in-a-domain-of-many-letters.which-is.example:8000;
    }
    server {
        listen 80;
        location / { proxy_pass http://APP; }
    }
}
-- haproxy.cfg --
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend web
    bind :80
    default_backend app
backend app
    server a nginx:8000 weight 2
    server b HAProxy:8000
    server c traefik.:8000
    server d lbproof-worker:8000
    server e worker:8000
    server f redis:8000
-- traefik.yaml --
entryPoints:
  web:
    address: ":80"
providers:
  file:
    filename: /etc/traefik/dynamic.yaml
-- dynamic.yaml --
http:
  routers:
    all:
      rule: PathPrefix("/")
      service: app
  services:
    app:
      loadBalancer:
        servers:
          - {url: "http://nginx:8000", weight: 2}
          - {url: "http://haproxy:8000"}
          - {url: "http://Traefik.:8000"}
          - {url: "http://lbproof-worker:8000"}
          - {url: "http://worker:8000"}
          - {url: "http://redis:8000"}
`

// Servers named like lbproof's own nodes are tested as any others, with and without faults.
func TestNamesakes(t *testing.T) {
	scenario := func(config string) string {
		return `name: namesakes
doc: each fault hits the node that its target names
config: ` + config + `
faults:
  - {fault: kill, target: HAPROXY, peer: worker, phase: outage, at: 0s, for: 2s}
  - {fault: pause, target: balancer, phase: outage, at: 500ms, for: 500ms}
phases:
  - {name: outage, rate: 50, for: 3s, send: [{path: /}]}
`
	}
	for _, name := range []string{"nginx.conf", "haproxy.cfg", "traefik.yaml"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, f := range txtar.Parse([]byte(namesakes)).Files {
				require.NoError(t, os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600))
			}
			p := start(t, dir, "test", name, "--checks", "weights,answered,once")
			require.Equal(t, 0, p.wait(t), "%s\n%s", p.stderr.String(), p.stdout.String())
			assert.Contains(t, p.stdout.String(), "3 upheld")
			first, _ := reportOf(t, dir)
			require.NoError(t, os.RemoveAll(first))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "faults.yaml"), []byte(scenario(name)), 0o600))
			p = start(t, dir, "run", "faults.yaml")
			require.Equal(t, 0, p.wait(t), p.stderr.String())
			folders, err := filepath.Glob(filepath.Join(dir, "lbproof-runs", "*"))
			require.NoError(t, err)
			require.Len(t, folders, 1)
			h, err := folder.Open(folders[0])
			require.NoError(t, err)
			require.Len(t, h.Env.Faults, 2)
			server, frozen := h.Env.Faults[0].Event, h.Env.Faults[1].Event
			assert.True(t, strings.EqualFold("haproxy", server.Target), server.Target)
			assert.Equal(t, "worker", server.Peer, "the server of this name, not lbproof's own worker")
			balancer, _, _ := strings.Cut(name, ".")
			assert.Equal(t, plan.HarnessName(balancer), frozen.Target)
			for _, m := range h.Env.Faults {
				assert.Empty(t, m.Err)
			}
			p.nothingLeft(t, 0)
		})
	}
}
