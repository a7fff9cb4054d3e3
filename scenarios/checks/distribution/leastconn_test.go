package distribution

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
)

// A request at a server for the whole time of a selection counts as certain, one that may have been there as possible.
func TestCountInFlight(t *testing.T) {
	at := func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }
	long := selection{server: 0, sent: at(0), arrived: at(1), inFlightUntil: at(400), countedUntil: at(420)}
	mayBeOver := selection{server: 1, sent: at(5), arrived: at(6), inFlightUntil: at(90), countedUntil: at(110)}
	over := selection{server: 1, sent: at(7), arrived: at(8), inFlightUntil: at(50), countedUntil: at(60)}
	picked := selection{server: 0, sent: at(100), arrived: at(103), inFlightUntil: at(500), countedUntil: at(520)}
	between := selection{server: 1, sent: at(101), arrived: at(104), inFlightUntil: at(300), countedUntil: at(320)}
	later := selection{server: 1, sent: at(104), arrived: at(105), inFlightUntil: at(300), countedUntil: at(320)}
	busy := countInFlight([]selection{long, mayBeOver, over, picked, between, later}, 3, 2)
	assert.Equal(t, []int{1, 0}, busy.atLeast)
	assert.Equal(t, []int{1, 2}, busy.atMost)
}

// A selection is wrong if the chosen server certainly had more load than another one can have had.
func TestLessLoaded(t *testing.T) {
	equal := []model.Server{{Host: "a", Weight: 1}, {Host: "b", Weight: 1}}
	double := []model.Server{{Host: "a", Weight: 2}, {Host: "b", Weight: 1}}
	f := func(servers []model.Server, law model.LoadMetric, certain, possible []int, chosen, want int, told bool) {
		t.Helper()
		better, could := inFlightBounds{certain, possible}.lessLoaded(chosen, servers, law)
		assert.Equal(t, want, better)
		assert.Equal(t, told, could)
	}
	f(equal, model.InFlightPerWeight, []int{2, 0}, []int{2, 1}, 0, 1, true)
	f(equal, model.InFlightPerWeight, []int{2, 0}, []int{2, 1}, 1, -1, true)
	f(equal, model.InFlightPerWeight, []int{1, 0}, []int{2, 1}, 0, -1, false) // the loads may be equal
	f(double, model.InFlightPerWeight, []int{2, 0}, []int{2, 1}, 0, -1, false)
	f(double, model.InFlightPerWeight, []int{0, 1}, []int{1, 1}, 1, 0, true)
	// Counting the next request, 3/2 exceeds 1/1, but b is idle or at 2/1.
	f(double, model.NextPerWeight, []int{2, 0}, []int{2, 0}, 0, 1, true)
	f(double, model.NextPerWeight, []int{2, 0}, []int{2, 1}, 0, -1, false)
}

func TestLoadPerWeight(t *testing.T) {
	assert.InDelta(t, 1.5, loadPerWeight(3, 2, model.InFlightPerWeight), 0)
	assert.InDelta(t, 0, loadPerWeight(0, 2, model.NextPerWeight), 0)
	assert.InDelta(t, 4*256/3, loadPerWeight(3, 3, model.NextPerWeight), 0) // in units of 1/256
}

// Every algorithm has a law; pools without one are only reported.
func TestLawOf(t *testing.T) {
	for want, all := range map[string][]model.Balance{
		lawHash:      {{Kind: model.ByHash}},
		lawLeastconn: {{Kind: model.LeastConnections}},
		lawRandom: {
			{Kind: model.Random, Draw: model.DrawnByWeight, Choices: 1},
			{Kind: model.LeastConnections, Draw: model.DrawnByWeight, Choices: 2},
			{Kind: model.LeastConnections, Draw: model.DrawnByArcs, Choices: 2},
		},
		lawFastest: {
			{Kind: model.LeastTime},
			{Kind: model.LeastTime, Choices: 2},
			{Kind: model.LeastConnections, Draw: model.DrawnUniformly, Choices: 2},
		},
		lawFill: {{Kind: model.FillFirst}, {}},
	} {
		for _, b := range all {
			assert.Equal(t, want, lawOf(model.Pool{Balance: b}), b)
		}
	}
}

// Round robin at idle is by weight, or ignores weights.
func TestIdleWeights(t *testing.T) {
	f := func(rotation model.Rotation, want ...int) {
		t.Helper()
		pool := model.Pool{
			Balance: model.Balance{Kind: model.LeastConnections, Rotation: rotation},
			Servers: []model.Server{{Host: "a", Weight: 3}, {Host: "b", Weight: 1}, {Host: "c", Weight: 2, Down: true}},
		}
		assert.Equal(t, want, idleWeights(pool))
	}
	f(model.Smooth, 3, 1)
	f(model.Unweighted, 1, 1)
}
