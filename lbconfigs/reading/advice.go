package reading

import (
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Advice is the advice on claims that concern no balancer in particular.
var Advice = []model.Advice{
	{
		Check: string(plan.CheckRestarts),
		Why:   "A container ran out of memory or exited: the reason names it, and the run folder has its log.",
		Instead: "Raise the memory limit of that container in the scenario, or fix what the log names; a balancer with " +
			"too many connections needs fewer of them or more memory.",
	},
	{
		Check: string(plan.CheckQueries),
		Why: "A rule references a series that no exporter of this run provides: usually a metric that was renamed, a " +
			"label that does not exist, or an exporter that is not running.",
		Instead: "Use the metric and labels of the exporter (`curl EXPORTER/metrics`), or start the exporter that " +
			"provides them.",
	},
	{
		Check: string(plan.CheckExpect),
		Why: "The phase in the reason did not meet the scenario's expectation; other refuted claims usually explain " +
			"why.",
		Instead: "Fix those claims first; if the configuration is correct, change the number under `expect` in the " +
			"scenario.",
	},
}
