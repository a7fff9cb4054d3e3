package check

import (
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Check is one kind of claim.
type Check struct {
	Name plan.Check
	Doc  string // what the configuration claims
	Law  string // what holds in the run of a correct balancer; a violation refutes the claim
	// Claims lists the claims of this kind that a configuration makes.
	Claims func(model.Config) []plan.Claim
	// ExtraRequests lists requests that the claim needs and that a scenario may not send; nil: any traffic will do.
	ExtraRequests func(model.Config, plan.Claim) []plan.Request
	// Requirements lists the traffic and outages that decide the claim when lbproof designs the phases; nil:
	// ExtraRequests or Probes will do.
	Requirements func(model.Config, plan.Claim, DesignParams) []Requirement
	// Probes lists single requests with their expected responses, for claims that need no other evidence; untestable
	// is the reason why no run can send them. A check with Probes needs neither Requirements nor Judge.
	Probes func(model.Config, plan.Claim) (probes []Probe, untestable string)
	// SharedKind is a kind of probes too slow to be sent for this check alone: they are sent only in phases that another
	// check needs.
	SharedKind plan.PhaseKind
	// ObservedHeaders lists the request headers that backends must record for its claims; nil: none.
	ObservedHeaders func(model.Config) []string
	// Evidence tells which parts of a history Judge needs besides the hits and arrivals of the clients' own requests.
	Evidence Evidence
	// Judge evaluates the evidence on one claim; nil: the claim cannot be tested yet, or its Probes decide it.
	Judge func(plan.Claim, history.History) Finding
}

// CanJudge reports whether lbproof can test claims of this kind.
func (c Check) CanJudge() bool { return c.Judge != nil || c.Probes != nil }

// ProbesIn returns the check's probes without those of SharedKind that a plan does not send.
func (c Check) ProbesIn(p plan.Plan) probeFunc {
	sent := func(q Probe) bool {
		key := requestKey(WithHeader(q.Request, p.ProbeHeader))
		return slices.ContainsFunc(p.Phases, func(l plan.Phase) bool {
			same := func(r plan.Request) bool { return requestKey(r) == key }
			return l.Engine == plan.Prober && slices.ContainsFunc(l.Requests, same)
		})
	}
	return func(cfg model.Config, claim plan.Claim) (probes []Probe, untestable string) {
		probes, untestable = c.Probes(cfg, claim)
		return slices.DeleteFunc(probes, func(q Probe) bool { return q.Kind == c.SharedKind && !sent(q) }), untestable
	}
}

// NoExperiment is the reason for a claim that lbproof cannot test yet.
const NoExperiment = "lbproof cannot test this yet"
