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

// waited is how often requests that met a dead server waited before they were tried again.
type waited struct {
	wait  time.Duration
	times map[int]int // how often → requests
	long  bool        // a dead server was asked for so long that some must have waited as often as they may
	most  int         // how often a request may wait
	met   int         // attempts on dead servers
}

// manyMet is how many attempts on a dead server cannot all be health checks.
const manyMet = 50

// waitsOf says how often requests to a pool may wait; ok is false where they do not.
func waitsOf(t *model.Retry, pool model.Pool) (w waited, ok bool) {
	stays := pool.Balance.IsGreedy() || pool.Balance.TakesTurns() && !t.Elsewhere()
	again := t.Attempts > 1 && !t.On.Seen()
	if t.Wait != model.FixedWait || !stays || !again {
		return w, false
	}
	return waited{wait: t.Each, times: map[int]int{}, most: t.Attempts - 1}, true
}

// see counts the waits of requests that were sent while a server was dead.
func (w *waited) see(e *outage.Episode, h history.History, pool model.Pool, find finder) {
	if e.Rate == 0 || e.Hangs {
		return
	}
	w.long = w.long || e.Last()-e.Mark.From > time.Duration(w.most+1)*w.wait
	w.met += len(e.Attempts)
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.Route.Pool != pool.Name || hit.Err != "" {
			continue
		}
		if hit.Load != e.Mark.Event.Phase || hit.Sent < e.Mark.From || hit.Done > e.Mark.Ended {
			continue
		}
		often := math.Round((hit.Done - hit.Sent).Seconds() / w.wait.Seconds())
		if off := hit.Done - hit.Sent - time.Duration(often)*w.wait; often > 0 && off > -outage.Slack && off < w.wait/4 {
			w.times[int(often)]++
		}
	}
}

// wrong says in what the waits are not as configured; empty where they are, or where too few requests waited.
func (w *waited) wrong() string {
	total := 0
	for often, n := range w.times {
		if total += n; often > w.most && n >= check.Often {
			return fmt.Sprintf("%s waited %s for a dead server, %d times at most",
				units.Plural(n, "request"), units.Span(time.Duration(often)*w.wait), w.most)
		}
	}
	known := w.long && w.met >= manyMet
	if w.most > 0 && known && w.times[w.most] == 0 {
		return fmt.Sprintf("%s waited for a dead server, on which there were %s, and none of them %s, as %s come to",
			units.Plural(total, "request"), units.Plural(w.met, "attempt"),
			units.Span(time.Duration(w.most)*w.wait), units.Plural(w.most, "time"))
	}
	return ""
}

// inVain counts the attempts that are made for requests to a pool of which all servers refuse connections, and are not
// known to: as many for each as the promise allows. requests is how many there were; wrong is empty where the attempts
// are as configured.
func inVain(h history.History, t *model.Retry, pool model.Pool, find finder) (requests int, wrong string) {
	if !t.Stays() || t.Attempts == model.Unlimited || takenOut(pool) {
		return 0, ""
	}
	every := outage.EveryEpisode(h, pool, outage.Refusing...)
	for phase := range h.Plan.Phases {
		w, ok := unknownGone(every, pool, phase)
		if !ok {
			continue
		}
		inside, touching, mixed := requestsIn(w, h, pool, find)
		if mixed {
			continue
		}
		attempts := attemptsIn(w, h, pool)
		least := int(0.95 * float64(inside*t.Attempts))
		most := int(1.05*float64(touching*t.Attempts) + checksIn(w, h, pool))
		if requests += inside; inside >= manyMet && (attempts < least || attempts > most) {
			wrong = fmt.Sprintf("%s for %s while all servers refused connections, where %s each make %s to %s",
				units.Plural(attempts, "attempt"), units.Plural(inside, "request"), units.Plural(t.Attempts, "attempt"),
				units.Number(least), units.Number(most))
		}
	}
	return requests, wrong
}

// requestsIn counts a pool's requests that found no server within a time, and all that were under way then. mixed: so
// were some to another pool with servers of this one, whose attempts nobody could tell from its.
func requestsIn(w outage.Window, h history.History, pool model.Pool, find finder) (inside, touching int, mixed bool) {
	mine := func(s model.Server) bool { return check.Serves(h.Plan.Config, pool.Name, s.Host) }
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

// attemptsIn counts the attempts of the balancer on servers of a pool's rotation within a time.
func attemptsIn(w outage.Window, h history.History, pool model.Pool) (n int) {
	active := check.Rotation(pool)
	for a := range h.Attempts {
		if a.At < w.From || a.At > w.To || a.From == h.Env.Client {
			continue
		}
		if slices.ContainsFunc(active, func(s model.Server) bool { return s.Host == a.Node && s.Port == a.Port }) {
			n++
		}
	}
	return n
}

// checksIn is how many attempts on servers of a pool within a time may be health checks.
func checksIn(w outage.Window, h history.History, pool model.Pool) (n float64) {
	for _, p := range h.Plan.Config.Pools {
		for _, s := range p.Servers {
			if s.Active != nil && check.Serves(h.Plan.Config, pool.Name, s.Host) {
				n += math.Ceil((w.To-w.From).Seconds()/s.Active.Fast.Seconds()+1) * float64(balancers(h.Plan))
			}
		}
	}
	return n
}

// unknownGone is when all servers of a pool's rotation refuse connections in a phase, and no health check can have
// found it out.
func unknownGone(every []*outage.Episode, pool model.Pool, phase int) (w outage.Window, ok bool) {
	dead := map[string]bool{}
	w.To = math.MaxInt64
	for _, e := range every {
		if e.Mark.Event.Phase != phase {
			continue
		}
		dead[e.Server.Host] = true
		w.From, w.To = max(w.From, e.Mark.From), min(w.To, e.Mark.Ended)
		if a := e.Server.Active; a != nil {
			soonest, _, _ := a.Down()
			w.To = min(w.To, e.Mark.Ordered+soonest)
		}
	}
	lives := func(s model.Server) bool { return !dead[s.Host] }
	return w, w.From < w.To && !slices.ContainsFunc(check.Rotation(pool), lives)
}

// takenOut says whether failed requests take servers of a pool out before health checks do.
func takenOut(pool model.Pool) bool {
	return slices.ContainsFunc(pool.Servers, func(s model.Server) bool {
		return s.Ejection != nil && s.Ejection.Fails > 0
	})
}
