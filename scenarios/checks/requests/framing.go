package requests

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Framing = check.Check{
	Name: plan.CheckFraming,
	Doc:  "A request with an ambiguous length is never split into two requests (request smuggling).",
	Law: "requests with two lengths (RFC 9112, section 6.3), the longer of which hides a second request: backends must " +
		"not receive more requests than the client gets responses",
	Probes: framingProbes,
	Claims: func(cfg model.Config) []plan.Claim {
		var claims []plan.Claim
		for _, l := range cfg.Listeners {
			if !slices.ContainsFunc(check.ProxiedRoutes(cfg), func(r model.Route) bool { return r.Port == l.Port }) {
				continue
			}
			name := fmt.Sprintf("port %d", l.Port)
			claims = append(claims, plan.Claim{
				ID: check.ClaimID(plan.CheckFraming, name, ""), Check: plan.CheckFraming, Subject: name, Pos: l.Pos, Implicit: true,
				Params: plan.Params{plan.ParamPort: plan.Amount(l.Port)},
				Text: fmt.Sprintf("A request to %s with Content-Length and Transfer-Encoding, or with two lengths, is refused "+
					"or forwarded exactly once.", name),
			})
		}
		return check.DistinctIDs(claims)
	},
}

// smuggledRequest is a request hidden in the body of r, seen by whoever takes that body to be shorter. Its number is
// filled in when it is sent.
func smuggledRequest(r plan.Request) string {
	host := r.Header["Host"]
	if host == "" {
		host = plan.CertificateHost
	}
	return fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n%s: %s\r\n\r\n",
		r.Path, host, history.IDHeader, history.IDPlaceholder,
		history.ResponseSpecHeader, r.Header[history.ResponseSpecHeader])
}

func framingProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	routes := check.CandidateRoutes(cfg, claim, func(r model.Route) bool {
		return plan.Amount(r.Port) == claim.Params[plan.ParamPort] && r.Pool != "" && len(r.Access) == 0
	})
	for _, r := range routes[:min(1, len(routes))] {
		plain, _ := check.RequestWithSpec(cfg, r, "")
		second := smuggledRequest(plain)
		add := func(label, body string, fields ...string) {
			request, _ := check.RequestWithSpec(cfg, r, "")
			request.Method, request.Body, request.StallAt = "POST", model.Bytes(body), plan.StallAfterResponses
			for i := 0; i < len(fields); i += 2 {
				request.Header[fields[i]] = fields[i+1]
			}
			probes = append(probes, check.Probe{
				Case: label, Kind: plan.KindProbes, Request: request,
				Want: check.Want{CustomMismatch: describeSmuggling},
			})
		}
		whole, short := "0\r\n\r\n"+second, fmt.Sprintf("%x\r\n", len(second))
		add("chunks that end before the Content-Length", whole, "Transfer-Encoding", "chunked", "Content-Length",
			strconv.Itoa(len(whole)))
		add("a Content-Length that ends before the chunks", short+second+"\r\n0\r\n\r\n", "Transfer-Encoding", "chunked",
			"Content-Length", strconv.Itoa(len(short)))
		add("an encoding that only some take for chunked", whole, "Transfer-Encoding", "xchunked", "Content-Length",
			strconv.Itoa(len(whole)))
		add("two Content-Length fields", second, "Content-Length", fmt.Sprintf("0\r\nContent-Length: %d", len(second)))
	}
	return probes, ""
}

// describeSmuggling reports that backends received more requests than the client got responses; "" if they did not.
func describeSmuggling(header url.Values, arrived []history.Arrival) string {
	responses, _ := strconv.Atoi(header.Get(history.ResponseCountField)) // absent if the connection ended
	if n := len(arrived); n > max(1, responses) {
		return fmt.Sprintf("reached backends %d times, but the client got %s", n, units.Plural(responses, "response"))
	}
	return ""
}
