package traffic_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks/checkstest"
)

// Requests that reach no backend do not show how often they are delivered.
func TestOnceNeedsArrivals(t *testing.T) {
	f := func(code int, want report.Outcome, reason string) {
		t.Helper()
		v := checkstest.Outcome(t, "once/", func(h *history.History) {
			hits := h.Hits
			h.Hits = func(yield func(history.Hit) bool) {
				hits(func(x history.Hit) bool {
					x.Code, x.Server = code, ""
					return yield(x)
				})
			}
			h.Arrivals = func(func(history.Arrival) bool) {}
		})
		assert.Equal(t, want, v.Outcome)
		assert.Contains(t, v.Reason, reason)
	}
	f(502, report.Undecided, "no relevant requests")
	f(404, report.Refuted, "answered 404 by the balancer itself")
}

func TestRepeatableRequestsMayBeSentAgain(t *testing.T) {
	again := func(h *history.History) {
		arrivals := h.Arrivals
		h.Arrivals = func(yield func(history.Arrival) bool) {
			arrivals(func(a history.Arrival) bool {
				probe := a.Seq <= uint64(h.Plan.Phases[0].Count) // probes are GET
				failed := a
				failed.Server = "back-09" // of the previous attempt
				return (!probe || yield(failed)) && yield(a)
			})
		}
	}
	v := checkstest.Outcome(t, "once/", again)
	assert.Equal(t, report.Undecided, v.Outcome)
	assert.Contains(t, v.Reason, "idempotent")
}
