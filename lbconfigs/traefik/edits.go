package traefik

import (
	"regexp"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// edits change the keys of Traefik's files so that they claim something else.
var edits = reading.Edits{
	Parameters: []reading.Edit{
		{Find: regexp.MustCompile(`\bweight[= :]+(\d+)`), Replace: reading.NearbyNumber, Checks: []plan.Check{
			plan.CheckWeights, plan.CheckAlgorithm, plan.CheckSticky, plan.CheckSplit,
		}},
		{Find: regexp.MustCompile(`^interval: (\d+m?s?)`), Replace: reading.Double, Checks: []plan.Check{plan.CheckActive}},
		{Find: regexp.MustCompile(`\bburst: ?(\d+)`), Replace: reading.Reduce, Checks: nil},
		{Find: regexp.MustCompile(`\b(?:average|amount): (\d+)`), Replace: reading.Reduce, Checks: nil},
	},
	Nested: true,
	IsRemovable: func(cfg model.Config, line string) bool {
		if strings.HasPrefix(line, "entryPoints:") && len(cfg.Listeners) < 2 {
			return false // without it routers use the only entry point anyway
		}
		return strings.HasPrefix(line, "- ") || strings.Contains(line, ": ") && !strings.HasSuffix(line, ":")
	},
}
