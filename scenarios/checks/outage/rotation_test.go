package outage

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// nginx rotates requests without a key; it hashes those with one, be it the client's or everybody's.
func TestIsKeyless(t *testing.T) {
	keyless := func(rotates bool, key model.Key, l plan.Phase) bool {
		pool := model.Pool{Balance: model.Balance{Hash: &model.Hash{Key: key, RotatesEmptyKeys: rotates}}}
		return isKeyless(plan.Plan{Phases: []plan.Phase{l}}, pool, 0)
	}
	cookie, header := model.Key{Variable: model.Cookie, Name: "id"}, model.Key{Variable: model.RequestHeader, Name: "x-key"}
	plain := plan.Phase{Requests: []plan.Request{{Path: "/"}}}
	carrying := plan.Phase{Requests: []plan.Request{{Path: "/", Header: map[string]string{"Cookie": "id=a", "X-Key": "b"}}}}
	assert.True(t, keyless(true, cookie, plain))
	assert.True(t, keyless(true, header, plain))
	assert.True(t, keyless(true, model.Key{Variable: model.Cookie, Name: "other"}, carrying))
	assert.False(t, keyless(true, cookie, carrying))
	assert.False(t, keyless(true, header, carrying))
	assert.False(t, keyless(true, cookie, plan.Phase{Requests: plain.Requests, Clients: plan.Clients{Cookies: true}}))
	assert.False(t, keyless(true, cookie, plan.Phase{Requests: plain.Requests, Keys: plan.Keys{Cookie: "id", Values: []string{"a"}}}))
	assert.False(t, keyless(true, model.Key{Variable: model.ClientAddress}, plain))
	assert.False(t, isKeyless(plan.Plan{Phases: []plan.Phase{plain}}, model.Pool{}, 0))
	assert.False(t, keyless(false, header, plain))
}
