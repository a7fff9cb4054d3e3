package outage

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Requests that bring no key take turns at nginx; with one, from the client or from everybody, they do not.
func TestKeyless(t *testing.T) {
	ask := func(balancer, key string, l plan.Phase) bool {
		return keyless(plan.Plan{Config: model.Config{Balancer: balancer}, Phases: []plan.Phase{l}}, model.Pool{Key: key}, 0)
	}
	plain := plan.Phase{Requests: []plan.Request{{Path: "/"}}}
	carrying := plan.Phase{Requests: []plan.Request{{Path: "/", Header: map[string]string{"Cookie": "id=a", "X-Key": "b"}}}}
	assert.True(t, ask("nginx", "$cookie_id", plain))
	assert.True(t, ask("nginx", "$http_x_key", plain))
	assert.True(t, ask("nginx", "$cookie_other", carrying))
	assert.False(t, ask("nginx", "$cookie_id", carrying))
	assert.False(t, ask("nginx", "$http_x_key", carrying))
	assert.False(t, ask("nginx", "$cookie_id", plan.Phase{Requests: plain.Requests, Clients: plan.Clients{Cookies: true}}))
	assert.False(t, ask("nginx", "$cookie_id", plan.Phase{Requests: plain.Requests, Keys: plan.Keys{Cookie: "id", Values: []string{"a"}}}))
	assert.False(t, ask("nginx", "$remote_addr", plain))
	assert.False(t, ask("nginx", "", plain))
	assert.False(t, ask("haproxy", "hdr(x-key)", plain))
}
