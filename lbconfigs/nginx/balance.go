package nginx

import (
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// roundRobin is the default balancing.
var roundRobin = model.Balance{Kind: model.RoundRobin, Rotation: model.Smooth}

// readBalance reads a balancing directive. The last of several applies.
func readBalance(d item) model.Balance {
	b := model.Balance{Pos: d.pos, Source: d.Directive.Directive}
	switch d.Directive.Directive {
	case "least_conn":
		b.Kind, b.Rotation, b.Load = model.LeastConnections, model.Smooth, model.InFlightPerWeight
	case "least_time":
		b.Kind = model.LeastTime
	case "random":
		b.Source = strings.Join(append([]string{"random"}, d.Args...), " ")
		b.Kind, b.Draw, b.Choices = readRandom(d.Args)
	case "hash":
		b.Kind = model.ByHash
		b.Hash = &model.Hash{Key: readKey(d.arg(0)), Function: model.CRC32Modulo, RotatesEmptyKeys: true}
		if d.arg(1) == "consistent" {
			b.Hash.Function, b.Hash.Consistent = model.Ketama, true
		}
	case "ip_hash":
		octets := model.Key{Variable: model.ClientAddress, Prefix: 24}
		b.Kind, b.Hash = model.ByHash, &model.Hash{Key: octets, Function: model.AddressOctets}
	}
	return b
}

// readRandom reads random [two [least_conn | least_time=…]].
func readRandom(args []string) (kind model.BalanceKind, draw model.DrawWeighting, choices int) {
	switch {
	case len(args) == 0 || args[0] != "two":
		return model.Random, model.DrawnByWeight, 1
	case len(args) > 1 && strings.HasPrefix(args[1], "least_time"):
		return model.LeastTime, model.DrawnByWeight, 2
	}
	return model.LeastConnections, model.DrawnByWeight, 2
}
