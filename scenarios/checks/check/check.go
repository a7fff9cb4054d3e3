package check

import (
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Check is one kind of promise.
type Check struct {
	Name plan.Check
	Doc  string // what is promised
	Law  string // what an honest run keeps to, and so what refutes
	// Claims lists the promises of this kind that a configuration makes.
	Claims func(model.Config) []plan.Claim
	// ExtraRequests are requests that judging the claim needs and that a scenario may not send; nil where any traffic will do.
	ExtraRequests func(model.Config, plan.Claim) []plan.Request
	// Requirements are traffic that shows whether the claim holds, where lbproof designs the experiments; nil where Probes
	// will do.
	Requirements func(model.Config, plan.Claim, DesignParams) []Requirement
	// Probes are single requests and what is to come of each, where that is all there is to judge; cannot says why
	// no run could ask them. A check with questions needs no Trials and no Judge.
	Probes func(model.Config, plan.Claim) (asked []Probe, cannot string)
	// SharedKind is a kind of questions that take too long for what they tell of the claim: they are asked where another
	// check asks some of the kind.
	SharedKind plan.PhaseKind
	// ObservedHeaders lists the request headers that backends must keep for its claims to be judged; nil: none.
	ObservedHeaders func(model.Config) []string
	// Evidence is what Judge takes from a history beside the hits and arrivals of clients' own requests.
	Evidence Evidence
	// Judge weighs the evidence that a history holds on one claim; nil where there is no experiment yet.
	Judge func(plan.Claim, history.History) Finding
}

// CanJudge says whether there is an experiment for its claims.
func (c Check) CanJudge() bool { return c.Judge != nil || c.Probes != nil }

// ProbesIn are its questions without those that a plan does not ask because nothing else needs their kind.
func (c Check) ProbesIn(p plan.Plan) probeFunc {
	sent := func(q Probe) bool {
		key := requestKey(WithHeader(q.Request, p.ProbeHeader))
		return slices.ContainsFunc(p.Phases, func(l plan.Phase) bool {
			same := func(r plan.Request) bool { return requestKey(r) == key }
			return l.Engine == plan.Prober && slices.ContainsFunc(l.Requests, same)
		})
	}
	return func(cfg model.Config, claim plan.Claim) (asked []Probe, cannot string) {
		asked, cannot = c.Probes(cfg, claim)
		return slices.DeleteFunc(asked, func(q Probe) bool { return q.Kind == c.SharedKind && !sent(q) }), cannot
	}
}

// NoExperiment is what is said of a claim that no check can judge yet.
const NoExperiment = "no experiment yet"
