package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var state = Check{
	Name: "state",
	Doc: "Workers without a common zone know nothing of each other: turns, failure counts and connection counts are per " +
		"worker.",
	Law: "the counts of the other checks, times the workers",
	Claims: func(cfg lb.Config) []lb.Claim {
		return pools(cfg, func(p lb.Pool) []lb.Claim {
			if p.SharedState || cfg.Workers.Count == 1 || len(p.Servers) < 2 {
				return nil
			}
			return []lb.Claim{{
				ID: id("state", p.Name, ""), Check: "state", Subject: p.Name, Pos: p.Pos, Implicit: true,
				Text: fmt.Sprintf("Each worker has turns, failure counts and connection counts of its own for %s (no zone).", p.Name),
			}}
		})
	},
}
