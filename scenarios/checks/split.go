package checks

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
)

var split = Check{
	Name: "split",
	Doc:  "Shares of the traffic go to different pools (canary, A/B).",
	Law: "a split by hash is an exact function of the key, and over keys binomial; one by turns keeps to the envelope of " +
		"weighted round robin",
	Claims: func(cfg lb.Config) []lb.Claim {
		var claims []lb.Claim
		for _, s := range cfg.Splits {
			var parts []string
			params := map[string]float64{}
			for _, share := range s.Shares {
				parts = append(parts, fmt.Sprintf("%s %.4g %%", share.Pool, 100*share.Share))
				params[share.Pool] = share.Share
			}
			by := "request by request"
			if s.Key != "" {
				by = "by the hash of " + s.Key + ", the same key always to the same"
			}
			claims = append(claims, lb.Claim{
				ID: id("split", s.Name, ""), Check: "split", Subject: s.Name, Pos: s.Pos, Params: params,
				Text: fmt.Sprintf("%s splits its requests %s: %s.", s.Name, by, strings.Join(parts, ", ")),
			})
		}
		return claims
	},
}
