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

// If a server refuses a connection, HAProxy tries it again after 1 s (or timeout connect), up to `retries` times, and
// another server at the last attempt if option redispatch allows it: the time that requests wait shows the number of
// attempts. With round robin, or if retry-on repeats requests that were sent, it tries another server at once (back.c,
// back_handle_st_cer).

// fixedWaits counts how often requests waited for a server that was down.
type fixedWaits struct {
	wait       time.Duration
	byCount    map[int]int // number of waits → requests
	longOutage bool        // an outage was so long that some requests must have waited the maximum number of times
	maxWaits   int         // maximum number of waits
	attempts   int         // on servers that are down
}

// minAttempts is a number of attempts that cannot all be health checks.
const minAttempts = 50

// newFixedWaits returns how often requests to a pool may wait; ok is false if they do not.
func newFixedWaits(t *model.Retry, pool model.Pool) (w fixedWaits, ok bool) {
	sameServer := pool.Balance.ComparesAllServers() || pool.Balance.IsRoundRobin() && !t.MayChangeServer()
	retries := t.Attempts > 1 && !t.Failures.CoversSentRequests()
	if t.Backoff != model.FixedBackoff || !sameServer || !retries {
		return w, false
	}
	return fixedWaits{wait: t.Delay, byCount: map[int]int{}, maxWaits: t.Attempts - 1}, true
}

// addOutage counts the waits of requests that were sent during an outage.
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

// mismatch describes how the waits differ from the configuration, or returns "", also if too few requests waited.
func (w *fixedWaits) mismatch() string {
	total := 0
	for often, n := range w.byCount {
		if total += n; often > w.maxWaits && n >= check.Repetitions {
			return fmt.Sprintf("%s waited %s for a server that was down (max %d × %s)",
				units.Plural(n, "request"), units.Duration(time.Duration(often)*w.wait), w.maxWaits, units.Duration(w.wait))
		}
	}
	conclusive := w.longOutage && w.attempts >= minAttempts
	if w.maxWaits > 0 && conclusive && w.byCount[w.maxWaits] == 0 {
		return fmt.Sprintf("%s waited for a server that was down (%s), none of them for %s (%s)",
			units.Plural(total, "request"), units.Plural(w.attempts, "attempt"),
			units.Duration(time.Duration(w.maxWaits)*w.wait), units.Plural(w.maxWaits, "wait"))
	}
	return ""
}

// countExhausted counts the attempts for requests to a pool whose servers all refuse connections without being
// detected: each request makes as many as configured. requests is the number of requests; wrong describes a mismatch.
func countExhausted(h history.History, t *model.Retry, pool model.Pool, find routeFinder) (requests int, wrong string) {
	if !t.KeepsServer() || t.Attempts == model.Unlimited || ejectsServers(pool) {
		return 0, ""
	}
	outages := outage.FindAll(h, pool, outage.RefusingFaults...)
	for phase := range h.Plan.Phases {
		w, ok := undetectedAllDown(outages, pool, phase)
		if !ok {
			continue
		}
		inside, overlapping, ambiguous := countRequests(w, h, pool, find)
		if ambiguous {
			continue
		}
		attempts := countAttempts(w, h, pool)
		least := int(0.95 * float64(inside*t.Attempts))
		most := int(1.05*float64(overlapping*t.Attempts) + maxChecks(w, h, pool))
		if requests += inside; inside >= minAttempts && (attempts < least || attempts > most) {
			wrong = fmt.Sprintf("%s for %s while all servers refused connections; %s each are %s",
				units.Plural(attempts, "attempt"), units.Plural(inside, "request"), units.Plural(t.Attempts, "attempt"),
				formatCounts(least, most))
		}
	}
	return requests, wrong
}

// countRequests counts a pool's requests that found no server within a window, and all in flight meanwhile.
// ambiguous: other pools that share servers had requests in flight, whose attempts cannot be distinguished.
func countRequests(
	w outage.Window, h history.History, pool model.Pool, find routeFinder,
) (inside, overlapping int, ambiguous bool) {
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
			ambiguous = ambiguous || sharing(j.Route.Pool)
			continue
		}
		overlapping++
		whole := hit.Sent >= w.From && hit.Done <= w.To
		if whole && hit.Code == 503 && hit.Server == "" {
			inside++
		}
	}
	return inside, overlapping, ambiguous
}

// countAttempts counts the balancer's attempts on the servers in a pool's rotation within a window.
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

// maxChecks returns how many attempts on servers of a pool within a window may be health checks.
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

// undetectedAllDown returns when all servers in a pool's rotation refuse connections in a phase and no health check can
// have noticed.
func undetectedAllDown(outages []*outage.Outage, pool model.Pool, phase int) (w outage.Window, ok bool) {
	down := map[string]bool{}
	w.To = math.MaxInt64
	for _, e := range outages {
		if e.Fault.Event.Phase != phase {
			continue
		}
		down[e.Server.Host] = true
		w.From, w.To = max(w.From, e.Fault.StartsBy), min(w.To, e.Fault.EndsAfter)
		if a := e.Server.HealthCheck; a != nil {
			soonest, _, _ := a.DetectionTime()
			w.To = min(w.To, e.Fault.RequestedAt+soonest)
		}
	}
	isUp := func(s model.Server) bool { return !down[s.Host] }
	return w, w.From < w.To && !slices.ContainsFunc(check.Rotation(pool), isUp)
}

// ejectsServers reports whether failed requests eject servers of a pool before health checks do.
func ejectsServers(pool model.Pool) bool {
	return slices.ContainsFunc(pool.Servers, func(s model.Server) bool {
		return s.Ejection != nil && s.Ejection.MaxFails > 0
	})
}
