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

// Responses are the requests that reached the episode's server since it was ordered, and which of them failed there:
// those that came to its status, or were sent again elsewhere.
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

// HasAttempt says whether somebody tried to connect to the server within a time.
func (e *Outage) HasAttempt(from, to time.Duration) bool {
	return slices.ContainsFunc(e.Attempts, func(at time.Duration) bool { return from <= at && at <= to })
}

// Outage is one time that a server was dead, or ill. EveryEpisode fills it in.
type Outage struct {
	// What the fault is, and whose.
	Server         model.Server
	Fault          history.FaultWindow // of a fault that was in force
	Hangs          bool                // what is asked of the server is not answered, rather than refused
	OnlyChecksFail bool                // only its health checks fail

	// What the phase of the fault asks the pool for. Where Rate is 0, because no open loop asked it, nothing can be
	// said of how soon the server was asked, and none of the times below but Mark's and Next are evidence.
	Rate        float64       // requests per second that were meant for it while it lived
	Share       float64       // of the pool's turns; valid without Rate
	burstGap    time.Duration // between two rows of requests to the pool; 0 where there are none
	RoundRobin  bool          // the pool's servers take turns, so that it is known how soon each is asked
	LeastConn   bool          // or the one with the fewest requests in flight is asked, which one that is back has
	PerWorker   bool          // states, one in each worker
	CountsReset bool          // no state knows of an earlier death

	// What servers and clients saw. Times count from the beginning of the run; 0 where there was none.
	Attempts         []time.Duration // to connect to it after Alive, in order; with Ours those for one pool's requests alone
	LastAlive        time.Duration   // it still answered then: the last request that reached it, or when the fault was ordered
	LastArrival      time.Duration   // the last request that reached it before the fault ended
	LastEarlyAttempt time.Duration   // the last attempt after the fault's end was ordered and before the server was back
	ReturnedAt       time.Duration   // the first request that reached it after it came back, or that was sent then, where it hung
	TrafficUntil     time.Duration   // until when, after it came back, somebody asked the pool all the time
	End              time.Duration   // when the episode is over: the server's next fault, or the end of the traffic
}

func (e *Outage) addArrival(at time.Duration) {
	if at > e.LastAlive && at <= e.Fault.StartsBy {
		e.LastAlive = at
	}
	if at < e.Fault.EndsAfter {
		e.LastArrival = max(e.LastArrival, at)
	}
	if !e.Hangs { // those that had waited reach it first: see returned
		e.addReturn(at)
	}
}

// addReturn enters a request that the server got, or was sent, at a time after it had come back.
func (e *Outage) addReturn(at time.Duration) {
	after := at >= e.Fault.EndsAfter && at < e.End
	if first := e.ReturnedAt == 0 || at < e.ReturnedAt; after && first {
		e.ReturnedAt = at
	}
}

// overlaps reports whether a request of the fault's phase was under way between the server's death and the end of the
// episode.
func (e *Outage) overlaps(hit history.Hit) bool {
	return hit.Phase == e.Fault.Event.Phase && hit.Done >= e.LastAlive && hit.Sent <= e.End
}

// attemptsBetween are the places of the attempts between two times, both included: from first on, and before end.
func (e *Outage) attemptsBetween(from, to time.Duration) (first, end int) {
	first, _ = slices.BinarySearch(e.Attempts, from)
	end, _ = slices.BinarySearch(e.Attempts, to+1)
	return first, end
}

// MaxRequestGap is how long it takes, but for one time in a thousand, until the next request is meant for the server.
func (e *Outage) MaxRequestGap() time.Duration {
	if e.Rate <= 0 {
		return 0
	}
	return e.burstGap + time.Duration(math.Log(1000)/e.Rate*float64(time.Second))
}

// LastRequest is when the last request was sent to the dead server: of attempts that lie as close together as requests do.
// Those of health checks lie apart.
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

// AttemptTimeout is how long an attempt on the server takes to fail, by the routes that lead to its pool; 0 where it never does.
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

