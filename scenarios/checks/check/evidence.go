package check

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// HealTime is how long the effects of a fault may outlast it.
const HealTime = 15 * time.Second

// IsDuringFault reports whether a hit was in flight during a fault or within HealTime after it.
func IsDuringFault(h history.History, hit history.Hit) bool {
	return slices.ContainsFunc(h.Env.Faults, func(m history.FaultWindow) bool {
		return hit.Done >= m.RequestedAt && hit.Sent <= m.EndsBy+HealTime
	})
}

// ResponderOf names who answered a hit.
func ResponderOf(hit history.Hit) string {
	switch {
	case hit.Err != "":
		return "nobody"
	case hit.Server == "":
		return "the balancer"
	}
	return hit.Server
}

// errorTexts describe why a hit got no response; other errors describe themselves.
var errorTexts = map[history.Err]string{
	history.Refused: "connection refused", history.Reset: "connection reset", history.Closed: "connection closed",
	history.Truncated: "truncated response", history.Malformed: "malformed response", history.DNS: "DNS failure",
	history.HandshakeFailed: "TLS handshake failed",
}

// OutcomeOf formats the outcome of a hit for the client: a status or an error.
func OutcomeOf(hit history.Hit) string {
	if hit.Err == "" {
		return fmt.Sprintf("status %d", hit.Code)
	}
	return cmp.Or(errorTexts[hit.Err], string(hit.Err))
}

// Evidence selects what a check reads from a history. Zero value: hits and arrivals of the clients' own requests.
type Evidence struct {
	// Subrequests reports whether the balancer's own subrequests to backends count as well; nil: they do not.
	Subrequests func(model.Config, plan.Claim) bool
	// Copies: mirrored arrivals count.
	Copies bool
	// MatchedArrivals: the check matches arrivals to client requests, and so decides nothing if the balancer's own
	// subrequests carry a client's request ID.
	MatchedArrivals bool
	// FailedAttempts reports whether failed attempts, which carry no request ID, must be matched as well; noted: all
	// requests name their purpose. nil: the check does not count attempts.
	FailedAttempts func(cfg model.Config, claim plan.Claim, noted bool) bool
	// Undisturbed: counter-examples do not count if the balancer's log reports a failed attempt that no fault caused.
	Undisturbed bool
}

// Always selects the evidence for every claim.
func Always(model.Config, plan.Claim) bool { return true }

// WhyAmbiguous explains why arrivals cannot be matched to client requests, or returns "": subrequests of the balancer
// (mirroring, authentication) carry the headers of the client, including the request ID.
func (e Evidence) WhyAmbiguous(p plan.Plan, claim plan.Claim) string {
	cfg, noted := p.Config, true
	for _, l := range p.Phases {
		for _, r := range l.Requests {
			route, ok := r.RouteIn(cfg)
			noted = noted && (!ok || !route.HasBackendAuth() || r.Header[history.ResponseSpecHeader] != "")
		}
	}
	attempts := e.FailedAttempts != nil && e.FailedAttempts(cfg, claim, noted)
	if !e.MatchedArrivals && !attempts {
		return ""
	}
	for _, r := range cfg.Routes {
		pos, pools := model.Pos{}, []string{r.Pool}
		if (!noted || attempts) && r.HasBackendAuth() {
			pos = r.Auth.Pos
			if attempts {
				pools = nil
			}
			pools = append(pools, poolsAt(cfg, r.Auth.Target)...)
		}
		if len(r.Mirrors) > 0 && len(MirrorServers(cfg, r)) == 0 {
			pos = r.Mirrors[0].Pos
		}
		if pos.File != "" && (claim.Subject == r.Key() || slices.Contains(pools, claim.Subject)) {
			return pos.String() + ": the balancer also sends its own subrequests with the client's request ID, " +
				"and lbproof cannot distinguish them"
		}
	}
	return ""
}

// WhyLedgerIncomplete names the backends whose ledgers have missing rows, or returns "".
func WhyLedgerIncomplete(h history.History) string {
	if len(h.Env.LedgerGaps) == 0 {
		return ""
	}
	return "incomplete ledger of the backends: " + strings.Join(h.Env.LedgerGaps, "; ")
}

// WhyNodeExited names the container that exited before the traffic ended, or returns "": failures after that may be
// caused by the environment.
func WhyNodeExited(h history.History) string {
	for _, n := range h.Env.Nodes {
		if n.Exit != "" {
			return fmt.Sprintf("%s exited before the end of the traffic: %s", n.Name, n.Exit)
		}
	}
	return ""
}

// MatchLog returns the lines of the balancer's log that match one of the expressions of its Dialect.
func MatchLog(h history.History, form string) []history.LogEntry {
	expression, err := regexp.Compile(form)
	if form == "" || err != nil {
		return nil
	}
	var lines []history.LogEntry
	for _, l := range h.Env.LogEntries {
		if expression.MatchString(l.Text) {
			lines = append(lines, l)
		}
	}
	return lines
}

// IdempotentMethods are the methods that a proxy may retry by itself (RFC 9110, section 9.2.2).
var IdempotentMethods = []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"}
