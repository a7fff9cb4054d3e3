package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// HealTime is how long after a fault requests may still meet its effects.
const HealTime = 15 * time.Second

// IsDuringFault says whether a fault was in force, or only just healed, while a hit was under way.
func IsDuringFault(h history.History, hit history.Hit) bool {
	return slices.ContainsFunc(h.Env.Faults, func(m history.FaultWindow) bool {
		return hit.Done >= m.RequestedAt && hit.Sent <= m.EndsBy+HealTime
	})
}

// ResponderOf answered a hit.
func ResponderOf(hit history.Hit) string {
	switch {
	case hit.Err != "":
		return "nobody"
	case hit.Server == "":
		return "the balancer"
	}
	return hit.Server
}

// Evidence is what a check takes from a history. The zero value: hits and arrivals of clients' own requests.
type Evidence struct {
	// Subrequests reports whether what the balancer asks backends on its own account counts too; nil: it does not.
	Subrequests func(model.Config, plan.Claim) bool
	// Copies: mirrored arrivals count.
	Copies bool
	// MatchedArrivals: the check needs to know whose each arrival is, and so decides nothing where the balancer sends a client's
	// id on its own account.
	MatchedArrivals bool
	// FailedAttempts reports whether failed attempts, which carry no id, must be told apart too; noted: every request says
	// what it is for. nil: the check counts no attempts.
	FailedAttempts func(cfg model.Config, claim plan.Claim, noted bool) bool
	// Undisturbed: an attempt that failed unexplained makes a counter-example undecided.
	Undisturbed bool
}

// Always is the evidence of a check that takes it for every claim.
func Always(model.Config, plan.Claim) bool { return true }

// WhyAmbiguous says why arrivals do not tell what became of a client's request: where the balancer asks backends on its own
// account (a mirror, or whether a request may pass), it does so with the client's headers, the id among them.
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
			return pos.String() + ": the balancer asks backends with the client's id on its own account too, " +
				"and lbproof cannot tell those requests apart yet"
		}
	}
	return ""
}

// WhyLedgerIncomplete says which backends' ledgers have rows missing; empty where none has.
func WhyLedgerIncomplete(h history.History) string {
	if len(h.Env.LedgerGaps) == 0 {
		return ""
	}
	return "the backends' ledger is not whole: " + strings.Join(h.Env.LedgerGaps, "; ")
}

// WhyNodeExited says which container was gone before the traffic ended; empty where none was. What failed then may be the
// environment's doing.
func WhyNodeExited(h history.History) string {
	for _, n := range h.Env.Nodes {
		if n.Exit != "" {
			return fmt.Sprintf("%s ended before the traffic did, with %s", n.Name, n.Exit)
		}
	}
	return ""
}

// MatchLog are the lines of the balancer's log that fit one of its Dialect's forms.
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

// IdempotentMethods are the methods that a proxy may send again by itself (RFC 9110, section 9.2.2).
var IdempotentMethods = []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"}
