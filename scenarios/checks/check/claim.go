package check

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
)

// Group is one setting with the routes that share it: a directive in an outer block is one claim about many locations.
type Group[T any] struct {
	What   T
	Routes []model.Route
}

// GroupRoutes groups the settings that pick returns for each route by key, usually their line in the configuration.
// Defaults have no line, so that the default of all routes is one group.
func GroupRoutes[T any](cfg model.Config, pick func(model.Route) []T, key func(T) string) []Group[T] {
	var out []Group[T]
	at := map[string]int{}
	for _, r := range cfg.Routes {
		for _, what := range pick(r) {
			k := key(what)
			i, exists := at[k]
			if !exists {
				i = len(out)
				at[k] = i
				out = append(out, Group[T]{What: what})
			}
			out[i].Routes = append(out[i].Routes, r)
		}
	}
	return out
}

// Subject returns the key of the first route.
func (g Group[T]) Subject() string { return g.Routes[0].Key() }

// Paths lists the routes, such as "/a, /b and 3 more".
func (g Group[T]) Paths() string {
	const most = 3
	var keys []string
	seen := map[string]bool{}
	for _, r := range g.Routes {
		if !seen[r.Key()] {
			seen[r.Key()] = true
			keys = append(keys, r.Key())
		}
	}
	if len(keys) > most+1 {
		return fmt.Sprintf("%s and %d more", strings.Join(keys[:most], ", "), len(keys)-most)
	}
	return units.Join(keys)
}

// ClaimID builds the id of a claim; detail distinguishes it from other claims about the same subject.
func ClaimID(kind plan.Check, subject, detail string) string {
	name := string(kind) + subject
	if !strings.HasPrefix(subject, "/") {
		name = string(kind) + "/" + subject
	}
	if detail != "" {
		name += "#" + detail
	}
	return name
}

// NewClaim returns a claim about a subject; detail distinguishes it from other claims about the same subject.
func NewClaim(kind plan.Check, subject, detail string, pos model.Pos, text string) plan.Claim {
	id := ClaimID(kind, subject, detail)
	return plan.Claim{ID: id, Check: kind, Subject: subject, Detail: detail, Pos: pos, Text: text}
}

// EachRoute collects the claims that f returns for each route.
func EachRoute(routes []model.Route, f func(model.Route) []plan.Claim) []plan.Claim {
	var claims []plan.Claim
	for _, r := range routes {
		claims = append(claims, f(r)...)
	}
	return claims
}

// DistinctIDs appends ~2, ~3, … to the ids of claims that would have the same id.
func DistinctIDs(claims []plan.Claim) []plan.Claim {
	seen := map[string]int{}
	for i, c := range claims {
		seen[c.ID]++
		if n := seen[c.ID]; n > 1 {
			claims[i].ID = fmt.Sprintf("%s~%d", c.ID, n)
		}
	}
	return claims
}
