package traffic

import (
	"maps"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// confidence is the level of the fairness intervals.
const confidence = 0.999

// measureFairness returns, by phase, how far the responses of each pool's servers are from their weights.
func measureFairness(h history.History) [][]report.Fairness {
	out, find := make([][]report.Fairness, len(h.Plan.Phases)), check.RouteFinder(h)
	byPhase := make([]map[string]map[string]int, len(h.Plan.Phases)) // by phase, pool and server
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || hit.Server == "" || j.Route.Pool == "" {
			continue
		}
		if byPhase[hit.Phase] == nil {
			byPhase[hit.Phase] = map[string]map[string]int{}
		}
		pool := byPhase[hit.Phase][j.Route.Pool]
		if pool == nil {
			pool = map[string]int{}
			byPhase[hit.Phase][j.Route.Pool] = pool
		}
		pool[hit.Server]++
	}
	for i, byPool := range byPhase {
		for _, name := range slices.Sorted(maps.Keys(byPool)) {
			pool, _ := h.Plan.Config.Pool(name)
			active := check.Rotation(pool)
			got, picks := make([]int, len(active)), 0
			for k, s := range active {
				got[k] = byPool[name][s.Host]
				picks += got[k]
			}
			if len(active) < 2 || picks == 0 {
				continue
			}
			f := stats.FairnessOf(got, stats.Shares(check.WeightsOf(active)), confidence)
			out[i] = append(out[i], report.Fairness{
				Pool: name, Answers: picks,
				Jain: f.Jain, LowJain: f.LowJain, HighJain: f.HighJain,
				CV: f.CV, LowCV: f.LowCV, HighCV: f.HighCV,
			})
		}
	}
	return out
}
