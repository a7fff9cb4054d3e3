package requests

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Routes = check.Check{
	Name: plan.CheckRoutes,
	Doc:  "A request goes where its host, path and headers send it, also where several routes would fit.",
	Law: "one request that another route took refutes; the probes stand on both sides of every boundary between " +
		"two routes",
	Questions: routeQuestions,
	Claims:    routeClaims,
}

func routeClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	if len(check.ProxiedRoutes(cfg)) < 2 {
		return nil // where all goes the same way, the other checks say so
	}
	var first []model.Route // those that may take requests from others
	for _, r := range cfg.Routes {
		if r.Pool != "" && !r.Internal && (r.Regex || r.Priority > 0) {
			first = append(first, r)
		}
	}
	for _, r := range cfg.Routes {
		if r.Pool == "" || r.Internal {
			continue
		}
		text := fmt.Sprintf("Requests to %s go to %s%s.", r.Key(), r.Pool, precedence(first, r))
		claims = append(claims, check.NewClaim(plan.CheckRoutes, r.Key(), "", r.PoolPos, text))
	}
	return check.DistinctIDs(claims)
}

// looked bounds how many other routes are looked at for each.
const looked = 500

// precedence names a route that takes what this one would otherwise get.
func precedence(first []model.Route, r model.Route) string {
	for _, o := range first[:min(looked, len(first))] {
		switch {
		case o.Pool == r.Pool || o.Port != r.Port || !meet(o, r):
		case r.Priority > 0 && o.Priority > r.Priority:
			return fmt.Sprintf(", unless %s takes them first", o.Key())
		case r.Priority == 0 && o.Regex && !r.Exact && !r.Regex && !r.Final:
			return fmt.Sprintf(", unless the regular expression %s fits", o.Path)
		}
	}
	return ""
}

// meet says whether a request may fit both routes.
func meet(o, r model.Route) bool {
	shared := slices.ContainsFunc(o.Hosts, func(h string) bool { return slices.Contains(r.Hosts, h) })
	if anyHost := len(o.Hosts) == 0 || len(r.Hosts) == 0; !shared && !anyHost {
		return false
	}
	nested := strings.HasPrefix(o.Path, r.Path) || strings.HasPrefix(r.Path, o.Path)
	return nested || o.Regex || r.Regex
}

func routeQuestions(cfg model.Config, claim plan.Claim) (asked []check.Question, cannot string) {
	var r model.Route
	for _, is := range cfg.Routes {
		if is.Key() == claim.Subject && is.PoolPos == claim.Pos {
			r = is
		}
	}
	inside, ok := check.WishingRequest(cfg, r, "")
	if !ok {
		return nil, ""
	}
	want := check.Reply{Pool: r.Pool, Codes: []int{200, 101}}
	asked = append(asked, check.Question{Why: "inside", Kind: plan.KindQuestions, Ask: inside, Want: want})
	ask := func(why, path, host string) {
		request := inside
		request.Path, request.Header = path, maps.Clone(inside.Header)
		if host != "" {
			request.Header["Host"] = host
		}
		if want, known := taken(cfg, request); known && path != "" {
			asked = append(asked, check.Question{Why: why, Kind: plan.KindQuestions, Ask: request, Want: want})
		}
	}
	if len(r.When) > 0 {
		outside := inside
		outside.Header = maps.Clone(inside.Header)
		if check.Miss(r.When[:1], &outside) {
			if want, known := taken(cfg, outside); known {
				why := "where " + r.When[0].Source + " does not hold"
				asked = append(asked, check.Question{Why: why, Kind: plan.KindQuestions, Ask: outside, Want: want})
			}
		}
		return asked, ""
	}
	if !r.Regex {
		ask("below it", inside.Path+"lbproof", "")
	}
	if trimmed := strings.TrimSuffix(inside.Path, "/"); len(trimmed) > 1 {
		ask("a letter less", trimmed[:len(trimmed)-1], "")
		ask("in another case", strings.ToUpper(inside.Path), "")
		ask("below another path", "/lbproof"+inside.Path, "")
	}
	if len(r.Hosts) > 0 {
		ask("for another host", inside.Path, "lbproof.invalid")
	}
	return asked, ""
}

// mayRefuse reports whether something else than a route decides on a request.
func mayRefuse(r model.Route, request plan.Request) bool {
	unknownClient := len(r.Access) > 0 && request.From == ""
	return unknownClient || r.Auth != nil || len(r.Rules) > 0
}

// taken is what is to come of a request by the route that takes it; known is false where that is not for certain.
func taken(cfg model.Config, request plan.Request) (want check.Reply, known bool) {
	unread := func(c model.Condition) bool { return !c.Readable() }
	mayTake := func(o model.Route) bool { return o.Port == request.Port && slices.ContainsFunc(o.When, unread) }
	if slices.ContainsFunc(cfg.Routes, mayTake) {
		return want, false
	}
	r, found := cfg.Route(request.Port, request.Header["Host"], request.Path)
	switch {
	case !found:
		return check.Reply{Codes: []int{400, 404, 421, 503}, Own: true}, true
	case mayRefuse(r, request):
		return want, false
	case r.Pool != "":
		return check.Reply{Pool: r.Pool}, true
	case r.Answer != nil:
		return check.Reply{Codes: []int{r.Answer.Code}, Own: true}, true
	case r.Redirect != nil:
		return check.Reply{Codes: []int{r.Redirect.Code}, Own: true}, true
	}
	return check.Reply{Own: true}, true
}
