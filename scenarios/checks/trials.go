package checks

import (
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Trial is traffic that shows whether a claim holds.
type Trial struct {
	// Kind names the phase. Trials of the same kind can be one phase, in which the requests of each take turns.
	Kind string
	Load plan.Phase // Requests of one claim, and Count for them; a Name is not needed
	// Apart is a trial of one request and many clients, which no other trial is to have: where they share a phase, its clients, its rate
	// and its requests come on top of the others'.
	Apart bool
	// Slow are servers that take longer for every answer while the phase lasts.
	Slow []Slowed
	// Vanish are servers to which no packet gets through while the phase lasts.
	Vanish []string
	// Kill are servers that die and come back, one after another.
	Kill []string
	// Gone are servers that die all at once.
	Gone  []string
	Lasts time.Duration // how long they are dead, at least
	// Ail are servers whose health checks are answered late, one time after another.
	Ail []Ailment
	// Move is a server that has another address for a time.
	Move  string
	Moved time.Duration // for how long
	// Reload is when, since the phase began, the balancer takes over its configuration again; 0 is never.
	Reload time.Duration
	// Shows is what the trial would find out, one sentence without a full stop.
	Shows string
}

// Slowed is a server that takes longer for every answer.
type Slowed struct {
	Host  string
	Delay time.Duration
}

// Ailment is how late a server's health checks are answered, for how long, and how long after that it is back at the latest.
type Ailment struct {
	Host                string
	Delay, Lasts, After time.Duration
}

// Terms are what trials are designed for.
type Terms struct {
	Alpha, Beta float64
	CPUs        int // that the balancer sees
}

// Kinds of trials, in the order of their phases: what disturbs others comes after them.
const (
	Kept      = "connections"   // connections to backends are counted, of which there are none before
	Turns     = "turns"         // every server of a pool takes turns
	Singly    = "one at a time" // nobody is busy when a server is chosen
	Drawn     = "draws"         // a server is drawn for each request
	Keyed     = "keys"          // a key decides
	Copied    = "copies"        // requests are copied to other servers
	Sessions  = "sessions"      // clients keep their cookies
	Busy      = "busy"          // servers have requests in flight
	Crowd     = "crowd"         // more at a time than servers may be given
	Overload  = "overload"      // more than a limit allows, each limit by clients of its own
	Reloaded  = "reload"        // the balancer takes over its configuration meanwhile
	Asked     = "questions"     // single requests of which each is a case of its own
	Deaths    = "deaths"        // servers are killed under traffic, and come back
	Ailing    = "slow checks"   // health checks are answered late, once in time and once not
	Elsewhere = "moves"         // servers have other addresses for a time
	Calm      = "calm"          // a breaker sees good answers
	Tripping  = "tripping"      // backends answer with errors for so long that a breaker trips
	Tripped   = "tripped"       // and are well again
	Counted   = "counters"      // a page of counters is asked before and after other requests
	Refused   = "refusals"      // more than a limit allows, to see what a refusal looks like
	Waited    = "waits"         // somebody keeps silent until the balancer gives up
	Spoilt    = "failures"      // backends answer with errors, after which a balancer may leave them alone
	Spread    = "errors"        // and are asked one after another
	Severed   = "broken"        // backends do not answer, after which it will
	Vanished  = "vanished"      // servers cannot be connected to
	Backups   = "backups"       // all primary servers die at once
	Forsaken  = "nobody left"   // and their backups with them
)

// patience is how long a question waits for the balancer to give up, and grace how much longer its client does.
const (
	patience = 80 * time.Second
	grace    = 5 * time.Second
)

// Kinds are in the order of their phases.
var Kinds = []string{Kept, Turns, Singly, Drawn, Keyed, Copied, Sessions, Busy, Crowd, Overload, Reloaded, Counted, Asked, Calm, Tripping, Tripped, Refused, Deaths, Ailing, Elsewhere, Waited, Spoilt, Spread, Severed, Vanished, Backups, Forsaken}

// Order is the place of a kind, which may be followed by what it is about.
func Order(kind string) int {
	return slices.IndexFunc(Kinds, func(k string) bool { return kind == k || strings.HasPrefix(kind, k+" ") })
}

// Trials are those of every claim that has some.
func Trials(cfg model.Config, claims []plan.Claim, terms Terms) map[string][]Trial {
	all, needed := map[string][]Trial{}, map[string]bool{}
	for _, claim := range claims {
		check, err := Find(claim.Check)
		var found []Trial
		switch {
		case err != nil:
		case check.Trials != nil:
			found = check.Trials(cfg, claim, terms)
		case check.Questions != nil:
			found = trials(check.Questions, cfg, claim)
		}
		for _, t := range found {
			for i := range t.Load.Requests {
				if t.Load.Engine != plan.Prober { // whose requests may be several claims' questions
					t.Load.Requests[i].Claim = claim.ID
				}
			}
			all[claim.ID] = append(all[claim.ID], t)
			needed[t.Kind] = needed[t.Kind] || t.Kind != check.Beside
		}
	}
	for id, found := range all {
		all[id] = slices.DeleteFunc(found, func(t Trial) bool { return !needed[t.Kind] })
	}
	return all
}

// Plain is a request that a backend answers.
func Plain(cfg model.Config) (plan.Request, bool) {
	for _, r := range proxied(cfg) {
		if len(r.Access) == 0 {
			return ask(r, nil), true
		}
	}
	return plan.Request{}, false
}

// Aside is a request that the balancer answers by itself, and as often as one likes.
func Aside(cfg model.Config) (plan.Request, bool) {
	for _, r := range cfg.Routes {
		if r.Internal || r.Regex || r.Answer == nil && r.Redirect == nil || len(r.Access)+len(r.Limits)+len(r.When)+len(r.Rules) > 0 || r.Auth != nil {
			continue
		}
		request := ask(r, nil)
		if first, ok := cfg.Route(request.Port, request.Header["Host"], request.Path); ok && first.Key() == r.Key() {
			return request, true
		}
	}
	return plan.Request{}, false
}

// toPool is a request that some route takes to a pool, or to a split.
func toPool(cfg model.Config, pool string) (plan.Request, bool) {
	for _, r := range proxied(cfg) {
		if r.Pool == pool && len(r.Access) == 0 {
			return ask(r, nil), true
		}
	}
	return plan.Request{}, false
}

// statesOf is how many balancing states a pool has; 0 where that is not known.
func statesOf(cfg model.Config, pool model.Pool, cpus int) int {
	switch {
	case pool.SharedState:
		return 1
	case cfg.Workers.Auto:
		return cpus
	}
	return max(1, cfg.Workers.Count)
}

// bearsOn says whether a phase was sent for a kind of promise, among others.
func bearsOn(l plan.Phase, check string) bool {
	return len(l.Checks) == 0 || slices.Contains(l.Checks, check)
}

// focused leaves out the phases that do not bear on a kind of promise.
func focused(h history.History, check string) history.History {
	bears := make([]bool, len(h.Plan.Phases))
	all := true
	for i, l := range h.Plan.Phases {
		bears[i] = bearsOn(l, check)
		all = all && bears[i]
	}
	if all {
		return h
	}
	hits, arrivals := h.Hits, h.Arrivals
	h.Hits = func(yield func(history.Hit) bool) {
		for hit := range hits {
			if bears[hit.Load] && !yield(hit) {
				return
			}
		}
	}
	find := journeys(h)
	h.Arrivals = func(yield func(history.Arrival) bool) {
		for a := range arrivals {
			if j := find(a.Seq); (j == nil || bears[j.load]) && !yield(a) {
				return
			}
		}
	}
	h.Env.Marks = slices.DeleteFunc(slices.Clone(h.Env.Marks), func(m history.Mark) bool { return !bears[m.Event.Phase] })
	return h
}
