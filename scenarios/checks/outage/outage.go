package outage

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// Responses returns the requests that reached the server since the fault was ordered. With counted, a request failed if
// the client got the status of the fault or another server's response.
func (e *Outage) Responses(h history.History, counted bool) []ForwardedRequest {
	var all []ForwardedRequest
	at := map[uint64]int{}
	for a := range h.Arrivals {
		if a.Seq == 0 || a.At < e.Fault.RequestedAt || a.At > e.Fault.EndsAfter {
			continue
		}
		if a.Server == e.Server.Host {
			at[a.Seq] = len(all)
			all = append(all, ForwardedRequest{At: a.At})
		}
	}
	for hit := range h.Hits {
		if i, ok := at[hit.Seq]; ok && counted {
			all[i].Failed = hit.Server != e.Server.Host || fmt.Sprint(hit.Code) == e.Fault.Event.Settings[plan.SettingStatus]
		}
	}
	slices.SortFunc(all, func(a, b ForwardedRequest) int { return int(a.At - b.At) })
	return all
}

// HasAttempt reports whether anybody tried to connect to the server between two times.
func (e *Outage) HasAttempt(from, to time.Duration) bool {
	return slices.ContainsFunc(e.Attempts, func(at time.Duration) bool { return from <= at && at <= to })
}

// Outage is one period in which a server was down or unhealthy. FindAll fills it in.
type Outage struct {
	// The fault and its server.
	Server         model.Server
	Fault          history.FaultWindow // took effect
	Hangs          bool                // requests get no response, rather than being refused
	OnlyChecksFail bool                // only health checks fail

	// The traffic to the pool in the phase of the fault. If Rate is 0, because the phase has no open loop to the pool, it
	// is unknown how soon the server should get a request, and of the times below only those of Fault and End are
	// evidence.
	Rate        float64       // requests per second to the server while it was up
	Share       float64       // of the pool's rotation; valid without Rate
	burstGap    time.Duration // between two bursts of requests to the pool; 0: no bursts
	RoundRobin  bool          // servers are selected in rotation, so that it is known how soon each gets a request
	LeastConn   bool          // the server with the fewest requests in flight is selected, such as one that is back
	PerWorker   bool          // each worker is a separate instance
	CountsReset bool          // no instance has counted failures of an earlier outage

	// Observations of servers and clients. Times are since the start of the run; 0: none.
	Attempts         []time.Duration // to connect to the server after LastAlive, in order; see KeepAttemptsFor
	LastAlive        time.Duration   // the last request that reached it before the fault, or when the fault was ordered
	LastArrival      time.Duration   // the last request that reached it before the fault ended
	LastEarlyAttempt time.Duration   // the last attempt between the order to end the fault and the server's return
	ReturnedAt       time.Duration   // the first request that reached it after the fault; if it hung: the first one sent
	TrafficUntil     time.Duration   // until when, after its return, the pool had requests without a gap
	End              time.Duration   // the server's next fault, or the end of the traffic
}

// addArrival records a request that reached the server.
func (e *Outage) addArrival(at time.Duration) {
	if at > e.LastAlive && at <= e.Fault.StartsBy {
		e.LastAlive = at
	}
	if at < e.Fault.EndsAfter {
		e.LastArrival = max(e.LastArrival, at)
	}
	if !e.Hangs { // requests that have waited reach it first: see addHangingReturns
		e.addReturn(at)
	}
}

// addReturn records a request that the server got, or was sent, after its return.
func (e *Outage) addReturn(at time.Duration) {
	after := at >= e.Fault.EndsAfter && at < e.End
	if first := e.ReturnedAt == 0 || at < e.ReturnedAt; after && first {
		e.ReturnedAt = at
	}
}

// overlaps reports whether a request of the fault's phase was in flight between LastAlive and End.
func (e *Outage) overlaps(hit history.Hit) bool {
	return hit.Phase == e.Fault.Event.Phase && hit.Done >= e.LastAlive && hit.Sent <= e.End
}

