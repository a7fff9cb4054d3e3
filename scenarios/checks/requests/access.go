package requests

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Access = check.Check{
	Name:      plan.CheckAccess,
	Doc:       "Clients are let in or kept out by their address.",
	Law:       "one request let in that should not be, or the other way, refutes; asked from addresses on both sides",
	Questions: accessQuestions,
	Claims: func(cfg model.Config) []plan.Claim {
		var claims []plan.Claim
		for _, r := range cfg.Routes {
			if len(r.Access) == 0 || r.Answer != nil {
				continue
			}
			var order []string
			for _, a := range r.Access {
				word := "deny"
				if a.Allow {
					word = "allow"
				}
				order = append(order, word+" "+a.From)
			}
			claims = append(claims, plan.Claim{
				ID: check.ClaimID(plan.CheckAccess, r.Key(), ""), Check: plan.CheckAccess, Subject: r.Key(), Pos: r.Access[0].Pos,
				Text: fmt.Sprintf("%s lets in clients by the first rule that fits: %s; others get 403.", r.Key(), strings.Join(order, ", ")),
			})
			if r.Internal {
				claims[len(claims)-1].Text = fmt.Sprintf("%s is not to be reached from outside.", r.Key())
			}
		}
		for _, r := range cfg.Routes {
			if r.Internal && !r.Named {
				claims = append(claims, plan.Claim{
					ID: check.ClaimID(plan.CheckAccess, r.Key(), "internal"), Check: plan.CheckAccess, Subject: r.Key(), Pos: r.Pos,
					Text: fmt.Sprintf("%s answers clients with 404: only the balancer itself may ask for it.", r.Key()),
				})
			}
		}
		return check.DistinctIDs(claims)
	},
}

func accessQuestions(cfg model.Config, claim plan.Claim) (asked []check.Question, cannot string) {
	for _, r := range cfg.Routes {
		host, ok := r.Askable()
		if r.Internal {
			host, ok = strings.Join(r.Hosts[:min(1, len(r.Hosts))], ""), !r.Regex
		}
		if r.Key() != claim.Subject || !ok {
			continue
		}
		request := plan.Request{Method: "GET", Port: r.Port, TLS: r.TLS, Path: r.Path, Header: check.Wish("")}
		if host != "" {
			request.Header["Host"] = host
		}
		if r.Internal {
			return []check.Question{{Why: "from outside", Kind: plan.KindQuestions, Ask: request, Want: check.Reply{Codes: []int{404}, Own: true}}}, ""
		}
		forge := request
		forge.Header = maps.Clone(request.Header)
		maps.Copy(forge.Header, check.ForgedHeaders)
		forge.Header["Host"] = request.Header["Host"]
		if host == "" {
			delete(forge.Header, "Host")
		}
		want := check.Reply{Not: 403, Access: r.Access}
		asked = []check.Question{{Why: "from the worker's address", Kind: plan.KindQuestions, Ask: request, Want: want}, {Why: "with forged addresses in its header", Kind: plan.KindQuestions, Ask: forge, Want: want}}
		ask := func(why, from string) {
			inside, reply := request, want
			inside.From, reply.From = from, from
			asked = append(asked, check.Question{Why: why, Kind: plan.KindQuestions, Ask: inside, Want: reply})
		}
		ask("from the balancer's own host", "127.0.0.1")
		for _, a := range r.Access {
			network, err := netip.ParsePrefix(a.From)
			if addr, alone := netip.ParseAddr(a.From); alone == nil && err != nil && addr.Is4() {
				network, err = addr.Prefix(32)
			}
			if err == nil && network.Addr().Is4() && !network.Addr().IsLoopback() {
				ask("from "+check.LastAddress(network).String(), check.LastAddress(network).String())
			}
		}
		return asked, ""
	}
	return nil, ""
}
