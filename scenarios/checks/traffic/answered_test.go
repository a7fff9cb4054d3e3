package traffic_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks/checkstest"
)

// A slow tester never convicts the balancer: its timeouts count only while it keeps up.
func TestASaturatedSenderConvictsNobody(t *testing.T) {
	timeouts := checkstest.WithErr(history.Timeout)
	assert.Equal(t, report.Refuted, checkstest.Outcome(t, "answered/", timeouts).Outcome)
	busy := func(h *history.History) {
		timeouts(h)
		for i := range h.Env.Phases {
			h.Env.Phases[i].CPU = 2 * (h.Env.Phases[i].End - h.Env.Phases[i].Start)
		}
	}
	v := checkstest.Outcome(t, "answered/", busy)
	assert.Equal(t, report.Undecided, v.Outcome)
	assert.Contains(t, v.Reason, "the sender was saturated")
}

// One connection that is lost on its way to a server convicts nobody; two do, and so does one without an attempt, or one that arrived.
func TestALoneLostConnectionConvictsNobody(t *testing.T) {
	f := func(want report.Outcome, lost int, tried, arrived bool) {
		t.Helper()
		v := checkstest.Outcome(t, "answered/", func(h *history.History) {
			seqs, attempts := map[uint64]bool{}, []history.Attempt(nil)
			hits, arrivals := h.Hits, h.Arrivals
			var bent []history.Hit
			for x := range hits {
				if x.Server != "" && len(seqs) < lost {
					seqs[x.Seq] = true
					x.Code, x.Server = 502, ""
					if tried {
						attempts = append(attempts, history.Attempt{At: (x.Sent + x.Done) / 2, Node: "back-01", From: "10.0.0.9"})
					}
				}
				bent = append(bent, x)
			}
			h.Hits, h.Attempts = slices.Values(bent), slices.Values(attempts)
			h.Arrivals = func(yield func(history.Arrival) bool) {
				arrivals(func(a history.Arrival) bool { return seqs[a.Seq] && !arrived || yield(a) })
			}
		})
		assert.Equal(t, want, v.Outcome, v.Reason)
		assert.Equal(t, want == report.Undecided, strings.Contains(v.Reason, "a kernel resets a new connection now and then"))
	}
	f(report.Undecided, 1, true, false)
	f(report.Refuted, 2, true, false)
	f(report.Refuted, 1, false, false)
	f(report.Refuted, 1, true, true)
}