// IndependentAttempts are the attempts for a pool's requests that were made when the balancer knew that the one before had failed: no
// request that may have made one was under way by then. Where the balancer is kept from running, several come to the
// same server before a failure counts.
func (e *Outage) IndependentAttempts(h history.History, pool string) []time.Duration {
	made, blind := make([]bool, len(e.Attempts)), make([]bool, len(e.Attempts))
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
			made[i], blind[i] = made[i] || hit.Sent <= e.Attempts[i], blind[i] || i > first
		}
	}
	var left []time.Duration
	for i, at := range e.Attempts {
		if made[i] && !blind[i] {
			left = append(left, at)
		}
	}
	return left
}

// refusalNotice is how soon the balancer knows that an attempt was refused.
const refusalNotice = time.Millisecond

// KeepAttemptsFor leaves those attempts that were made for a pool's requests, where another pool has the server too. ok is false
// where some may have been for either.
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
		whose := others
		if j.Route.Pool == pool {
			whose = mine
		}
		first, end := e.attemptsBetween(hit.Sent, hit.Done)
		for i := first; i < end; i++ {
			whose[i] = true
		}
	}
	var left []time.Duration
	for i, at := range e.Attempts {
		switch {
		case mine[i] && others[i]:
			return false
		case mine[i]:
			left = append(left, at)
		}
	}
	e.Attempts = left
	return true
}

// BurstsReachCount says whether each client of the phase sends so many requests one after another that its worker must meet a count
// of failures of the dead server's. Each worker that anybody asked has met it then, and nobody asked the others: the
// attempts are a multiple of the count.
func (e *Outage) BurstsReachCount(h history.History, fails int) bool {
	l := h.Plan.Phases[e.Fault.Event.Phase]
	if l.BurstLen < 2 || !e.CountsReset {
		return false
	}
	soon := e.RoundRobin || e.LeastConn
	return soon && float64(l.BurstLen)*e.Share >= float64(fails)
}

// ForwardedRequest is a request that the balancer sent to a server, and which client's connection it was for.
type ForwardedRequest struct {
	At        time.Duration // of the attempt that failed, or by when there was an answer
	Conn      int
	Failed    bool
	InFlight  bool // it had reached the server when that died
	AfterSkip bool // a request of the same connection had not been tried there before, since it died
}

// ForwardedRequests are the requests that reached or would have reached the episode's server, from its death to the end, in
// order. Those that had reached it when it died failed too, if another server answered them. An attempt at the time of
// which several connections had a request to the pool under way is nobody's.
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

// collector are those of an episode in the making.
type collector struct {
	*Outage
	candidates   [][]history.Hit          // by attempt: the requests that were under way, each of which may have made it
	inFlight     map[uint64]time.Duration // requests that had reached the server when it died, and when
	skippedSince map[int]time.Duration    // connections whose requests went elsewhere without an attempt on the server: since when
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

// add enters what a request shows by itself, and that it was under way when attempts were made.
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
	if at, had := c.inFlight[hit.Seq]; had && !mine {
		c.all = append(c.all, ForwardedRequest{At: at, Conn: hit.Conn, Failed: true, InFlight: true})
	}
}

// addSkip notes that a request was answered by another server without an attempt on this one, at least a second after it
// died.
func (c *collector) addSkip(hit history.Hit) {
	elsewhere := hit.Server != "" && hit.Server != c.Server.Host
	if !elsewhere || hit.Sent <= c.Fault.StartsBy+time.Second {
		return
	}
	if since, known := c.skippedSince[hit.Conn]; !known || hit.Done < since {
		c.skippedSince[hit.Conn] = hit.Done
	}
}

// addUnambiguous enters the attempts that only one request can have made.
func (c *collector) addUnambiguous() {
	for i, under := range c.candidates {
		if len(under) != 1 || under[0].Server == c.Server.Host {
			continue
		}
		since, known := c.skippedSince[under[0].Conn]
		c.all = append(c.all, ForwardedRequest{
			At: c.Attempts[i], Conn: under[0].Conn, Failed: true, AfterSkip: known && since < c.Attempts[i],
		})
	}
}
