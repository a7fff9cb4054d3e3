package failover

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// HAProxy tries a server that refused a connection again after a second (or timeout connect), as often as retries says,
// the last time elsewhere where it may: how long requests wait tells how often they were tried. Where servers take
// turns it goes elsewhere at once (back.c, back_handle_st_cer), and so it does where retry-on has it repeat requests
// that were sent.

// fixedWaits is how often requests that met a dead server waited before they were tried again.
type fixedWaits struct {
	wait       time.Duration
	byCount    map[int]int // how often → requests
	longOutage bool        // a dead server was asked for so long that some must have waited as often as they may
	maxWaits   int         // how often a request may wait
	attempts   int         // attempts on dead servers
}

// minAttempts is how many attempts on a dead server cannot all be health checks.
const minAttempts = 50

// newFixedWaits says how often requests to a pool may wait; ok is false where they do not.
func newFixedWaits(t *model.Retry, pool model.Pool) (w fixedWaits, ok bool) {
	stays := pool.Balance.ComparesAllServers() || pool.Balance.IsRoundRobin() && !t.MayChangeServer()
	again := t.Attempts > 1 && !t.Failures.CoversSentRequests()
	if t.Backoff != model.FixedBackoff || !stays || !again {
		return w, false
	}
	return fixedWaits{wait: t.Delay, byCount: map[int]int{}, maxWaits: t.Attempts - 1}, true
}

// addOutage counts the waits of requests that were sent while a server was dead.
func (w *fixedWaits) addOutage(e *outage.Outage, h history.History, pool model.Pool, find routeFinder) {
	if e.Rate == 0 || e.Hangs {
		return
	}
	w.longOutage = w.longOutage || e.LastRequest()-e.Fault.StartsBy > time.Duration(w.maxWaits+1)*w.wait
	w.attempts += len(e.Attempts)
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.Route.Pool != pool.Name || hit.Err != "" {
			continue
		}
		if hit.Phase != e.Fault.Event.Phase || hit.Sent < e.Fault.StartsBy || hit.Done > e.Fault.EndsAfter {
			continue
		}
		often := math.Round((hit.Done - hit.Sent).Seconds() / w.wait.Seconds())
		if off := hit.Done - hit.Sent - time.Duration(often)*w.wait; often > 0 && off > -outage.Tolerance && off < w.wait/4 {
			w.byCount[int(often)]++
		}
	}
}

// mismatch says in what the waits are not as configured; empty where they are, or where too few requests waited.
func (w *fixedWaits) mismatch() string {
	total := 0
	for often, n := range w.byCount {
		if total += n; often > w.maxWaits && n >= check.Repetitions {
			return fmt.Sprintf("%s waited %s for a dead server, %d times at most",
				units.Plural(n, "request"), units.Duration(time.Duration(often)*w.wait), w.maxWaits)
		}
	}
	known := w.longOutage && w.attempts >= minAttempts
	if w.maxWaits > 0 && known && w.byCount[w.maxWaits] == 0 {
		return fmt.Sprintf("%s waited for a dead server, on which there were %s, and none of them %s, as %s come to",
			units.Plural(total, "request"), units.Plural(w.attempts, "attempt"),
			units.Duration(time.Duration(w.maxWaits)*w.wait), units.Plural(w.maxWaits, "time"))
	}
	return ""
}

