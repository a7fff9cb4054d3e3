package experiments

import (
	"math"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// spared is the share of what a limit allows that a load takes which is not to meet it.
const spared = 0.8

// Spare has a load come from so many clients with addresses that no limit refuses any of it, or as slowly as a limit
// wants it that counts all clients together.
func Spare(cfg model.Config, l *plan.Phase) {
	asked, limits := map[string]int{}, map[string]model.Limit{}
	for _, r := range l.Requests {
		route, _ := r.RouteIn(cfg)
		for _, limit := range route.Limits {
			zone := string(limit.Law) + limit.Name
			if o, known := limits[zone]; !known || check.AdmittedAtOnce(limit) < check.AdmittedAtOnce(o) {
				limits[zone] = limit
			}
			asked[zone]++
		}
	}
	clients := 1
	for zone, limit := range limits {
		if limit.Key.IsAddress() && l.Engine == plan.Prober { // phases have no address in common
			l.Clients.Count, l.Clients.Addresses = max(1, l.Clients.Count), true
		}
		requests := float64(l.Count) * float64(asked[zone]) / float64(len(l.Requests))
		if l.Engine == plan.Prober { // whose requests are few, and may keep step with its clients
			requests = float64(l.Count)
		}
		if limit.Law == model.InFlight {
			requests = float64(l.Concurrency)
		}
		need := int(math.Ceil(requests / max(1, spared*float64(check.AdmittedAtOnce(limit)))))
		switch {
		case limit.Key.IsAddress():
			clients = max(clients, need)
		case need < 2:
		case limit.Key.Variable == model.RequestHeader:
			if !limit.Free.Any() && len(l.Keys.Values) == 0 {
				l.Keys = plan.Keys{Header: limit.Key.Name, Values: check.MadeUpKeys(need)}
			}
		case limit.Rate > 0 && (!l.Open() || l.Rate > spared*limit.Rate):
			l.Rate = spared * limit.Rate
		}
	}
	if clients > 1 { // and no more addresses than before lie between the first and the last
		l.Clients.Apart = l.Clients.Apart * l.Clients.Count / max(clients, l.Clients.Count)
		l.Clients.Count, l.Clients.Addresses = max(clients, l.Clients.Count), true
	}
}
