package requests

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Compression = check.Check{
	Name:   plan.CheckCompression,
	Doc:    "Responses of the configured types and sizes are compressed for clients that accept it; others are not.",
	Law:    "tested on both sides of the minimum size, with a listed and an unlisted type",
	Probes: compressionProbes,
	Claims: func(cfg model.Config) []plan.Claim {
		groups := check.GroupRoutes(cfg, func(r model.Route) []*model.Compress {
			if r.Compress == nil || r.Internal {
				return nil
			}
			return []*model.Compress{r.Compress}
		}, func(c *model.Compress) string { return fmt.Sprint(c.Pos) })
		var claims []plan.Claim
		for _, g := range groups {
			types := "any type"
			if len(g.What.Types) > 0 {
				types = strings.Join(g.What.Types, ", ")
			}
			vary := ""
			if g.What.Vary {
				vary = ", with Vary: Accept-Encoding"
			}
			claims = append(claims, plan.Claim{
				ID: check.ClaimID(plan.CheckCompression, g.Subject(), ""), Check: plan.CheckCompression,
				Subject: g.Subject(), Pos: g.What.Pos,
				Params: plan.Params{plan.ParamMinBytes: plan.Amount(g.What.MinBytes)},
				Text: fmt.Sprintf("Responses from %s of at least %s (%s) are compressed for clients that accept it%s.",
					g.Paths(), units.Bytes(int64(g.What.MinBytes)), types, vary),
			})
		}
		return claims
	},
}

func compressionProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	matches := func(r model.Route) bool { return r.Compress != nil && r.Compress.Pos == claim.Pos && r.Pool != "" }
	for _, r := range check.CandidateRoutes(cfg, claim, matches) {
		c := r.Compress
		listed, least := "text/html", max(c.MinBytes, 1)
		if len(c.Types) > 0 {
			listed = c.Types[0]
		}
		add := func(label, accepts, contentType string, size int, packed bool) {
			request, _ := check.RequestWithSpec(cfg, r, fmt.Sprintf("status=200&size=%d&type=%s",
				size, url.QueryEscape(contentType)))
			request.Header["Accept-Encoding"] = accepts
			want := check.Want{Codes: []int{200}, Pool: r.Pool, Headers: map[string][]string{"Content-Encoding": nil}}
			if packed {
				want.Headers["Content-Encoding"] = []string{"gzip"}
				if c.Vary {
					want.HeadersPresent = []string{"Vary"}
				}
			}
			probes = append(probes, check.Probe{Case: label, Kind: plan.KindProbes, Request: request, Want: want})
		}
		add(fmt.Sprintf("%d B of %s", least, listed), "gzip", listed, least, true)
		add("the client does not accept gzip", "identity", listed, 2*least, false)
		if least > 1 {
			add("one byte below the minimum size", "gzip", listed, least-1, false)
		}
		if len(c.Types) > 0 && !slices.Contains(c.Types, "image/png") {
			add("an unlisted type", "gzip", "image/png", 2*least, false)
		}
	}
	return probes, ""
}
