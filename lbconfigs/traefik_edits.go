package lbconfigs

import (
	"regexp"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// traefikEdits change the keys of Traefik's files so that they promise something else.
var traefikEdits = Edits{
	Parameters: []Edit{
		{regexp.MustCompile(`\bweight[= :]+(\d+)`), Unlike, []string{"weights", "algorithm", "sticky", "split"}},
		{regexp.MustCompile(`^interval: (\d+m?s?)`), Double, []string{"active"}},
		{regexp.MustCompile(`\bburst: ?(\d+)`), Reduce, nil},
		{regexp.MustCompile(`\b(?:average|amount): (\d+)`), Reduce, nil},
	},
	Nested: true,
	Removable: func(cfg model.Config, line string) bool {
		if strings.HasPrefix(line, "entryPoints:") && len(cfg.Listeners) < 2 {
			return false // without it a router is at the same ones
		}
		return strings.HasPrefix(line, "- ") || strings.Contains(line, ": ") && !strings.HasSuffix(line, ":")
	},
}
