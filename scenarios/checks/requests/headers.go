package requests

import (
	"cmp"
	"fmt"
	"net/textproto"
	"net/url"
	"regexp"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Headers = check.Check{
	Name: plan.CheckHeaders,
	Doc: "Request headers that a route sets reach the backend with the configured values, even if the client sent " +
		"its own.",
	Law:             "one arrival with a different value refutes",
	Evidence:        check.Evidence{MatchedArrivals: true},
	ObservedHeaders: observedHeaders,
	Claims:          headerClaims,
	ExtraRequests:   check.ForgedRequests,
	Requirements:    check.LocalRequirements,
	Judge:           judgeHeaders,
}

func headerClaims(cfg model.Config) []plan.Claim {
	return check.DistinctIDs(check.EachRoute(check.ProxiedRoutes(cfg), func(r model.Route) (claims []plan.Claim) {
		for _, header := range r.SetHeaders {
			text := fmt.Sprintf("Requests to %s reach the backend with %s: %s.", r.Key(), header.Name, header.Value)
			if header.Value.IsEmpty() {
				text = fmt.Sprintf("Requests to %s reach the backend without %s.", r.Key(), header.Name)
			}
			claims = append(claims, check.NewClaim(plan.CheckHeaders, r.Key(), header.Name, header.Pos, text))
		}
		return claims
	}))
}

// observedHeaders lists the request headers that backends must record so that the claims can be judged.
func observedHeaders(cfg model.Config) []string {
	var names []string
	known := map[string]bool{}
	for _, r := range check.ProxiedRoutes(cfg) {
		for _, header := range r.SetHeaders {
			if name := textproto.CanonicalMIMEHeaderKey(header.Name); !known[name] {
				known[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

func judgeHeaders(claim plan.Claim, h history.History) check.Finding {
	r, ok := check.RouteOf(h.Plan.Config, claim)
	if !ok {
		return check.Finding{Untestable: "the configuration has no route " + claim.Subject}
	}
	header := claimedHeader(r, claim)
	if _, ok := (exchange{route: r}).pattern(header.Value); !ok {
		return check.Finding{Inconclusive: check.NoExperiment + ": " + header.Value.Source + " is not predictable"}
	}
	f := check.Finding{
		Need: check.RequestsNeeded(h), Predicted: header.Value.Source,
		Test: "value received by the backend compared with the configured one, for every arrival",
	}
	if len(r.Access) > 0 {
		f.Need = check.Repetitions
	}
	var wrong check.Examples
	last, arrived, field := "", headerCache{}, textproto.CanonicalMIMEHeaderKey(header.Name)
	find, wanted := check.TrafficRouteFinder(h), map[*check.RequestRoute]fieldValue{}
	for a := range h.Arrivals {
		j := find(a.Seq)
		if j == nil || j.Key != claim.Subject || j.Tunnel {
			continue
		}
		f.N++
		want, known := wanted[j]
		if !known || h.Plan.Phases[j.Phase].Clients.OwnAddresses {
			want = wantedValue(header, exchange{
				route: r, request: j.Request, host: check.HostOf(h, j.Request),
				client: cmp.Or(j.Request.LocalEndpoint, check.ClientAddress(h, j.Phase, a.Seq)),
			})
			wanted[j] = want
		}
		if last = arrived.get(a.Header, field); !want.matches(last) {
			wrong.Add("request %d reached %s with %s: %q instead of %q", a.Seq, a.Server, header.Name, last, want.text)
		}
	}
	f.CounterExamples = wrong.List()
	f.Measured = fmt.Sprintf("%s of %s wrong, last %q", units.Number(wrong.Total), units.Number(f.N), last)
	f.Power = check.RequestPower(f.N, h)
	return f
}

// claimedHeader returns the header field that a claim is about.
func claimedHeader(r model.Route, claim plan.Claim) (header model.Header) {
	for _, set := range r.SetHeaders {
		if set.Name == claim.Detail || set.Pos == claim.Pos {
			header = set
		}
	}
	return header
}

// fieldValue is the value of a header field that a backend must receive.
type fieldValue struct {
	text    string
	pattern *regexp.Regexp // set if the value is not predictable; text is then its source
}

func (v fieldValue) matches(got string) bool {
	if v.pattern != nil {
		return v.pattern.MatchString(got)
	}
	return got == v.text
}

// wantedValue returns what a backend must receive in a header field that the balancer sets, or appends to the
// client's.
func wantedValue(header model.Header, e exchange) fieldValue {
	value := header.Value
	if before := e.request.Header[textproto.CanonicalMIMEHeaderKey(header.Name)]; header.Append && before != "" {
		value.Pieces = append([]model.Piece{{Text: before + ", "}}, value.Pieces...)
	}
	if text, ok := e.expand(value); ok {
		return fieldValue{text: text}
	}
	pattern, _ := e.pattern(value) // exists: judgeHeaders checked it
	return fieldValue{text: pattern.String(), pattern: pattern}
}

// headerCache caches parsed header sets: most arrivals share a few of them.
type headerCache map[string]url.Values

// maxCachedHeaders bounds the cache for runs in which every request has its own header set.
const maxCachedHeaders = 100

// get returns one field of a header set, with several values joined as HTTP joins them; "" if it is absent.
func (d headerCache) get(set, name string) string {
	values, known := d[set]
	if !known {
		values, _ = url.ParseQuery(set) // an unreadable set has no fields, which contradicts the claim
		if len(d) >= maxCachedHeaders {
			clear(d)
		}
		d[set] = values
	}
	if one := values[name]; len(one) == 1 {
		return one[0]
	}
	return strings.Join(values[name], ", ")
}
