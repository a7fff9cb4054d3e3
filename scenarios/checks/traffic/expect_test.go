package traffic_test

import (
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// expecting returns a history of one phase of hits with one expectation.
func expecting(text string, hits []history.Hit) history.History {
	for i := range hits {
		hits[i].Seq, hits[i].Index = uint64(i+1), i
	}
	expects, err := plan.ParseExpectation(text)
	if err != nil {
		panic(err)
	}
	phase := plan.Phase{Name: "p", Count: len(hits), Concurrency: 10, Requests: []plan.Request{{Method: "GET", Path: "/"}}}
	return history.History{
		Plan: plan.Plan{
			Alpha: 0.001, Beta: 0.001, Phases: []plan.Phase{phase}, Specs: []plan.Spec{{Name: "b1", CPUs: 0.1}},
			Claims: []plan.Claim{{ID: "expect/p#" + text, Check: plan.CheckExpect, Subject: "p", Expectation: &expects}},
		},
		Env:      history.Environment{CPUs: 2, Phases: []history.Phase{{End: 10 * time.Second, Hits: len(hits)}}},
		Hits:     func(yield func(history.Hit) bool) { each(hits, yield) },
		Arrivals: func(func(history.Arrival) bool) {},
		Samples:  func(func(history.Sample) bool) {},
		Err:      func() error { return nil },
	}
}

func each[T any](all []T, yield func(T) bool) {
	for _, one := range all {
		if !yield(one) {
			return
		}
	}
}

// some returns n hits of a latency; edit changes them.
func some(n int, latency time.Duration, edit func(i int, h *history.Hit)) []history.Hit {
	hits := make([]history.Hit, n)
	for i := range hits {
		at := time.Duration(i) * time.Millisecond
		hits[i] = history.Hit{Due: at, Sent: at, Done: at + latency, Code: 200, Server: "b1", InFlight: 1}
		if edit != nil {
			edit(i, &hits[i])
		}
	}
	return hits
}

func verdictOf(t *testing.T, h history.History) report.Verdict {
	t.Helper()
	r, err := checks.Judge(h)
	require.NoError(t, err)
	return r.Verdicts[0]
}

func TestExpectations(t *testing.T) {
	f := func(text string, want report.Outcome, hits []history.Hit) {
		t.Helper()
		v := verdictOf(t, expecting(text, hits))
		assert.Equal(t, want, v.Outcome, "%s: %s %s", text, v.Measured, v.Reason)
	}
	ms := time.Millisecond
	slow := func(n int) func(int, *history.Hit) {
		return func(i int, h *history.Hit) {
			if i < n {
				h.Done = h.Sent + 300*ms
			}
		}
	}
	f("p99 < 250ms", report.Upheld, some(1000, 10*ms, slow(10)))
	f("p99 < 250ms", report.Refuted, some(1000, 10*ms, slow(11)))
	f("p99 < 10ms", report.Refuted, some(1000, 10*ms, nil))
	f("p99 <= 10ms", report.Upheld, some(1000, 10*ms, nil))
	f("p50 > 5ms", report.Upheld, some(1000, 10*ms, nil))
	f("p50 > 15ms", report.Refuted, some(1000, 10*ms, nil))
	f("p99.9 < 250ms", report.Undecided, some(500, 10*ms, nil)) // the maximum of 500 is no 99.9th percentile
	f("max < 250ms", report.Refuted, some(100, 10*ms, slow(1)))
	f("mean < 20ms", report.Upheld, some(100, 10*ms, slow(1)))
	f("mean < 12ms", report.Refuted, some(100, 10*ms, slow(1)))

	failing := func(n int) func(int, *history.Hit) {
		return func(i int, h *history.Hit) {
			if i < n {
				h.Code = 503
			}
		}
	}
	f("errors == 0", report.Upheld, some(100, ms, nil))
	f("errors == 0", report.Refuted, some(100, ms, failing(1)))
	f("errors < 2%", report.Upheld, some(100, ms, failing(1)))
	f("errors < 1%", report.Refuted, some(100, ms, failing(1)))
	f("errors{backend: b2} == 0", report.Undecided, some(100, ms, failing(1)))
	f("errors{backend: b1} == 1", report.Upheld, some(100, ms, failing(1)))
	f("requests{status: 503} == 0", report.Upheld, some(100, ms, nil))
	f("requests{status: 503} == 0", report.Refuted, some(100, ms, failing(1)))
	f("requests{backend: b1} >= 99%", report.Upheld, some(100, ms, nil))
	f("requests{backend: B1.} >= 99%", report.Upheld, some(100, ms, nil))
	f("rate >= 900", report.Upheld, some(1000, ms, nil))
	f("rate >= 1100", report.Refuted, some(1000, ms, nil))
}

// The load generator's lag and the scenario's own limits never refute.
func TestExpectationsThatCannotBeDecided(t *testing.T) {
	f := func(reason, text string, hits []history.Hit, edit func(*history.History)) {
		t.Helper()
		h := expecting(text, hits)
		edit(&h)
		v := verdictOf(t, h)
		assert.Equal(t, report.Undecided, v.Outcome)
		assert.Contains(t, v.Reason, reason)
	}
	as := func(*history.History) {}
	late := some(200, time.Millisecond, func(_ int, h *history.Hit) { h.Sent, h.Done = h.Sent+time.Second, h.Done+time.Second })
	f("the load generator was late", "p99 < 250ms", late, as)
	waiting := some(200, time.Millisecond, func(_ int, h *history.Hit) { h.Sent, h.Done, h.InFlight = h.Sent+time.Second, h.Done+time.Second, 10 })
	assert.Equal(t, report.Refuted, verdictOf(t, expecting("p99 < 250ms", waiting)).Outcome, "they waited for other responses")
	f("could not be sent", "errors == 0", some(200, 1, func(i int, h *history.Hit) {
		if i == 7 {
			h.Err, h.Code = history.Tester, 0
		}
	}), as)
	f("b1 exited before the end of the traffic: exit status 137", "errors == 0", some(200, 1, func(i int, h *history.Hit) {
		if i == 7 {
			h.Err, h.Code = history.Refused, 0
		}
	}), func(h *history.History) {
		h.Env.Nodes = append(h.Env.Nodes, history.NodeRecord{Name: "b1", Exit: "exit status 137"})
	})
	f("did not finish: 200 of 300 requests", "errors == 0", some(200, 1, nil), func(h *history.History) { h.Plan.Phases[0].Count = 300 })
	f("the load generator was saturated", "p99 < 250ms", some(200, time.Second, nil), func(h *history.History) { h.Env.Phases[0].CPU = 19 * time.Second })
	f("it sent 20 of 100 requests per second", "p99 < 250ms", some(200, time.Second, nil), func(h *history.History) { h.Plan.Phases[0].Rate = 100 })
	f("b1 was throttled 40 % of the time at its limit of 0.1 cores, which affects latencies", "p99 < 250ms", some(200, time.Second, nil), func(h *history.History) {
		h.Plan.Phases[0].Rate, h.Env.Phases[0].AtMaxInFlight = 100, 150 // the stack did not accept more
		h.Samples = iter.Seq[history.Sample](func(yield func(history.Sample) bool) {
			each([]history.Sample{{Node: "b1"}, {At: 5 * time.Second, Node: "b1", Throttled: time.Second}, {At: 10 * time.Second, Node: "b1", Throttled: 4 * time.Second}}, yield)
		})
	})
}

// A fault of an earlier phase never refutes while it is still taking effect or being healed; one that was on time
// excuses nothing.
func TestExpectationsOfPhasesBeforeTheirFaults(t *testing.T) {
	f := func(ordered, from, ended, to time.Duration) report.Verdict {
		t.Helper()
		h := expecting("errors == 100%", some(200, 1, func(i int, h *history.Hit) {
			h.Phase, h.Due, h.Sent, h.Done = 1, h.Due+time.Second, h.Sent+time.Second, h.Done+time.Second
		}))
		h.Plan.Phases = append([]plan.Phase{{Name: "before"}}, h.Plan.Phases...)
		h.Env.Phases = append([]history.Phase{{}}, h.Env.Phases...)
		h.Env.Faults = []history.FaultWindow{{Event: plan.Event{Fault: plan.FaultKill, Target: "b1"}, RequestedAt: ordered, StartsBy: from, EndsAfter: ended, EndsBy: to}}
		return verdictOf(t, h)
	}
	ms := time.Millisecond
	coming := f(100*ms, 1500*ms, 5000*ms, 5000*ms)
	assert.Equal(t, report.Undecided, coming.Outcome)
	assert.Contains(t, coming.Reason, "kill of b1 from phase before took effect only 0.5 s after this phase began; allow more time")
	going := f(100*ms, 200*ms, 900*ms, 1100*ms)
	assert.Equal(t, report.Undecided, going.Outcome)
	assert.Contains(t, going.Reason, "ended only 0.1 s after this phase began")
	assert.Equal(t, report.Refuted, f(100*ms, 900*ms, 5000*ms, 5000*ms).Outcome, "in force when it began")
	assert.Equal(t, report.Refuted, f(100*ms, 200*ms, 500*ms, 900*ms).Outcome, "gone when it began")
}
