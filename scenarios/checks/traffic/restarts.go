package traffic

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Restarts = check.Check{
	Name:   plan.CheckRestarts,
	Doc:    "No container restarts or is OOM-killed while the traffic runs, within the scenario's limits.",
	Law:    "container states before, during and after the traffic: one restart refutes",
	Claims: restartClaims,
	Judge:  judgeRestarts,
}

func restartClaims(cfg model.Config) []plan.Claim {
	if len(check.ProxiedRoutes(cfg)) == 0 {
		return nil
	}
	return []plan.Claim{{
		ID: "restarts/stack", Check: plan.CheckRestarts, Subject: "stack", Pos: model.Pos{File: cfg.Files[0].Name},
		Text:        "No container restarts or is OOM-killed while the traffic runs.",
		Assumptions: []string{"the scenario's CPU and memory limits apply"},
	}}
}

func judgeRestarts(_ plan.Claim, h history.History) check.Finding {
	f := check.Finding{
		Need: check.RequestsNeeded(h), Test: "container states before, during and after the traffic",
		Predicted: "0 restarts",
	}
	for range h.Hits {
		f.N++
	}
	restarted, limits := 0, 0
	f.Inconclusive = check.WhyNodeExited(h)
	if len(h.Env.Nodes) == 0 {
		f.Inconclusive = "no container was inspected"
	}
	for _, n := range h.Env.Nodes {
		if hadMemoryFault(h, n.Name) {
			f.Inconclusive = cmp.Or(f.Inconclusive, "a fault exhausted the memory of "+n.Name)
			continue
		}
		restarted += n.Restarts
		if n.Memory > 0 {
			limits++
		}
		switch {
		case n.OOMKilled:
			f.CounterExamples = append(f.CounterExamples, fmt.Sprintf("%s was OOM-killed (limit %d MiB) and restarted %s",
				n.Name, n.Memory>>20, units.Plural(n.Restarts, "time")))
		case n.Restarts > 0:
			f.CounterExamples = append(f.CounterExamples, fmt.Sprintf("%s restarted %s", n.Name,
				units.Plural(n.Restarts, "time")))
		}
	}
	f.Measured = fmt.Sprintf("%d restarts in %d containers", restarted, len(h.Env.Nodes))
	f.Note = fmt.Sprintf("%d containers ran with a memory limit", limits)
	return f
}

// hadMemoryFault reports whether a fault exhausted the memory of a node.
func hadMemoryFault(h history.History, node string) bool {
	return slices.ContainsFunc(h.Env.Faults, func(m history.FaultWindow) bool {
		return m.Event.Fault == plan.FaultMemory && m.Event.Target == node
	})
}