// attemptsBetween returns the indices of the attempts between two times, both included: from first to before end.
func (e *Outage) attemptsBetween(from, to time.Duration) (first, end int) {
	first, _ = slices.BinarySearch(e.Attempts, from)
	end, _ = slices.BinarySearch(e.Attempts, to+1)
	return first, end
}

// MaxRequestGap is the 99.9 % quantile of the time until the next request to the server.
func (e *Outage) MaxRequestGap() time.Duration {
	if e.Rate <= 0 {
		return 0
	}
	return e.burstGap + time.Duration(math.Log(1000)/e.Rate*float64(time.Second))
}

// LastRequest returns when the server got its last request during the outage: attempts for requests are as close
// together as requests, those of health checks are not.
func (e *Outage) LastRequest() time.Duration {
	if e.OnlyChecksFail {
		return e.LastArrival
	}
	near := time.Duration(10 / max(1, e.Rate) * float64(time.Second))
	for i := len(e.Attempts) - 1; i >= 2; i-- {
		if e.Attempts[i]-e.Attempts[i-2] <= near {
			return e.Attempts[i]
		}
	}
	return e.LastAlive
}

// AttemptTimeout returns how long an attempt takes to fail on a route to the pool; 0: at once, or never.
func (e *Outage) AttemptTimeout(cfg model.Config, pool string) time.Duration {
	kind := model.ReadTimeout
	switch {
	case !e.Hangs:
		return 0
	case e.Fault.Event.Fault.Effect() == plan.EffectUnreachable:
		kind = model.ConnectTimeout
	}
	longest := time.Duration(0)
	for _, r := range cfg.Routes {
		for _, t := range r.Timeouts {
			if r.Pool == pool && t.Kind == kind {
				longest = max(longest, t.Duration)
			}
		}
	}
	return longest
}

// IndependentAttempts returns the attempts for a pool's requests that the balancer made knowing that the previous one
// had failed: no request that may have made another was in flight. A balancer without CPU time makes several attempts
// before the first failure counts.
func (e *Outage) IndependentAttempts(h history.History, pool string) []time.Duration {
	attributed, dependent := make([]bool, len(e.Attempts)), make([]bool, len(e.Attempts))
	find := check.RouteFinder(h)
	for hit := range h.Hits {
		if !e.overlaps(hit) {
			continue
		}
		if j := find(hit.Seq); j == nil || j.Route.Pool != pool {
			continue
		}
		first, end := e.attemptsBetween(hit.Sent-refusalNotice, hit.Done)
		for i := first; i < end; i++ {
			attributed[i], dependent[i] = attributed[i] || hit.Sent <= e.Attempts[i], dependent[i] || i > first
		}
	}
	var kept []time.Duration
	for i, at := range e.Attempts {
		if attributed[i] && !dependent[i] {
			kept = append(kept, at)
		}
	}
	return kept
}

// refusalNotice is how long the balancer takes to notice that an attempt was refused.
const refusalNotice = time.Millisecond

// KeepAttemptsFor removes the attempts of other pools that share the server. ok is false if an attempt may belong to
// either.
func (e *Outage) KeepAttemptsFor(h history.History, pool string) (ok bool) {
	if e.Hangs || h.Plan.Phases[e.Fault.Event.Phase].BurstLen < 2 {
		return false
	}
	find, mine, others := check.RouteFinder(h), make([]bool, len(e.Attempts)), make([]bool, len(e.Attempts))
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || !e.overlaps(hit) {
			continue
		}
		owner := others
		if j.Route.Pool == pool {
			owner = mine
		}
		first, end := e.attemptsBetween(hit.Sent, hit.Done)
		for i := first; i < end; i++ {
			owner[i] = true
		}
	}
	var kept []time.Duration
	for i, at := range e.Attempts {
		switch {
		case mine[i] && others[i]:
			return false
		case mine[i]:
			kept = append(kept, at)
		}
	}
	e.Attempts = kept
	return true
}

