package experiments_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/experiments"
)

// Limits by address with the same test rate share a phase: each client tests one of them, under several names, and no
// faster than one machine can send.
func TestDesignTestsLimitsTogether(t *testing.T) {
	conf := "events {}\nhttp {\n  limit_req_zone $binary_remote_addr zone=all:1m rate=10r/s;\n  upstream u { server a:8000; }\n  server {\n    listen 80;\n"
	for path := range 7 {
		conf += fmt.Sprintf("    location /%d/ { limit_req zone=all burst=5 nodelay; proxy_pass http://u; }\n", path)
	}
	many := designedFrom(t, fstest.MapFS{"nginx.conf": {Data: []byte(conf + "  }\n}\n")}}, "nginx.conf")
	for _, c := range []struct {
		plan plan.Plan
		want []int
	}{{designed(t, "nginx/orchestry"), []int{5, 5}}, {many, []int{5, 2, 7}}} {
		var got []int
		called := map[string]bool{}
		for _, l := range c.plan.Phases {
			assert.False(t, called[l.Name], "two phases have the name %s", l.Name)
			called[l.Name] = true
			if !strings.Contains(l.Name, " by address ") {
				continue
			}
			got = append(got, len(l.Requests))
			assert.LessOrEqual(t, l.Rate, 500.)
			for client := range l.Clients.Count {
				requests, names := map[int]bool{}, map[string]bool{}
				for i := client; i < l.Count; i += l.Clients.Count {
					requests[l.RequestIndex(i)], names[l.Key(i)] = true, true
				}
				assert.Len(t, requests, 1, l.Name)
				assert.Greater(t, len(names), 1, l.Name)
			}
		}
		assert.Equal(t, c.want, got)
	}
}

// No two phases share a client address, and no phase sends more from one address than a limit allows, unless it tests
// that limit.
func TestDesignStaysBelowLimits(t *testing.T) {
	for _, name := range []string{"nginx/limits", "haproxy/limits", "traefik/limits", "nginx/order-api", "nginx/orchestry", "haproxy/sysmanage", "traefik/order-api"} {
		p := designed(t, name)
		owner := map[int]string{}
		for _, l := range p.Phases {
			if !l.Clients.OwnAddresses {
				continue
			}
			for c := l.Clients.FirstAddress; c <= l.Clients.LastAddress(); c += max(1, l.Clients.AddressStep) {
				assert.Empty(t, owner[c], "%s: address %d of %s", name, c, l.Name)
				owner[c] = l.Name
			}
		}
		for _, l := range p.Phases {
			if l.Kind.Order() >= plan.KindOverload.Order() {
				continue
			}
			if l.Clients.OwnAddresses {
				assert.NotEqual(t, plan.Vegeta, l.Engine, "%s: %s: sends from one address", name, l.Name)
			}
			spared := l
			experiments.SpreadClients(p.Config, &spared)
			assert.Equal(t, l, spared, "%s: %s could be refused", name, l.Name)
		}
	}
}
