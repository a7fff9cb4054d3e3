package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

var own = Check{
	Name: "own",
	Doc: "Pages of the balancer itself (status, statistics, metrics, files) are served by it where the configuration says, to " +
		"those whom it lets in.",
	Law:       "one answer from elsewhere refutes",
	Questions: ownQuestions,
	Claims: func(cfg model.Config) []plan.Claim {
		var claims []plan.Claim
		for _, r := range cfg.Routes {
			if r.Own == nil || r.Internal {
				continue
			}
			who := "anyone who reaches the port"
			switch {
			case r.Auth != nil:
				who = "those whom " + r.Auth.By + " lets in"
			case len(r.Access) > 0:
				who = "those whom its allow and deny lines let in"
			}
			claims = append(claims, plan.Claim{
				ID: id("own", r.Key(), ""), Check: "own", Subject: r.Key(), Pos: r.Own.Pos,
				Text: fmt.Sprintf("%s serves %s to %s; no backend sees it.", r.Key(), r.Own.What, who),
			})
		}
		return distinct(claims)
	},
}

func ownQuestions(cfg model.Config, claim plan.Claim) (asked []Question, cannot string) {
	r, ok := routeOf(cfg, claim)
	if host, askable := r.Askable(); ok && askable {
		request := plan.Request{Method: "GET", Port: r.Port, TLS: r.TLS, Path: r.Path, Header: wish("")}
		if host != "" {
			request.Header["Host"] = host
		}
		want := Reply{Codes: []int{200}, Own: true, Access: r.Access}
		if from, ok := welcome(r.Access); ok && len(r.Access) > 0 {
			request.From, want.From = from, from
		}
		if r.Auth != nil {
			want.Codes = []int{401}
		}
		asked = append(asked, Question{"as anyone may ask", Asked, request, want})
	}
	return asked, ""
}
