package traffic

import (
	"fmt"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// Account joins every request with what the backends saw of it. It fails only where the history cannot be read.
func Account(h history.History) (sum report.Ledger, err error) {
	defer func() {
		if crash := recover(); crash != nil {
			sum, err = report.Ledger{Note: fmt.Sprintf("the account crashed: %v", crash)}, nil
		}
	}()
	sum.Note = check.LostWitness(h)
	book := ledger{names: []string{""}}
	for hit := range h.Hits {
		book.answered(hit)
		if hit.Err != history.Tester {
			sum.Sent++
		}
	}
	if err := h.Err(); err != nil {
		return sum, err
	}
	find := check.Journeys(h)
	for a := range h.Arrivals {
		if j := find(a.Seq); j != nil {
			entered(&sum, &book, h.Plan.Config, j, a)
		} else {
			sum.Unknown++
		}
	}
	if err := h.Err(); err != nil {
		return sum, err
	}
	for hit := range h.Hits {
		settled(&sum, hit, book.times(hit.Seq), len(h.Env.Lost) == 0)
	}
	return sum, h.Err()
}

// entered counts an arrival of a request of the run.
func entered(sum *report.Ledger, book *ledger, cfg model.Config, j *check.Journey, a history.Arrival) {
	sum.Arrived++
	again := slices.Contains(check.RepeatableMethods, j.Request.Method)
	times, by, known := book.arrived(a.Seq)
	switch {
	case times > 1 && again:
		sum.Retried++
	case times > 1:
		sum.Duplicated++
	}
	if elsewhere := known && times == 1 && by != a.Server; elsewhere && !again || stray(cfg, j.Route, a.Server) {
		sum.Misrouted++
	}
}

// settled counts a hit by how often it arrived.
func settled(sum *report.Ledger, hit history.Hit, times int, whole bool) {
	switch {
	case hit.Err == history.Tester:
	case hit.Err != "" && times == 0:
		sum.Lost++
	case hit.Err != "":
		sum.Unanswered++
		if hit.Err == history.Truncated {
			sum.Truncated++
		}
	case hit.Server != "" && times == 0 && whole:
		sum.Misrouted++
	}
}

// stray says whether a server has no business with a route: its requests go to one pool and nowhere else, and the
// server is not in it.
func stray(cfg model.Config, r model.Route, server string) bool {
	pool, one := cfg.Pool(r.Pool)
	if !one || r.Guarded || r.Auth != nil || len(r.Fallbacks)+len(r.Mirrors) > 0 {
		return false
	}
	return !slices.ContainsFunc(pool.Servers, func(s model.Server) bool { return s.Host == server })
}
