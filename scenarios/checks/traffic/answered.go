package traffic

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Answered = check.Check{
	Name: plan.CheckAnswered,
	Doc: "Every request to a proxied route is answered by a backend with a status below 400; below 500 for lbproof's " +
		"own probes of paths that the backend may not know.",
	Law: "one failed request refutes; a single failure after a lost connection attempt leaves the claim " +
		"undecided",
	Claims:        answeredClaims,
	ExtraRequests: check.ForgedRequests,
	Judge:         judgeAnswered,
}

func answeredClaims(cfg model.Config) []plan.Claim {
	return check.EachRoute(check.ProxiedRoutes(cfg), func(r model.Route) []plan.Claim {
		if r.MayRefuse { // some requests may be refused
			return nil
		}
		text := fmt.Sprintf("Every request to %s is answered by a backend of %s; none is lost or fails.", r.Key(), r.Pool)
		claim := check.NewClaim(plan.CheckAnswered, r.Key(), "", r.PoolPos, text)
		claim.Assumptions = []string{"a healthy backend answers these requests without an error"}
		return []plan.Claim{claim}
	})
}

func judgeAnswered(claim plan.Claim, h history.History) check.Finding {
	t, find := answerTally{excluded: map[string]int{}, failedPhases: map[int]bool{}}, check.RouteFinder(h)
	for hit := range h.Hits {
		if j := find(hit.Seq); j != nil && j.Key == claim.Subject {
			t.add(h, hit, j)
		}
	}
	f := check.Finding{
		N: t.n, Need: check.RequestsNeeded(h), Test: "count of failed requests, none allowed", Predicted: "0 failed",
		Measured: fmt.Sprintf("%s of %s failed",
			units.Number(t.failed.Total), units.Number(t.n)), Power: check.RequestPower(t.n, h),
	}
	for phase := range h.Plan.Phases {
		if t.failedPhases[phase] {
			f.Note = cmp.Or(f.Note, explainOverload(h, phase))
		}
	}
	if t.duringFaults > 0 && f.Note == "" {
		f.Note = units.Plural(t.duringFaults, "request") + " during or shortly after faults are covered by the claims " +
			"about failures"
	}
	if f.Inconclusive = cmp.Or(check.WhyNodeExited(h), t.explainLostConnection(h)); f.Inconclusive != "" {
		return f
	}
	f.CounterExamples, f.Inconclusive = t.failed.List(), t.explainExcluded()
	return f
}

// answerTally counts the results of requests to a route.
type answerTally struct {
	n            int
	duringFaults int // requests while a fault was in force; not counted in n
	failed       check.Examples
	lastFailed   history.Hit    // the last failed request
	failedPhases map[int]bool   // phases with failed requests
	excluded     map[string]int // requests not counted in n, by reason
}

func (t *answerTally) add(h history.History, hit history.Hit, j *check.RequestRoute) {
	if check.IsDuringFault(h, hit) {
		t.duringFaults++
		return
	}
	switch {
	case hit.Err == history.Tester:
		t.excluded["the load generator could not send"]++
		return
	case hit.Err == history.Timeout && explainSaturation(h, j.Phase) != "":
		t.excluded[explainSaturation(h, j.Phase)]++
		return
	}
	t.n++
	before, r := t.failed.Total, j.Request
	designed := r.Claim != "" // for a path that the backend may not know
	switch {
	case hit.Err != "":
		t.failed.Add("request %d (%s %s) failed: %s after %s",
			hit.Seq, r.Method, r.Path, hit.Err, units.Duration(hit.Done-hit.Sent))
	case hit.Code >= 500, hit.Code >= 400 && !designed:
		t.failed.Add("request %d (%s %s) was answered %d by %s", hit.Seq, r.Method, r.Path, hit.Code, check.ResponderOf(hit))
	case hit.Server == "":
		t.failed.Add("request %d (%s %s) was answered %d, but by no backend", hit.Seq, r.Method, r.Path, hit.Code)
	}
	if t.failed.Total > before {
		t.lastFailed, t.failedPhases[j.Phase] = hit, true
	}
}

// explainLostConnection excuses a single failure after a connection that a kernel may have reset; "" if there are
// more, or another cause.
func (t *answerTally) explainLostConnection(h history.History) string {
	if t.failed.Total != 1 || t.n < 2 || !isLostConnection(h, t.lastFailed) {
		return ""
	}
	return t.failed.List()[0] + "; the balancer had tried a server that never saw the request (kernels occasionally " +
		"reset new connections): rerun, a balancer that loses requests will do so again"
}

// explainExcluded lists how many requests are not counted, and why.
func (t *answerTally) explainExcluded() string {
	var reasons []string
	for reason, n := range t.excluded {
		reasons = append(reasons, fmt.Sprintf("%s not counted: %s", units.Plural(n, "request"), reason))
	}
	slices.Sort(reasons)
	return strings.Join(reasons, "; ")
}

// isLostConnection reports whether the balancer itself answered a hit after trying a server that never received it: a
// connection was lost, by the balancer or by a kernel. It requires recorded connection attempts.
func isLostConnection(h history.History, hit history.Hit) bool {
	if hit.Err != "" || hit.Server != "" || hit.Code != 502 && hit.Code != 503 {
		return false
	}
	for a := range h.Arrivals {
		if a.Seq == hit.Seq {
			return false
		}
	}
	for a := range h.Attempts {
		if a.SourceAddr != h.Env.ClientAddr && a.At >= hit.Sent && a.At <= hit.Done {
			return true
		}
	}
	return false
}

// explainSaturation explains why the load generator fell behind in a phase, or returns "".
func explainSaturation(h history.History, phase int) string {
	if phase >= len(h.Env.Phases) {
		return "" // the phase never ended; Interrupted reports it
	}
	p, l := h.Env.Phases[phase], h.Plan.Phases[phase]
	took := (p.End - p.Start).Seconds()
	if took <= 0 {
		return ""
	}
	if cores := p.CPU.Seconds() / took; cores > 0.9*float64(h.Env.CPUs) {
		return fmt.Sprintf("the load generator was saturated in phase %s: it used %.1f of %d cores",
			l.Name, cores, h.Env.CPUs)
	}
	waited := p.AtMaxInFlight > p.Hits/20 // for responses, which is not the load generator's fault
	sending := (p.LastSent - p.Start).Seconds()
	if sending <= 0 {
		sending = took
	}
	owed := l.IsOpenLoop() && !waited && !p.Broken && !p.DecidedEarly // the full rate
	if achieved := float64(p.Hits) / sending; owed && achieved < 0.95*l.Rate {
		return fmt.Sprintf("the load generator was saturated in phase %s: it sent %.0f of %.0f requests per second",
			l.Name, achieved, l.Rate)
	}
	return ""
}
