package target

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestForeignFiles(t *testing.T) {
	f := func(name, text, want string) {
		t.Helper()
		err := checkForeign(name, []byte(text))
		if want == "" {
			assert.NoError(t, err)
			return
		}
		assert.EqualError(t, err, want)
	}
	const compose = "is a Compose file, not a balancer configuration; pass "
	f("a/compose.yml", "services: {lb: {volumes: ['./lb/nginx.conf:/etc/nginx/nginx.conf:ro', './certs:/etc/nginx/certs']}}",
		"a/compose.yml: "+compose+"the one that it mounts: a/lb/nginx.conf")
	f("compose.yaml", "services: {lb: {volumes: [{type: bind, source: conf.d, target: /etc/nginx/conf.d}, 'data:/data']}}",
		"compose.yaml: "+compose+"the one that it mounts: conf.d")
	f("compose.yaml", "services: {lb: {image: 'traefik:v3'}}",
		"compose.yaml: "+compose+"the balancer's own file (nginx.conf, *.cfg, traefik.yaml, traefik.yml, traefik.toml)")
	f("lb.yaml", "apiVersion: v1\nkind: ConfigMap\ndata: {haproxy.cfg: x}\n",
		"lb.yaml: is a Kubernetes ConfigMap, not a balancer configuration; pass the configuration in its data as a file (haproxy.cfg)")
	f("lb.yaml", "apiVersion: networking.k8s.io/v1\nkind: Ingress\n",
		"lb.yaml: is a Kubernetes Ingress, not a balancer configuration; pass the file that the balancer's pod runs with (kubectl cp copies it)")
	f("a.conf.template", "listen ${PORT}; server ${HOST}:${PORT} $host ${uri};",
		"a.conf.template: is a template with variables (${HOST} ${PORT}); set them, render it and pass the result: "+
			"envsubst '${HOST} ${PORT}' < a.conf.template > a.conf")
	f("a.conf.template", "listen 80;", "")
	f("scenario.yaml", "name: s\nphases: []\n", "")
	f("traefik.yaml", "entryPoints: {web: {address: ':80'}}\nservices: {}\n", "")
	f("a.conf", "services: {a: {}}", "")
}

func TestNearestPath(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.MkdirAll("etc/nginx", 0o755))
	require.NoError(t, os.WriteFile("etc/nginx/nginx.conf", nil, 0o600))
	f := func(name, want string) {
		t.Helper()
		assert.Equal(t, want, nearestPath(name), name)
	}
	f("etc/nginx/nginx.cnf", "etc/nginx/nginx.conf")
	f("ect/ngnix/ngnix.conf", "etc/nginx/nginx.conf")
	f("./etc/nginx/haproxy.cfg", "")
	f("other/nginx.conf", "")
}