// BurstsReachCount reports whether the bursts of the phase are so long that each worker that gets one must reach its
// failure count (max_fails=fails). Other workers make no attempts, so that the attempts are a multiple of the count.
func (e *Outage) BurstsReachCount(h history.History, fails int) bool {
	l := h.Plan.Phases[e.Fault.Event.Phase]
	if l.BurstLen < 2 || !e.CountsReset {
		return false
	}
	predictable := e.RoundRobin || e.LeastConn
	return predictable && float64(l.BurstLen)*e.Share >= float64(fails)
}

// ForwardedRequest is a request that the balancer sent to a server.
type ForwardedRequest struct {
	At        time.Duration // of the failed attempt, or of the response
	Conn      int           // of the client
	Failed    bool
	InFlight  bool // it had reached the server before the outage
	AfterSkip bool // an earlier request of the connection went elsewhere without an attempt, during the outage
}

// ForwardedRequests returns the requests that were sent to the server during the outage, in order. Requests that had
// reached it before have failed if another server answered them. Attempts that several connections may have caused are
// left out.
func (e *Outage) ForwardedRequests(h history.History, pool string) []ForwardedRequest {
	c := newCollector(e, h)
	find := check.RouteFinder(h)
	for hit := range h.Hits {
		if !e.overlaps(hit) {
			continue
		}
		if j := find(hit.Seq); j == nil || j.Route.Pool != pool && j.Route.Pool != "" {
			continue
		}
		c.add(hit)
	}
	c.addUnambiguous()
	slices.SortFunc(c.all, func(a, b ForwardedRequest) int { return int(a.At - b.At) })
	return c.all
}

// collector collects the forwarded requests of an outage.
type collector struct {
	*Outage
	candidates   [][]history.Hit          // by attempt: the requests in flight, any of which may have caused it
	inFlight     map[uint64]time.Duration // arrivals before the outage, by request
	skippedSince map[int]time.Duration    // by connection: since when its requests went elsewhere without an attempt
	all          []ForwardedRequest
}

func newCollector(e *Outage, h history.History) *collector {
	c := &collector{
		Outage: e, candidates: make([][]history.Hit, len(e.Attempts)),
		inFlight: map[uint64]time.Duration{}, skippedSince: map[int]time.Duration{},
	}
	for a := range check.WithoutSubrequests(h).Arrivals {
		if a.Server == e.Server.Host && a.At >= e.Fault.RequestedAt && a.At <= e.LastAlive {
			c.inFlight[a.Seq] = a.At
		}
	}
	return c
}

// add records a request, also as a candidate for the attempts made while it was in flight.
func (c *collector) add(hit history.Hit) {
	first, end := c.attemptsBetween(hit.Sent, hit.Done)
	for i := first; i < end; i++ {
		c.candidates[i] = append(c.candidates[i], hit)
	}
	if first >= end {
		c.addSkip(hit)
	}
	mine := hit.Server == c.Server.Host
	if mine && hit.Sent >= c.Fault.EndsAfter {
		c.all = append(c.all, ForwardedRequest{At: hit.Done, Conn: hit.Conn})
	}
	if at, arrived := c.inFlight[hit.Seq]; arrived && !mine {
		c.all = append(c.all, ForwardedRequest{At: at, Conn: hit.Conn, Failed: true, InFlight: true})
	}
}

// addSkip records that another server answered a request without an attempt on this one, at least a second after the
// fault.
func (c *collector) addSkip(hit history.Hit) {
	elsewhere := hit.Server != "" && hit.Server != c.Server.Host
	if !elsewhere || hit.Sent <= c.Fault.StartsBy+time.Second {
		return
	}
	if since, exists := c.skippedSince[hit.Conn]; !exists || hit.Done < since {
		c.skippedSince[hit.Conn] = hit.Done
	}
}

// addUnambiguous records the attempts that only one request can have caused.
func (c *collector) addUnambiguous() {
	for i, inFlight := range c.candidates {
		if len(inFlight) != 1 || inFlight[0].Server == c.Server.Host {
			continue
		}
		since, exists := c.skippedSince[inFlight[0].Conn]
		c.all = append(c.all, ForwardedRequest{
			At: c.Attempts[i], Conn: inFlight[0].Conn, Failed: true, AfterSkip: exists && since < c.Attempts[i],
		})
	}
}
