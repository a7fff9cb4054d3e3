package experiments

import (
	"math"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// limitShare is the share of a limit that a load may use if it must not reach the limit.
const limitShare = 0.8

// SpreadClients spreads l over enough client addresses to stay below every rate limit, and slows it down for limits
// that count all clients together.
func SpreadClients(cfg model.Config, l *plan.Phase) {
	asked, limits := map[string]int{}, map[string]model.Limit{}
	for _, r := range l.Requests {
		route, _ := r.RouteIn(cfg)
		for _, limit := range route.Limits {
			zone := string(limit.Algorithm) + limit.Name
			if o, known := limits[zone]; !known || check.AdmittedAtOnce(limit) < check.AdmittedAtOnce(o) {
				limits[zone] = limit
			}
			asked[zone]++
		}
	}
	clients := 1
	for zone, limit := range limits {
		if limit.Key.IsAddress() && l.Engine == plan.Prober { // phases share no addresses
			l.Clients.Count, l.Clients.OwnAddresses = max(1, l.Clients.Count), true
		}
		requests := float64(l.Count) * float64(asked[zone]) / float64(len(l.Requests))
		if l.Engine == plan.Prober { // its few requests may synchronize with its clients
			requests = float64(l.Count)
		}
		if limit.Algorithm == model.InFlight {
			requests = float64(l.Concurrency)
		}
		need := int(math.Ceil(requests / max(1, limitShare*float64(check.AdmittedAtOnce(limit)))))
		switch {
		case limit.Key.IsAddress():
			clients = max(clients, need)
		case need < 2:
		case limit.Key.Variable == model.RequestHeader:
			if !limit.Exempt.IsSet() && len(l.Keys.Values) == 0 {
				l.Keys = plan.Keys{Header: limit.Key.Name, Values: check.GenerateKeys(need)}
			}
		case limit.Rate > 0 && (!l.IsOpenLoop() || l.Rate > limitShare*limit.Rate):
			l.Rate = limitShare * limit.Rate
		}
	}
	if clients > 1 { // within the same range of addresses
		l.Clients.AddressStep = l.Clients.AddressStep * l.Clients.Count / max(clients, l.Clients.Count)
		l.Clients.Count, l.Clients.OwnAddresses = max(clients, l.Clients.Count), true
	}
}
