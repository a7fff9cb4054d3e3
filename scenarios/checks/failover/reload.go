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
	Law: "one lost request while the balancer takes over a changed file refutes; idle connections that are closed " +
		"count only where the client could not know",
	Claims: func(cfg model.Config) []plan.Claim {
		if cfg.Reload == nil || len(check.ProxiedRoutes(cfg)) == 0 {
			return nil
		}
		return []plan.Claim{{
			ID:    check.ClaimID(plan.CheckReload, cfg.Balancer, ""),
			Check: plan.CheckReload, Subject: cfg.Balancer, Pos: cfg.Reload.Pos, Implicit: true,
			Text: fmt.Sprintf("No request is lost while a changed configuration takes effect (%s).", cfg.Reload.How),
		}}
	},
	Trials: reloadTrials,
	Judge:  judgeReload,
}

// takenOver is how long after a takeover what fails is held against it.
const takenOver = time.Second

// takeovers are the times at which a configuration was taken over, and the phases in which that was.
func takeovers(h history.History) (times []outage.Window, phases map[int]bool) {
	phases = map[int]bool{}
	for _, m := range h.Env.Marks {
		if m.Event.Fault == plan.FaultReload && m.Err == "" {
			times = append(times,
				outage.Window{From: m.Ordered, To: m.From + takenOver},
				outage.Window{From: m.Ended, To: m.To + takenOver})
			phases[m.Event.Phase] = true
		}
	}
	return times, phases
}

func judgeReload(_ plan.Claim, h history.History) check.Finding {
	answers := func(r model.Route) bool { return r.Pool != "" && !outage.IsDeserted(h.Plan.Config, r.Pool) }
	if !slices.ContainsFunc(h.Plan.Config.Routes, answers) {
		return check.Finding{Cannot: outage.NobodyUp}
	}
	t := takenOverRequests{find: check.Journeys(h), answered: map[uint64]bool{}}
	t.during, t.phases = takeovers(h)
	for hit := range h.Hits {
		t.see(hit, h)
	}
	lost := t.wrong.Total
	t.repeats(h)
	repeated := t.wrong.Total - lost
	f := check.Finding{
		N: t.n, Need: check.NeedAll(h), Power: check.PowerAll(t.n, h), Predicted: "0 lost, 0 repeated",
		Test: "count of failed and repeated requests while the configuration was taken over",
		Measured: fmt.Sprintf("%s lost, %s repeated of %s in %s", units.Number(lost), units.Number(repeated),
			units.Number(t.n), units.Plural(len(t.during), "takeover")),
	}
	switch {
	case check.NodeDied(h) != "":
		f.Broken = check.NodeDied(h)
	case len(t.during) == 0:
		f.Broken = "no configuration was taken over; --scenario reload does that"
	case t.wrong.Total > 0 && float64(t.failedBefore) > check.FailureRatio*float64(t.before):
		f.Broken = fmt.Sprintf("%s of %s failed while nothing was taken over, too",
			units.Number(t.failedBefore), units.Plural(t.before, "request"))
	default:
		f.Counter = t.wrong.List()
	}
	return f
}

// takenOverRequests are what became of requests around takeovers.
type takenOverRequests struct {
	during []outage.Window // the takeovers
	phases map[int]bool    // in which there were some
	find   func(seq uint64) *check.Journey

	n                    int             // requests that were under way during a takeover
	answered             map[uint64]bool // which these are
	before, failedBefore int             // requests of the same phases while nothing was taken over
	wrong                check.Examples
}

// see enters what became of a request.
func (t *takenOverRequests) see(hit history.Hit, h history.History) {
	j := t.find(hit.Seq)
	if j == nil || j.Route.Pool == "" {
		return
	}
	if hit.Err == history.Tester || check.MaybeLimited(j.Route, hit) {
		return
	}
	failed := hit.Err != "" || hit.Code >= 500
	if !slices.ContainsFunc(t.during, func(w outage.Window) bool { return hit.Done >= w.From && hit.Sent <= w.To }) {
		if t.phases[hit.Load] && !check.FaultInForce(h, hit) {
			t.before++
			if failed {
				t.failedBefore++
			}
		}
		return
	}
	t.n++
	t.answered[hit.Seq] = true
	unrouted := hit.Code == 404 && hit.Server == "" // the configuration has a route for it
	if failed || unrouted {
		t.wrong.Add("request %d (%s %s), sent at %.3f s over connection %d, came to %s",
			hit.Seq, j.Request.Method, j.Request.Path, hit.Sent.Seconds(), hit.Conn, outcomeOf(hit))
	}
}

// repeats enters which requests reached backends more often than once, though they may not be repeated.
func (t *takenOverRequests) repeats(h history.History) {
	counted := map[uint64]int{}
	for a := range h.Arrivals {
		if t.answered[a.Seq] {
			counted[a.Seq]++
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(counted)) {
		times := counted[seq]
		if j := t.find(seq); times > 1 && !slices.Contains(check.RepeatableMethods, j.Request.Method) {
			t.wrong.Add("request %d (%s %s) reached backends %d times", seq, j.Request.Method, j.Request.Path, times)
		}
	}
}

// How the trial of a takeover goes: requests per second, and how long before and in all.
const (
	reloadRate = 400
	reloadAt   = 1500 * time.Millisecond
	reloadTime = 6 * time.Second
)

func reloadTrials(cfg model.Config, claim plan.Claim, _ check.Terms) []check.Trial {
	t := check.Trial{Kind: plan.KindReload, About: claim.ID, Reload: reloadAt, Shows: "a request that a takeover " +
		"loses or repeats"}
	for _, r := range check.ProxiedRoutes(cfg) {
		if request, ok := check.WishingRequest(cfg, r, ""); ok && len(r.Access) == 0 && len(t.Load.Requests) < check.Shown {
			t.Load.Requests = append(t.Load.Requests, request)
		}
	}
	if len(t.Load.Requests) == 0 {
		return nil
	}
	t.Load.Rate, t.Load.Count, t.Load.Concurrency = reloadRate, int(reloadRate*reloadTime.Seconds()), 256
	return []check.Trial{t}
}
