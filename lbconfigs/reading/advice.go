package reading

import (
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Advice is the advice on claims that concern no balancer in particular.
var Advice = []model.Advice{
	{
		Check: string(plan.CheckRestarts),
		Why: "A container ran out of memory or exited: the reason names it, and its log in the run folder has its " +
			"last lines.",
		Instead: "Raise the memory limit of that container in the scenario, or fix what the log names; a balancer with " +
			"too many connections needs fewer of them or more memory.",
	},
	{
		Check: string(plan.CheckQueries),
		Why: "A rule asks for a series that no exporter of this run provides: usually a metric that was renamed, a " +
			"label that does not exist, or an exporter that is not running.",
		Instead: "Write the metric and labels as the exporter names them (`curl EXPORTER/metrics`), or start the exporter " +
			"that has them.",
	},
	{
		Check: string(plan.CheckExpect),
		Why: "What the scenario expects was not met in the phase that the reason names; the claims refuted beside it " +
			"usually explain why.",
		Instead: "Fix those claims first; if the configuration is right as it is, correct the number under `expect` in " +
			"the scenario.",
	},
}
