package traffic

import (
	"fmt"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// SumDelivery joins every request with the arrivals at the backends. It fails only if the history cannot be read.
func SumDelivery(h history.History) (sum report.Delivery, err error) {
	defer func() {
		if crash := recover(); crash != nil {
			sum, err = report.Delivery{Note: fmt.Sprintf("the delivery summary crashed: %v", crash)}, nil
		}
	}()
	sum.Note = check.WhyLedgerIncomplete(h)
	index := deliveryIndex{names: []string{""}}
	for hit := range h.Hits {
		index.recordHit(hit)
		if hit.Err != history.Tester {
			sum.Sent++
		}
	}
	if err := h.Err(); err != nil {
		return sum, err
	}
	find := check.RouteFinder(h)
	for a := range h.Arrivals {
		if j := find(a.Seq); j != nil {
			countArrival(&sum, &index, h.Plan.Config, j, a)
		} else {
			sum.Unknown++
		}
	}
	if err := h.Err(); err != nil {
		return sum, err
	}
	for hit := range h.Hits {
		countHit(&sum, hit, index.arrivals(hit.Seq), len(h.Env.LedgerGaps) == 0)
	}
	return sum, h.Err()
}

// countArrival counts an arrival of a request of the run.
func countArrival(sum *report.Delivery, index *deliveryIndex, cfg model.Config, j *check.RequestRoute,
	a history.Arrival,
) {
	sum.Arrived++
	idempotent := slices.Contains(check.IdempotentMethods, j.Request.Method)
	times, by, known := index.recordArrival(a.Seq)
	switch {
	case times > 1 && idempotent:
		sum.Retried++
	case times > 1:
		sum.Duplicated++
	}
	if elsewhere := known && times == 1 && by != a.Server; elsewhere && !idempotent || isStray(cfg, j.Route, a.Server) {
		sum.Misrouted++
	}
}

// countHit counts a hit by its number of arrivals.
func countHit(sum *report.Delivery, hit history.Hit, times int, complete bool) {
	switch {
	case hit.Err == history.Tester:
	case hit.Err != "" && times == 0:
		sum.Lost++
	case hit.Err != "":
		sum.Unanswered++
		if hit.Err == history.Truncated {
			sum.Truncated++
		}
	case hit.Server != "" && times == 0 && complete:
		sum.Misrouted++
	}
}

// isStray reports whether a server may not receive requests of a route: they go to one pool only, and the server is
// not in it.
func isStray(cfg model.Config, r model.Route, server string) bool {
	pool, one := cfg.Pool(r.Pool)
	if !one || r.MayRefuse || r.Auth != nil || len(r.ErrorPages)+len(r.Mirrors) > 0 {
		return false
	}
	return !slices.ContainsFunc(pool.Servers, func(s model.Server) bool { return s.Host == server })
}