// countExhausted counts the attempts that are made for requests to a pool of which all servers refuse connections, and are not
// known to: as many for each as the promise allows. requests is how many there were; wrong is empty where the attempts
// are as configured.
func countExhausted(h history.History, t *model.Retry, pool model.Pool, find routeFinder) (requests int, wrong string) {
	if !t.KeepsServer() || t.Attempts == model.Unlimited || ejectsServers(pool) {
		return 0, ""
	}
	every := outage.FindAll(h, pool, outage.RefusingFaults...)
	for phase := range h.Plan.Phases {
		w, ok := undetectedAllDown(every, pool, phase)
		if !ok {
			continue
		}
		inside, touching, mixed := countRequests(w, h, pool, find)
		if mixed {
			continue
		}
		attempts := countAttempts(w, h, pool)
		least := int(0.95 * float64(inside*t.Attempts))
		most := int(1.05*float64(touching*t.Attempts) + maxChecks(w, h, pool))
		if requests += inside; inside >= minAttempts && (attempts < least || attempts > most) {
			wrong = fmt.Sprintf("%s for %s while all servers refused connections, where %s each make %s to %s",
				units.Plural(attempts, "attempt"), units.Plural(inside, "request"), units.Plural(t.Attempts, "attempt"),
				units.Number(least), units.Number(most))
		}
	}
	return requests, wrong
}

// countRequests counts a pool's requests that found no server within a time, and all that were under way then. mixed: so
// were some to another pool with servers of this one, whose attempts nobody could tell from its.
func countRequests(w outage.Window, h history.History, pool model.Pool, find routeFinder) (inside, touching int, mixed bool) {
	mine := func(s model.Server) bool { return check.HasServer(h.Plan.Config, pool.Name, s.Host) }
	sharing := func(name string) bool {
		p, ok := h.Plan.Config.Pool(name)
		return ok && slices.ContainsFunc(p.Servers, mine)
	}
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || hit.Sent > w.To || hit.Done < w.From {
			continue
		}
		if j.Route.Pool != pool.Name {
			mixed = mixed || sharing(j.Route.Pool)
			continue
		}
		touching++
		whole := hit.Sent >= w.From && hit.Done <= w.To
		if whole && hit.Code == 503 && hit.Server == "" {
			inside++
		}
	}
	return inside, touching, mixed
}

// countAttempts counts the attempts of the balancer on servers of a pool's rotation within a time.
func countAttempts(w outage.Window, h history.History, pool model.Pool) (n int) {
	active := check.Rotation(pool)
	for a := range h.Attempts {
		if a.At < w.From || a.At > w.To || a.SourceAddr == h.Env.ClientAddr {
			continue
		}
		if slices.ContainsFunc(active, func(s model.Server) bool { return s.Host == a.Node && s.Port == a.Port }) {
			n++
		}
	}
	return n
}

// maxChecks is how many attempts on servers of a pool within a time may be health checks.
func maxChecks(w outage.Window, h history.History, pool model.Pool) (n float64) {
	for _, p := range h.Plan.Config.Pools {
		for _, s := range p.Servers {
			if s.HealthCheck != nil && check.HasServer(h.Plan.Config, pool.Name, s.Host) {
				n += math.Ceil((w.To-w.From).Seconds()/s.HealthCheck.FastInterval.Seconds()+1) * float64(countBalancers(h.Plan))
			}
		}
	}
	return n
}

// undetectedAllDown is when all servers of a pool's rotation refuse connections in a phase, and no health check can have
// found it out.
func undetectedAllDown(every []*outage.Outage, pool model.Pool, phase int) (w outage.Window, ok bool) {
	dead := map[string]bool{}
	w.To = math.MaxInt64
	for _, e := range every {
		if e.Fault.Event.Phase != phase {
			continue
		}
		dead[e.Server.Host] = true
		w.From, w.To = max(w.From, e.Fault.StartsBy), min(w.To, e.Fault.EndsAfter)
		if a := e.Server.HealthCheck; a != nil {
			soonest, _, _ := a.DetectionTime()
			w.To = min(w.To, e.Fault.RequestedAt+soonest)
		}
	}
	lives := func(s model.Server) bool { return !dead[s.Host] }
	return w, w.From < w.To && !slices.ContainsFunc(check.Rotation(pool), lives)
}

// ejectsServers says whether failed requests take servers of a pool out before health checks do.
func ejectsServers(pool model.Pool) bool {
	return slices.ContainsFunc(pool.Servers, func(s model.Server) bool {
		return s.Ejection != nil && s.Ejection.MaxFails > 0
	})
}
