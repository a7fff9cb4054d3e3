package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var reload = Check{
	Name: "reload",
	Doc:  "A reload loses no request.",
	Law: "one lost request while the balancer takes over a changed file refutes; idle connections that are closed count only " +
		"where the client could not know",
	Claims: func(cfg lb.Config) []lb.Claim {
		if cfg.Reload == nil || len(proxied(cfg)) == 0 {
			return nil
		}
		return []lb.Claim{{
			ID: id("reload", cfg.Balancer, ""), Check: "reload", Subject: cfg.Balancer, Pos: cfg.Reload.Pos, Implicit: true,
			Text: fmt.Sprintf("No request is lost while a changed configuration takes effect (%s).", cfg.Reload.How),
		}}
	},
}
