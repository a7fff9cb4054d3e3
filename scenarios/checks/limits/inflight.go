package limits

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// judgeInFlight judges the number of requests admitted concurrently, per key, while servers are slowed.
func judgeInFlight(h history.History, g check.Group[model.Limit]) check.Finding {
	l := g.What
	f := check.Finding{
		Test:      "bounds on requests in flight at slowed servers, per key; false alarm rate 0",
		Predicted: fmt.Sprintf("at most %d in flight, none refused below that", l.MaxInFlight),
		Power:     "would have caught a limit off by one",
	}
	byKey, unexpected, broken := collect(h, g)
	f.Inconclusive = broken
	pool, _ := h.Plan.Config.Pool(g.Routes[0].Pool)
	slow := outage.SlowPeriods(h, pool)
	if len(slow) == 0 && f.Inconclusive == "" {
		f.Inconclusive = "the servers' response times are unknown; lbproof test CONFIG slows them down"
	}
	arrived := map[uint64]time.Duration{}
	for a := range h.Arrivals {
		arrived[a.Seq] = a.At
	}
	most, refused := 0, 0
	var wrong check.Examples
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		for _, when := range slow {
			c := inFlightTally{
				all: byKey[key], arrived: arrived, window: when,
				rateLimited: mayRateLimit(g.Routes[0], len(byKey[key])),
			}
			sent, n, no := c.judge(l, key, &wrong)
			f.N, most, refused = f.N+sent, max(most, n), refused+no
		}
	}
	f.CounterExamples = append(wrong.List(), unexpected.List()...)
	f.Measured = fmt.Sprintf("at most %d in flight, %s refused", most, units.Number(refused))
	if n := len(countAdmitted(byKey)); n > 1 {
		f.Measured += fmt.Sprintf(", through each of %d balancers in turn", n)
	}
	f.Need = f.N
	if most < l.MaxInFlight || refused == 0 {
		f.Need = f.N + 1
		f.Note = "too few in flight to reach the limit"
	}
	return f
}

// mayRateLimit reports whether a rate may have refused some of a key's requests.
func mayRateLimit(r model.Route, sent int) bool {
	return slices.ContainsFunc(r.Limits, func(o model.Limit) bool {
		return o.Algorithm != model.InFlight && sent > check.AdmittedAtOnce(o)
	})
}

// inFlightTally is the requests of one key while servers are slowed.
type inFlightTally struct {
	all         []limitedRequest
	arrived     map[uint64]time.Duration // at a server, by sequence number
	window      outage.SlowPeriod
	rateLimited bool // a rate may have refused some
}

// judge judges the key: the most requests that were certainly at servers together, and refusals while fewer than the
// limit can have been in flight.
func (c inFlightTally) judge(l model.Limit, key string, wrong *check.Examples) (n, most, refused int) {
	for _, a := range c.all {
		if !c.isWithin(a.hit) {
			continue
		}
		n++
		certain, possible := c.countOthers(a)
		switch {
		case a.admitted && certain > l.MaxInFlight:
			wrong.Add("key %s: %d requests in flight at servers (last: request %d); the limit is %d",
				key, certain, a.hit.Seq, l.MaxInFlight)
		case !a.admitted && possible < l.MaxInFlight && !c.rateLimited:
			wrong.Add("key %s: request %d was refused with at most %d others in flight; the limit is %d",
				key, a.hit.Seq, possible, l.MaxInFlight)
		}
		most = max(most, certain)
		if !a.admitted {
			refused++
		}
	}
	return n, most, refused
}

func (c inFlightTally) isWithin(hit history.Hit) bool {
	return hit.Sent >= c.window.From && hit.Done <= c.window.To
}

// countOthers counts the requests that were certainly at a server when a arrived, including a, and the others that may
// have been in flight when a was decided.
func (c inFlightTally) countOthers(a limitedRequest) (certain, possible int) {
	for _, o := range c.all {
		if !o.admitted {
			continue
		}
		if c.isAtServer(o, a) {
			certain++
		}
		overlaps := o.hit.Sent <= a.hit.Done && o.hit.Done+outage.ReleaseDelay >= a.hit.Sent
		if o.hit.Seq != a.hit.Seq && overlaps {
			possible++
		}
	}
	return certain, possible
}

// isAtServer reports whether o was certainly at a server when a arrived. A backup, which is not slowed, may have
// answered long before its client received the response.
func (c inFlightTally) isAtServer(o, a limitedRequest) bool {
	at, known := c.arrived[o.hit.Seq]
	began, came := c.arrived[a.hit.Seq]
	slow := slices.Contains(c.window.Hosts, o.hit.Server) && c.isWithin(o.hit)
	if !known || !came || !slow {
		return false
	}
	return at <= began && began < min(at+slices.Min(c.window.MinDelays), o.hit.Done)
}
