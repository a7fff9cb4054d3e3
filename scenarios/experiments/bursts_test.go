package experiments

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// The burst length is what the tightest limit by address admits at once.
func TestBurstLen(t *testing.T) {
	f := func(want int, limits ...model.Limit) {
		t.Helper()
		cfg := model.Config{Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", Limits: limits, DefaultHost: true}}}
		assert.Equal(t, want, burstLen(cfg, []plan.Request{{Method: "GET", Port: 80, Path: "/"}}))
	}
	address := model.Key{Variable: model.ClientAddress}
	f(0)
	f(0, model.Limit{Algorithm: model.LeakyBucket, Key: model.Key{Variable: model.RequestHeader, Name: "x-key"}, Rate: 1, Burst: 20, Delay: -1})
	f(16, model.Limit{Algorithm: model.LeakyBucket, Key: address, Rate: 1, Burst: 20, Delay: -1})
	f(4, model.Limit{Algorithm: model.LeakyBucket, Key: address, Rate: 1, Burst: 20, Delay: 5})
	f(1, model.Limit{Algorithm: model.LeakyBucket, Key: address, Rate: 1, Burst: 20}) // each is delayed
	f(8, model.Limit{Algorithm: model.LeakyBucket, Key: address, Rate: 1, Burst: 20, Delay: -1}, model.Limit{Algorithm: model.TokenBucket, Key: address, Rate: 1, Burst: 10})
}
