package lbconfigs_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// big returns a configuration with n routes to n pools, and a mistake for each.
func big(balancer string, n int) (name, text string) {
	var b, c strings.Builder
	address := func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i%254+1) }
	switch balancer {
	case "nginx":
		for i := range n {
			fmt.Fprintf(&b, "upstream u%d { server %s; server b; }\n", i, address(i))
			fmt.Fprintf(&c, "location /p%d { proxy_pass http://u%d; nonsense%d x; }\n", i, i, i)
		}
		return "nginx.conf", "events {}\nhttp {\n" + b.String() + "server {\n" + c.String() + "}\n}\n"
	case "haproxy":
		for i := range n {
			fmt.Fprintf(&b, " acl a%d path_beg /p%d\n use_backend b%d if a%d\n acl unused%d path /\n wrong%d x\n",
				i, i, i, i, i, i)
			fmt.Fprintf(&c, "backend b%d\n mode http\n server s %s:80 check\n", i, address(i))
		}
		return "haproxy.cfg", "frontend f\n mode http\n bind :80\n" + b.String() + c.String()
	}
	for i := range n {
		fmt.Fprintf(&b, "    r%d: {rule: PathPrefix(`/p%d`), service: s%d, middlewares: [m%d]}\n", i, i, i, i)
		fmt.Fprintf(&c, "    m%d: {retri: {attempts: 3}}\n", i)
	}
	text = "http:\n  routers:\n" + b.String() + "  middlewares:\n" + c.String() + "  services:\n"
	b.Reset()
	for i := range n {
		fmt.Fprintf(&b, "    s%d: {loadBalancer: {servers: [{url: http://h%d:80}]}}\n", i, i)
	}
	return "traefik.yaml", text + b.String()
}

// BenchmarkRead reads configurations of 1,000 and 10,000 routes: the time is proportional to the size.
func BenchmarkRead(b *testing.B) {
	for _, balancer := range []string{"nginx", "haproxy", "traefik"} {
		for _, n := range []int{1000, 10000} {
			name, text := big(balancer, n)
			fsys := fstest.MapFS{name: {Data: []byte(text)}}
			b.Run(fmt.Sprintf("%s-%d-routes", balancer, n), func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					cfg, err := lbconfigs.Read(fsys, name, balancer)
					require.NoError(b, err)
					_ = checks.Claims(cfg)
					_, _ = lbconfigs.Specs(cfg)
				}
			})
		}
	}
}
