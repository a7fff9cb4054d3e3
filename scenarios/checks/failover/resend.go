package failover

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// losses are the failures that clients met when servers died.
type losses struct {
	deaths        int
	asked, failed int // requests after a death: all, and those that failed
	least, most   float64
	hung          int            // requests while a server hung, beside those
	under, late   byMethod       // those under way when it died, and those that hung: all, and those that failed
	first, wrong  check.Examples // of those that failed when one refused, and of those that should not have when one hung

	find finder // of requests to the routes that the promise is about
	what *model.Retry
}

// finder finds a request on its way.
type finder func(seq uint64) *check.Journey

// lossesOf counts the failures of requests to routes that share a promise.
func lossesOf(h history.History, g check.Group[*model.Retry]) losses {
	find, mine := check.Journeys(h), map[string]bool{}
	for _, r := range g.Routes {
		mine[r.Key()] = true
	}
	return losses{under: byMethod{}, late: byMethod{}, what: g.What, find: func(seq uint64) *check.Journey {
		if j := find(seq); j != nil && mine[j.Key] {
			return j
		}
		return nil
	}}
}

// counts says whether a hit is evidence of what becomes of a pool's requests.
func (l *losses) counts(hit history.Hit, pool model.Pool, gone []outage.Window) (*check.Journey, bool) {
	j := l.find(hit.Seq)
	if j == nil || j.Route.Pool != pool.Name || hit.Err == history.Tester {
		return nil, false
	}
	own := hit.Server == "" && hit.Err == "" && hit.Code < 500 // the balancer's answer, which no server had to do with
	if own || check.MaybeLimited(j.Route, hit) || crossedAnEnd(hit) {
		return nil, false
	}
	nobodyLeft := func(w outage.Window) bool { return hit.Done >= w.From && hit.Sent <= w.To }
	return j, !slices.ContainsFunc(gone, nobodyLeft)
}

// crossedAnEnd says whether a request met the end of a connection that had rested: the balancer's timeout for idle
// clients, which no server has to do with. What a server's death comes to is an answer.
func crossedAnEnd(hit history.Hit) bool {
	ended := hit.Err == history.Closed || hit.Err == history.Reset
	return ended && hit.Code == 0 && hit.Connect == 0
}

// byMethod counts requests and, of them, those that failed.
type byMethod map[string][2]int

func (b byMethod) add(method string, failed bool) {
	n := b[method]
	if n[0]++; failed {
		n[1]++
	}
	b[method] = n
}

func (b byMethod) failed() (n int) {
	for _, one := range b {
		n += one[1]
	}
	return n
}

// String is as 0 of 12 GET, 3 of 9 POST.
func (b byMethod) String() string {
	var parts []string
	for _, method := range slices.Sorted(maps.Keys(b)) {
		parts = append(parts, fmt.Sprintf("%s of %s %s",
			units.Number(b[method][1]), units.Number(b[method][0]), method))
	}
	return strings.Join(parts, ", ")
}

// see counts what became of a pool's requests around a death.
func (l *losses) see(e *outage.Episode, h history.History, pool model.Pool, gone []outage.Window) {
	if e.Rate == 0 {
		return
	}
	l.deaths++
	asked := 0
	for hit := range h.Hits {
		if hit.Done < e.Alive || hit.Sent > e.Mark.Ended {
			continue
		}
		j, ok := l.counts(hit, pool, gone)
		if !ok {
			continue
		}
		failed := hit.Err != "" || gatewayFailed(hit.Code)
		if hit.Sent < e.Mark.From { // it may have been with the server when that died
			l.under.add(j.Request.Method, failed)
			continue
		}
		if asked++; failed {
			l.failed++
			l.first.Add("request %d (%s %s), sent %.2f s after the death of %s, came to %s",
				hit.Seq, j.Request.Method, j.Request.Path,
				(hit.Sent - e.Mark.From).Seconds(), e.Server.Host, outcomeOf(hit))
		}
	}
	l.asked += asked
	l.predict(e, pool, asked)
}

// gatewayFailed reports whether a status says that a gateway got no answer (RFC 9110, section 15.6.3 on).
func gatewayFailed(code int) bool { return code >= 502 && code <= 504 }

// predict adds how many of the requests that were sent during a death were meant for the dead server before it was
// known to be dead.
func (l *losses) predict(e *outage.Episode, pool model.Pool, asked int) {
	a := e.Server.Active
	if a == nil {
		return
	}
	soonest, latest, _ := a.Down()
	dead := e.Mark.Ended - e.Mark.From
	share := float64(max(1, e.Server.Weight)) / float64(weightOf(pool))
	meant := float64(asked) * share / dead.Seconds()          // a second
	if l.what.Next == model.NextTurn && l.what.Attempts > 1 { // each attempt meets it in its turn (λ·p^attempts·T)
		meant *= math.Pow(share, float64(l.what.Attempts-1))
		soonest = 0 // where few are under way the next turn is another's
	}
	l.least += meant * min(soonest, dead).Seconds()
	l.most += meant * min(latest+e.Mark.From-e.Alive+outage.Slack, dead).Seconds()
}

// seeHung counts what became of a pool's requests while a server hung. One that failed had waited for as long as it
// may; where timeouts send requests elsewhere, and the server cannot have seen this one or it may be repeated, it does
// not fail at all.
func (l *losses) seeHung(e *outage.Episode, h history.History, pool model.Pool, gone []outage.Window) {
	waits := e.Waits(h.Plan.Config, pool.Name)
	if e.Rate == 0 || waits == 0 || e.Mark.Ended-e.Mark.From < waits+outage.Slack {
		return
	}
	l.deaths++
	for hit := range h.Hits {
		if hit.Sent < e.Mark.From || hit.Sent > e.Mark.Ended-waits {
			continue
		}
		j, ok := l.counts(hit, pool, gone)
		if !ok {
			continue
		}
		l.hung++
		method := j.Request.Method
		if hit.Server != "" || hit.Err == history.Timeout {
			l.late.add(method, false)
		}
		if hit.Err == history.Timeout || hit.Err == "" && !gatewayFailed(hit.Code) { // the client's own, or an answer
			continue
		}
		switch took := hit.Done - hit.Sent; {
		case l.resentFrom(e, method, waits):
			l.wrong.Add("request %d (%s %s), sent while %s hung, came to %s, where it is to be sent to another server",
				hit.Seq, method, j.Request.Path, e.Server.Host, outcomeOf(hit))
		case took < waits-outage.Slack:
			l.wrong.Add("request %d (%s %s), sent while %s hung, came to %s after %.2f s; it may wait for %g s",
				hit.Seq, method, j.Request.Path, e.Server.Host, outcomeOf(hit), took.Seconds(), waits.Seconds())
		default:
			l.late.add(method, true)
		}
	}
}

// resentFrom reports whether a request that a hanging server has kept waiting is sent to another one for certain.
func (l *losses) resentFrom(e *outage.Episode, method string, waits time.Duration) bool {
	t := l.what
	if t.Attempts == 1 || t.Within > 0 && waits >= t.Within {
		return false
	}
	unseen := e.Mark.Event.Fault.Effect() == plan.Vanishes // by the server
	if unseen && elsewhere(t) {
		return true
	}
	byTimeout := t.Next == model.NextOther && t.On.Has(model.CauseSilence)
	return byTimeout && (unseen || t.Repeats(method))
}

// outcomeOf is what a client saw: a status, or why there was none.
func outcomeOf(hit history.Hit) string {
	if hit.Err != "" {
		return string(hit.Err)
	}
	return fmt.Sprint(hit.Code)
}
