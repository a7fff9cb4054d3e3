package check

import (
	"net/url"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Journey is what a hit sent, and which way the configuration sends it.
type Journey struct {
	Load    int
	Request plan.Request
	Route   model.Route
	Key     string // of the route
	Tunnel  bool   // it is a message of a WebSocket connection, whose way was chosen when that was opened
}

// Journeys finds the journey of a hit by its number; nil where the plan sends no such hit.
func Journeys(h history.History) func(seq uint64) *Journey {
	all := make([][]Journey, len(h.Plan.Phases))
	first := make([]uint64, len(h.Plan.Phases))
	for i, l := range h.Plan.Phases {
		first[i] = h.Plan.First(i)
		for _, r := range l.Requests {
			route := routeTaken(h.Plan.Config, r, HostOf(h, r))
			tunnel := l.Engine == plan.WebSocket
			all[i] = append(all[i], Journey{Load: i, Request: r, Route: route, Key: route.Key(), Tunnel: tunnel})
		}
	}
	return func(seq uint64) *Journey {
		for i, l := range h.Plan.Phases {
			if seq >= first[i] && seq-first[i] < uint64(l.Count) {
				return &all[i][l.Which(int(seq-first[i]))]
			}
		}
		return nil
	}
}

// WithoutSubrequests leaves out the arrivals of requests by which the balancer asks a backend on its own account,
// where that noted the path.
func WithoutSubrequests(h history.History) history.History {
	asked := map[string]bool{}
	for _, r := range h.Plan.Config.Routes {
		if !r.AsksBackend() {
			continue
		}
		for _, by := range h.Plan.Config.Routes {
			if by.Path == r.Auth.By {
				asked[by.Seen(by.Path)] = true
			}
		}
	}
	if len(asked) == 0 {
		return h
	}
	arrivals := h.Arrivals
	h.Arrivals = func(yield func(history.Arrival) bool) {
		for a := range arrivals {
			if noted, err := url.ParseQuery(a.Header); err == nil && asked[noted.Get(history.NotedPath)] {
				continue
			}
			if !yield(a) {
				return
			}
		}
	}
	return h
}

// WithoutCopies leaves out the arrivals of copies, of which another promise is.
func WithoutCopies(h history.History) history.History {
	if !slices.ContainsFunc(h.Plan.Config.Routes, func(r model.Route) bool { return len(r.Mirrors) > 0 }) {
		return h
	}
	find, arrivals := Journeys(h), h.Arrivals
	h.Arrivals = func(yield func(history.Arrival) bool) {
		for a := range arrivals {
			if j := find(a.Seq); j != nil && slices.Contains(MirrorServers(h.Plan.Config, j.Route), a.Server) {
				continue
			}
			if !yield(a) {
				return
			}
		}
	}
	return h
}

// PlainJourneys are the journeys of requests that are not made to be odd.
func PlainJourneys(h history.History) func(seq uint64) *Journey {
	find := Journeys(h)
	return func(seq uint64) *Journey {
		j := find(seq)
		if j == nil {
			return nil
		}
		odd := !strings.HasPrefix(j.Request.Header[history.WishHeader], inner)
		if odd && h.Plan.Phases[j.Load].Engine == plan.Prober {
			return nil
		}
		return j
	}
}

// BearsOn says whether a phase was sent for a kind of promise, among others.
func BearsOn(l plan.Phase, check plan.Check) bool {
	return len(l.Checks) == 0 || slices.Contains(l.Checks, check)
}

// FocusOn leaves out the phases that do not bear on a kind of promise.
func FocusOn(h history.History, check plan.Check) history.History {
	bears := make([]bool, len(h.Plan.Phases))
	all := true
	for i, l := range h.Plan.Phases {
		bears[i] = BearsOn(l, check)
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
	find := Journeys(h)
	h.Arrivals = func(yield func(history.Arrival) bool) {
		for a := range arrivals {
			if j := find(a.Seq); (j == nil || bears[j.Load]) && !yield(a) {
				return
			}
		}
	}
	h.Env.Marks = slices.DeleteFunc(slices.Clone(h.Env.Marks), func(m history.Mark) bool { return !bears[m.Event.Phase] })
	return h
}
