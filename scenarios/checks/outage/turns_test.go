package outage

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Requests that bring no key take turns at nginx; with one, from the client or from everybody, they do not.
func TestKeyless(t *testing.T) {
	ask := func(balancer string, key model.Key, l plan.Phase) bool {
		return keyless(plan.Plan{Config: model.Config{Balancer: balancer}, Phases: []plan.Phase{l}}, model.Pool{Key: key}, 0)
	}
	cookie, header := model.Key{Variable: model.Cookie, Name: "id"}, model.Key{Variable: model.RequestHeader, Name: "x-key"}
	plain := plan.Phase{Requests: []plan.Request{{Path: "/"}}}
	carrying := plan.Phase{Requests: []plan.Request{{Path: "/", Header: map[string]string{"Cookie": "id=a", "X-Key": "b"}}}}
	assert.True(t, ask("nginx", cookie, plain))
	assert.True(t, ask("nginx", header, plain))
	assert.True(t, ask("nginx", model.Key{Variable: model.Cookie, Name: "other"}, carrying))
	assert.False(t, ask("nginx", cookie, carrying))
	assert.False(t, ask("nginx", header, carrying))
	assert.False(t, ask("nginx", cookie, plan.Phase{Requests: plain.Requests, Clients: plan.Clients{Cookies: true}}))
	assert.False(t, ask("nginx", cookie, plan.Phase{Requests: plain.Requests, Keys: plan.Keys{Cookie: "id", Values: []string{"a"}}}))
	assert.False(t, ask("nginx", model.Key{Variable: model.ClientAddress}, plain))
	assert.False(t, ask("nginx", model.Key{}, plain))
	assert.False(t, ask("haproxy", header, plain))
}
