package checks

import (
	"fmt"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// group is one promise with the routes that share it: what an outer block says for several locations is one promise.
type group[T any] struct {
	what   T
	routes []model.Route
}

// grouped collects what pick finds on the routes by the line that it stands in. An implicit promise has no line of its own:
// those of all routes are one.
func grouped[T any](cfg model.Config, pick func(model.Route) []T, key func(T) string) []group[T] {
	var out []group[T]
	at := map[string]int{}
	for _, r := range cfg.Routes {
		for _, what := range pick(r) {
			k := key(what)
			i, known := at[k]
			if !known {
				i = len(out)
				at[k] = i
				out = append(out, group[T]{what: what})
			}
			out[i].routes = append(out[i].routes, r)
		}
	}
	return out
}

// subject is the key of the first route.
func (g group[T]) subject() string { return g.routes[0].Key() }

// paths names the routes, as "/a, /b and 3 more".
func (g group[T]) paths() string {
	const most = 3
	var keys []string
	seen := map[string]bool{}
	for _, r := range g.routes {
		if !seen[r.Key()] {
			seen[r.Key()] = true
			keys = append(keys, r.Key())
		}
	}
	if len(keys) > most+1 {
		return fmt.Sprintf("%s and %d more", strings.Join(keys[:most], ", "), len(keys)-most)
	}
	return and(keys)
}

// and joins words as a sentence does.
func and(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// id makes a claim's id of its check, its subject and what tells it from others about the same subject.
func id(check, subject, detail string) string {
	name := check + subject
	if !strings.HasPrefix(subject, "/") {
		name = check + "/" + subject
	}
	if detail != "" {
		name += "#" + detail
	}
	return name
}

// seconds are a time as a parameter.
func seconds(d time.Duration) float64 { return d.Seconds() }

// span prints a time without what is zero in it, as 1m and not 1m0s.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return plural(int(d/day), "day")
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// distinct numbers the claims whose ids would be the same otherwise.
func distinct(claims []plan.Claim) []plan.Claim {
	seen := map[string]int{}
	for i, c := range claims {
		seen[c.ID]++
		if n := seen[c.ID]; n > 1 {
			claims[i].ID = fmt.Sprintf("%s~%d", c.ID, n)
		}
	}
	return claims
}

// pools calls f for every pool that requests can reach.
func pools(cfg model.Config, f func(model.Pool) []plan.Claim) []plan.Claim {
	var claims []plan.Claim
	for _, p := range cfg.Pools {
		claims = append(claims, f(p)...)
	}
	return claims
}

// names lists servers as host, with the port where the host alone does not tell them apart.
func names(servers []model.Server) []string {
	var out []string
	for _, s := range servers {
		out = append(out, nameOf(s))
	}
	return out
}

// eachOf names servers of a pool as the subject of a sentence in the singular.
func eachOf(p model.Pool, servers []model.Server) string {
	switch {
	case len(servers) == 1:
		return nameOf(servers[0])
	case len(servers) == len(p.Servers):
		return "Each server of " + p.Name
	}
	return "Each of " + and(names(servers))
}

func nameOf(s model.Server) string {
	if s.Name != "" {
		return s.Name
	}
	return s.Host
}
