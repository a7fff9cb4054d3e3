package distribution

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
)

// What was with a server all the time that a pick may have taken counts for certain, what may have been there at most.
func TestInFlightAt(t *testing.T) {
	at := func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }
	long := pick{server: 0, sent: at(0), at: at(1), served: at(400), end: at(420)}
	mayBeOver := pick{server: 1, sent: at(5), at: at(6), served: at(90), end: at(110)}
	over := pick{server: 1, sent: at(7), at: at(8), served: at(50), end: at(60)}
	picked := pick{server: 0, sent: at(100), at: at(103), served: at(500), end: at(520)}
	between := pick{server: 1, sent: at(101), at: at(104), served: at(300), end: at(320)}
	later := pick{server: 1, sent: at(104), at: at(105), served: at(300), end: at(320)}
	busy := inFlightAt([]pick{long, mayBeOver, over, picked, between, later}, 3, 2)
	assert.Equal(t, []int{1, 0}, busy.certain)
	assert.Equal(t, []int{1, 2}, busy.possible)
}

// A pick is wrong where the chosen server was busier for certain than another one can have been.
func TestBetter(t *testing.T) {
	equal := []model.Server{{Host: "a", Weight: 1}, {Host: "b", Weight: 1}}
	double := []model.Server{{Host: "a", Weight: 2}, {Host: "b", Weight: 1}}
	f := func(servers []model.Server, law model.LoadLaw, certain, possible []int, chosen, want int, told bool) {
		t.Helper()
		better, could := busyness{certain, possible}.better(chosen, servers, law)
		assert.Equal(t, want, better)
		assert.Equal(t, told, could)
	}
	f(equal, model.InFlightPerWeight, []int{2, 0}, []int{2, 1}, 0, 1, true)
	f(equal, model.InFlightPerWeight, []int{2, 0}, []int{2, 1}, 1, -1, true)
	f(equal, model.InFlightPerWeight, []int{1, 0}, []int{2, 1}, 0, -1, false) // they may be equal
	f(double, model.InFlightPerWeight, []int{2, 0}, []int{2, 1}, 0, -1, false)
	f(double, model.InFlightPerWeight, []int{0, 1}, []int{1, 1}, 1, 0, true)
	// With the request to come 3/2 is more than 1/1 would be, but b is idle or has 2/1.
	f(double, model.NextPerWeight, []int{2, 0}, []int{2, 0}, 0, 1, true)
	f(double, model.NextPerWeight, []int{2, 0}, []int{2, 1}, 0, -1, false)
}

func TestLoadOf(t *testing.T) {
	assert.InDelta(t, 1.5, loadOf(3, 2, model.InFlightPerWeight), 0)
	assert.InDelta(t, 0, loadOf(0, 2, model.NextPerWeight), 0)
	assert.InDelta(t, 4*256/3, loadOf(3, 3, model.NextPerWeight), 0) // in whole 256ths
}

// Each way of choosing has a law, and the pools of no law are only told of.
func TestLawOf(t *testing.T) {
	for want, all := range map[string][]model.Balance{
		byKey:    {{Kind: model.ByHash}},
		byFewest: {{Kind: model.LeastConnections}},
		byChance: {
			{Kind: model.Random, Draw: model.DrawnByWeight, Choices: 1},
			{Kind: model.LeastConnections, Draw: model.DrawnByWeight, Choices: 2},
			{Kind: model.LeastConnections, Draw: model.DrawnByArcs, Choices: 2},
		},
		bySpeed: {
			{Kind: model.LeastTime},
			{Kind: model.LeastTime, Choices: 2},
			{Kind: model.LeastConnections, Draw: model.DrawnAlike, Choices: 2},
		},
		byOrder: {{Kind: model.FillFirst}, {}},
	} {
		for _, b := range all {
			assert.Equal(t, want, lawOf(model.Pool{Balance: b}), b)
		}
	}
}

// Servers that are idle take turns by weight, or all alike.
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
