package nginx_test

import (
	"testing"

	"github.com/lbproof/lbproof/lbconfigs/balancertest"
)

func FuzzNginx(f *testing.F) { balancertest.Fuzz(f, "nginx", "nginx.conf") }

// Each line is changed so that it makes other claims.
func TestEdits(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		balancertest.Mutate(t, "nginx", line, want...)
	}
	f("server a:80 weight=3 max_fails=3 fail_timeout=30s;",
		"server a:80 weight=2 max_fails=3 fail_timeout=30s;",
		"server a:80 weight=3 max_fails=4 fail_timeout=30s;", "server a:80 weight=3 max_fails=3 fail_timeout=15s;")
	f("server a:80 backup;", "server a:80;")
	f("limit_req zone=api burst=20 nodelay;", "limit_req zone=api burst=20;", "limit_req zone=api burst=13 nodelay;")
	f(`add_header X-A "b" always;`, `add_header X-A "b";`)
	f("add_header X-A b;", "add_header X-A lbproof;")
	f("proxy_read_timeout 60s;", "proxy_read_timeout 36s;")
	f("client_max_body_size 10m;", "client_max_body_size 6m;")
	f("return 301 https://$host;", "return 302 https://$host;")
	f(`return 200 "healthy\n";`, `return 200 "lbproof";`)
	f("least_conn;", "")
	f("keepalive 32;", "")
	f("location / {")
}
