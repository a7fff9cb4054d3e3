package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

var body = Check{
	Name:      "body",
	Doc:       "Request bodies up to the limit pass, larger ones get 413.",
	Law:       "both sides of the limit, one byte apart",
	Questions: bodyQuestions,
	Claims: func(cfg model.Config) []plan.Claim {
		found := grouped(cfg, func(r model.Route) []model.Number {
			if r.MaxBody == nil || r.Internal {
				return nil
			}
			return []model.Number{*r.MaxBody}
		}, func(n model.Number) string {
			if n.Implicit {
				n.Pos = model.Pos{}
			}
			return fmt.Sprint(n)
		})
		var claims []plan.Claim
		for _, g := range found {
			text := fmt.Sprintf("Requests to %s may have a body of up to %s bytes; a larger one gets 413.", g.paths(), number(int(g.what.Value)))
			if g.what.Value == 0 {
				text = fmt.Sprintf("Requests to %s may have a body of any size.", g.paths())
			}
			claims = append(claims, plan.Claim{
				ID: id("body", g.subject(), ""), Check: "body", Subject: g.subject(), Pos: g.what.Pos, Implicit: g.what.Implicit,
				Params: map[string]float64{"bytes": float64(g.what.Value)}, Text: text,
			})
		}
		return distinct(claims)
	},
}

// largest is the largest body that lbproof sends, bytes.
const largest = 64 << 20

func bodyQuestions(cfg model.Config, claim plan.Claim) (asked []Question, cannot string) {
	limit := int64(claim.Params["bytes"])
	if limit >= largest {
		return nil, fmt.Sprintf("lbproof sends bodies of up to %s bytes", number(largest))
	}
	shares := func(r model.Route) bool {
		return r.MaxBody != nil && r.MaxBody.Value == limit && (r.MaxBody.Implicit && claim.Implicit || r.MaxBody.Pos == claim.Pos) && r.Pool != ""
	}
	for _, r := range candidates(cfg, claim, shares) {
		request, _ := wishing(cfg, r, "")
		request.Method = "POST"
		if limit == 0 {
			request.Size = 4 << 20
			asked = append(asked, Question{"4 MiB", Asked, request, Reply{Not: 413}})
			continue
		}
		request.Size = limit
		asked = append(asked, Question{"as large as allowed", Asked, request, Reply{Not: 413}})
		request.Size++
		asked = append(asked, Question{"a byte larger", Asked, request, Reply{Codes: []int{413}, Own: true}})
	}
	return asked, ""
}
