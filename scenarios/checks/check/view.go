package check

import (
	"net/url"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// RequestRoute is the request of a hit, and the route that the configuration selects for it.
type RequestRoute struct {
	Phase   int
	Request plan.Request
	Route   model.Route
	Key     string // of the route
	Tunnel  bool   // a message of a WebSocket connection, whose server was selected when it was opened
}

// RouteFinder returns a function that finds the route of a hit by its number; nil: the plan sends no such hit.
func RouteFinder(h history.History) func(seq uint64) *RequestRoute {
	all := make([][]RequestRoute, len(h.Plan.Phases))
	first := make([]uint64, len(h.Plan.Phases))
	for i, l := range h.Plan.Phases {
		first[i] = h.Plan.FirstHit(i)
		for _, r := range l.Requests {
			route := findRoute(h.Plan.Config, r, HostOf(h, r))
			tunnel := l.Engine == plan.WebSocket
			all[i] = append(all[i], RequestRoute{Phase: i, Request: r, Route: route, Key: route.Key(), Tunnel: tunnel})
		}
	}
	return func(seq uint64) *RequestRoute {
		for i, l := range h.Plan.Phases {
			if seq >= first[i] && seq-first[i] < uint64(l.Count) {
				return &all[i][l.RequestIndex(int(seq-first[i]))]
			}
		}
		return nil
	}
}

// WithoutSubrequests leaves out the arrivals of the balancer's own subrequests, recognized by the path that the backend
// recorded.
func WithoutSubrequests(h history.History) history.History {
	authPaths := map[string]bool{}
	for _, r := range h.Plan.Config.Routes {
		if !r.HasBackendAuth() {
			continue
		}
		for _, by := range h.Plan.Config.Routes {
			if by.Path == r.Auth.Target {
				authPaths[by.BackendPath(by.Path)] = true
			}
		}
	}
	if len(authPaths) == 0 {
		return h
	}
	arrivals := h.Arrivals
	h.Arrivals = func(yield func(history.Arrival) bool) {
		for a := range arrivals {
			if noted, err := url.ParseQuery(a.Header); err == nil && authPaths[noted.Get(history.PathField)] {
				continue
			}
			if !yield(a) {
				return
			}
		}
	}
	return h
}

// WithoutCopies leaves out the arrivals of mirrored copies.
func WithoutCopies(h history.History) history.History {
	if !slices.ContainsFunc(h.Plan.Config.Routes, func(r model.Route) bool { return len(r.Mirrors) > 0 }) {
		return h
	}
	find, arrivals := RouteFinder(h), h.Arrivals
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

// TrafficRouteFinder is RouteFinder without probes.
func TrafficRouteFinder(h history.History) func(seq uint64) *RequestRoute {
	find := RouteFinder(h)
	return func(seq uint64) *RequestRoute {
		j := find(seq)
		if j == nil {
			return nil
		}
		isProbe := !strings.HasPrefix(j.Request.Header[history.ResponseSpecHeader], localSpec)
		if isProbe && h.Plan.Phases[j.Phase].Engine == plan.Prober {
			return nil
		}
		return j
	}
}

// IsRelevant reports whether a phase was designed for a check, possibly among others.
func IsRelevant(l plan.Phase, check plan.Check) bool {
	return len(l.Checks) == 0 || slices.Contains(l.Checks, check)
}

// FilterPhases leaves out the phases that are not relevant to a check.
func FilterPhases(h history.History, check plan.Check) history.History {
	relevant := make([]bool, len(h.Plan.Phases))
	all := true
	for i, l := range h.Plan.Phases {
		relevant[i] = IsRelevant(l, check)
		all = all && relevant[i]
	}
	if all {
		return h
	}
	hits, arrivals := h.Hits, h.Arrivals
	h.Hits = func(yield func(history.Hit) bool) {
		for hit := range hits {
			if relevant[hit.Phase] && !yield(hit) {
				return
			}
		}
	}
	find := RouteFinder(h)
	h.Arrivals = func(yield func(history.Arrival) bool) {
		for a := range arrivals {
			if j := find(a.Seq); (j == nil || relevant[j.Phase]) && !yield(a) {
				return
			}
		}
	}
	isOther := func(w history.FaultWindow) bool { return !relevant[w.Event.Phase] }
	h.Env.Faults = slices.DeleteFunc(slices.Clone(h.Env.Faults), isOther)
	return h
}
