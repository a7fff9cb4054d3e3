package failover

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

var Reload = check.Check{
	Name: plan.CheckReload,
	Doc:  "A reload loses no request.",
	Law:  "one lost request during a reload refutes; closed idle connections count only if the client could not know",
	Claims: func(cfg model.Config) []plan.Claim {
		if cfg.Reload == nil || len(check.ProxiedRoutes(cfg)) == 0 {
			return nil
		}
		return []plan.Claim{{
			ID:    check.ClaimID(plan.CheckReload, cfg.Balancer, ""),
			Check: plan.CheckReload, Subject: cfg.Balancer, Pos: cfg.Reload.Pos, Implicit: true,
			Text: fmt.Sprintf("No request is lost during a reload (%s).", cfg.Reload.Description),
		}}
	},
	Requirements: reloadRequirements,
	Judge:        judgeReload,
}

// reloadGrace is how long after a reload failures count against it.
const reloadGrace = time.Second

// findReloads returns the windows of reloads, and the phases with reloads.
func findReloads(h history.History) (windows []outage.Window, phases map[int]bool) {
	phases = map[int]bool{}
	for _, m := range h.Env.Faults {
		if m.Event.Fault == plan.FaultReload && m.Err == "" {
			windows = append(windows,
				outage.Window{From: m.RequestedAt, To: m.StartsBy + reloadGrace},
				outage.Window{From: m.EndsAfter, To: m.EndsBy + reloadGrace})
			phases[m.Event.Phase] = true
		}
	}
	return windows, phases
}

func judgeReload(_ plan.Claim, h history.History) check.Finding {
	hasServer := func(r model.Route) bool { return r.Pool != "" && !outage.IsAllDown(h.Plan.Config, r.Pool) }
	if !slices.ContainsFunc(h.Plan.Config.Routes, hasServer) {
		return check.Finding{Untestable: outage.NoServerUp}
	}
	t := reloadRequests{find: check.RouteFinder(h), counted: map[uint64]bool{}}
	t.reloads, t.phases = findReloads(h)
	for hit := range h.Hits {
		t.add(hit, h)
	}
	lost := t.wrong.Total
	t.addRepeats(h)
	repeated := t.wrong.Total - lost
	f := check.Finding{
		N: t.n, Need: check.RequestsNeeded(h), Power: check.RequestPower(t.n, h), Predicted: "0 lost, 0 repeated",
		Test: "number of failed and repeated requests during reloads",
		Measured: fmt.Sprintf("%s lost, %s repeated of %s in %s", units.Number(lost), units.Number(repeated),
			units.Number(t.n), units.Plural(len(t.reloads), "reload")),
	}
	switch {
	case check.WhyNodeExited(h) != "":
		f.Inconclusive = check.WhyNodeExited(h)
	case len(t.reloads) == 0:
		f.Inconclusive = "no reload in this run; --scenario reload has one"
	case t.wrong.Total > 0 && float64(t.failedBefore) > check.MinFailureRatio*float64(t.before):
		f.Inconclusive = fmt.Sprintf("%s of %s also failed without a reload",
			units.Number(t.failedBefore), units.Plural(t.before, "request"))
	default:
		f.CounterExamples = t.wrong.List()
	}
	return f
}

// reloadRequests is the outcome of requests around reloads.
type reloadRequests struct {
	reloads []outage.Window // during which requests count
	phases  map[int]bool    // with reloads
	find    func(seq uint64) *check.RequestRoute

	n                    int             // requests in flight during a reload
	counted              map[uint64]bool // those requests
	before, failedBefore int             // requests of the same phases without a reload
	wrong                check.Examples
}

// add records the outcome of a request.
func (t *reloadRequests) add(hit history.Hit, h history.History) {
	j := t.find(hit.Seq)
	if j == nil || j.Route.Pool == "" {
		return
	}
	if hit.Err == history.Tester || check.MaybeLimited(j.Route, hit) {
		return
	}
	failed := hit.Err != "" || hit.Code >= 500
	if !slices.ContainsFunc(t.reloads, func(w outage.Window) bool { return hit.Done >= w.From && hit.Sent <= w.To }) {
		if t.phases[hit.Phase] && !check.IsDuringFault(h, hit) {
			t.before++
			if failed {
				t.failedBefore++
			}
		}
		return
	}
	t.n++
	t.counted[hit.Seq] = true
	unrouted := hit.Code == 404 && hit.Server == "" // the configuration has a route for it
	if failed || unrouted {
		t.wrong.Add("request %d (%s %s) at %.3f s on connection %d failed: %s",
			hit.Seq, j.Request.Method, j.Request.Path, hit.Sent.Seconds(), hit.Conn, check.OutcomeOf(hit))
	}
}

// addRepeats records the requests that reached backends more than once although they must not be repeated.
func (t *reloadRequests) addRepeats(h history.History) {
	counted := map[uint64]int{}
	for a := range h.Arrivals {
		if t.counted[a.Seq] {
			counted[a.Seq]++
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(counted)) {
		windows := counted[seq]
		if j := t.find(seq); windows > 1 && !slices.Contains(check.IdempotentMethods, j.Request.Method) {
			t.wrong.Add("request %d (%s %s) reached backends %d times", seq, j.Request.Method, j.Request.Path, windows)
		}
	}
}

// The phase with a reload: requests per second, time before the reload, and duration.
const (
	reloadRate = 400
	reloadAt   = 1500 * time.Millisecond
	reloadTime = 6 * time.Second
)

func reloadRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	t := check.Requirement{
		Kind: plan.KindReload, About: claim.ID, ReloadAt: reloadAt, Detects: "requests that a reload loses or repeats",
	}
	for _, r := range check.ProxiedRoutes(cfg) {
		if len(r.Access) > 0 || len(t.Phase.Requests) == check.MaxExamples {
			continue
		}
		if request, ok := check.RequestWithSpec(cfg, r, ""); ok {
			t.Phase.Requests = append(t.Phase.Requests, request)
		}
	}
	if len(t.Phase.Requests) == 0 {
		return nil
	}
	t.Phase.Rate, t.Phase.Count, t.Phase.Concurrency = reloadRate, int(reloadRate*reloadTime.Seconds()), 256
	return []check.Requirement{t}
}
