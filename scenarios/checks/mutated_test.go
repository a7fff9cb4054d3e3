package checks_test

import (
	"iter"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/checkstest"
)

// falsifiedWants falsify one expectation of a probe each; ok is false if the probe has no such expectation.
var falsifiedWants = map[string]func(model.Config, *check.Want) (ok bool){
	"status": func(_ model.Config, want *check.Want) bool {
		had := len(want.Codes) > 0
		want.Codes = []int{299}
		return had
	},
	"excluded status": func(_ model.Config, want *check.Want) bool {
		had := want.NotCode != 0
		want.NotCode = 200
		return had
	},
	"pool": func(cfg model.Config, want *check.Want) bool {
		i := slices.IndexFunc(cfg.Pools,
			func(p model.Pool) bool { return p.Name != want.Pool && !sharesServers(cfg, p, want.Pool) })
		if want.Pool == "" || i < 0 {
			return false
		}
		want.Pool = cfg.Pools[i].Name
		return true
	},
	"responder": func(cfg model.Config, want *check.Want) bool {
		had := want.NotForwarded || want.FromBalancer
		want.NotForwarded, want.FromBalancer, want.Pool = false, false, cfg.Pools[0].Name
		return had
	},
	"field": func(_ model.Config, want *check.Want) bool {
		wrong := map[string][]string{}
		for name, values := range want.Headers {
			if wrong[name] = nil; len(values) == 0 {
				wrong[name] = []string{"wrong"}
			}
		}
		want.Headers = wrong
		return len(wrong) > 0
	},
	"field with any value": func(_ model.Config, want *check.Want) bool {
		had := len(want.HeadersPresent) > 0
		want.HeadersPresent = []string{"X-Wrong"}
		return had
	},
	"handshake": func(_ model.Config, want *check.Want) bool {
		wrong := map[string]string{}
		for name, value := range want.Handshake {
			wrong[name] = value + "1"
		}
		want.Handshake = wrong
		return len(wrong) > 0
	},
	"latency": func(_ model.Config, want *check.Want) bool { return double(&want.Latency) },
	"silence": func(_ model.Config, want *check.Want) bool { return double(&want.Silence) },
}

func sharesServers(cfg model.Config, p model.Pool, other string) bool {
	return slices.ContainsFunc(p.Servers, func(s model.Server) bool { return check.HasServer(cfg, other, s.Host) })
}

func double(i *check.Interval) bool {
	had := *i != check.Interval{}
	i.Min, i.Max = 2*i.Max, 3*i.Max
	return had
}

// The honest balancers of TestProbeBalancers answer from written data, not from the checks' expectations: a check with
// a single wrong expectation refutes them.
func TestFalsifiedWantsRefuteTheHonest(t *testing.T) {
	seen := map[string]int{}
	for _, r := range fixtures.ProbeBalancers() {
		i := slices.IndexFunc(checks.All, func(c check.Check) bool { return c.Name == r.Check })
		if r.Refutes != "" || checks.All[i].Probes == nil {
			continue
		}
		h, err := r.History()
		require.NoError(t, err)
		right := checks.All[i]
		t.Cleanup(func() { checks.All[i] = right })
		for _, claim := range h.Plan.Claims {
			for respect, n := range falsifiable(right, h.Plan, claim) {
				checks.All[i] = falsified(right, claim, n, falsifiedWants[respect])
				report, err := checks.Judge(h)
				require.NoError(t, err)
				assert.True(t, checkstest.Refuted(report)[r.Check], "%s: a wrong %s of request %d of %s goes unnoticed", r.Check,
					respect, n, claim.ID)
				seen[respect]++
			}
		}
		checks.All[i] = right
	}
	for respect := range falsifiedWants {
		assert.NotZero(t, seen[respect], "no probe expects a %s", respect)
	}
}

// falsifiable yields every expectation of a claim's probes that can be falsified, with the number of the probe in its
// plan.
func falsifiable(right check.Check, p plan.Plan, claim plan.Claim) iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		if claim.Check != right.Name {
			return
		}
		probes, _ := right.Probes(p.Config, claim)
		for n, q := range probes {
			for respect, spoil := range falsifiedWants {
				want := q.Want
				if isSent(p, q.Request) && spoil(p.Config, &want) && !yield(respect, n) {
					return
				}
			}
		}
	}
}

// falsified returns a copy of the check with one wrong expectation in one probe of a claim.
func falsified(right check.Check, about plan.Claim, n int, spoil func(model.Config, *check.Want) bool) check.Check {
	wrong := right
	wrong.Judge = nil // it uses the right probes
	wrong.Probes = func(cfg model.Config, claim plan.Claim) ([]check.Probe, string) {
		probes, untestable := right.Probes(cfg, claim)
		if claim.ID == about.ID {
			spoil(cfg, &probes[n].Want)
		}
		return probes, untestable
	}
	return wrong
}

// isSent reports whether the plan sends the request.
func isSent(p plan.Plan, r plan.Request) bool {
	return slices.ContainsFunc(p.Phases, func(l plan.Phase) bool {
		return slices.ContainsFunc(l.Requests, func(sent plan.Request) bool { return assert.ObjectsAreEqual(sent, r) })
	})
}
