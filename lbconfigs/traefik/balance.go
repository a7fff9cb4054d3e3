package traefik

import (
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// readBalance reads the balancing of a service; strategy may be nil.
func readBalance(strategy *reading.Tree) model.Balance {
	if strategy == nil {
		return model.Balance{Kind: model.RoundRobin, Rotation: model.EarliestDeadline}
	}
	b := model.Balance{Pos: strategy.Pos, Source: strategy.Text()}
	switch strategy.Text() {
	case "wrr":
		b.Kind, b.Rotation = model.RoundRobin, model.EarliestDeadline
	case "p2c":
		b.Kind, b.Draw, b.Choices = model.LeastConnections, model.DrawnUniformly, 2
	case "hrw":
		b.Kind, b.Hash = model.ByHash, &model.Hash{Key: model.Key{Variable: model.ClientAddress}, Consistent: true}
	case "leasttime":
		b.Kind = model.LeastTime
	}
	return b
}
