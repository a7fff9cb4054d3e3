package check

import (
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// inner is what requests from the balancer's own host wish for that show what is promised of every request to a
// route that others are kept out of.
const inner = "status=200&for=headers"

// InnerTrials ask routes that let in nobody from outside, from the balancer's own host.
func InnerTrials(cfg model.Config, claim plan.Claim, _ Terms) []Trial {
	r, ok := RouteOf(cfg, claim)
	request, askable := WishingRequest(cfg, r, inner)
	if !ok || !askable || request.From == "" {
		return nil
	}
	return []Trial{{
		Kind: plan.KindQuestions, Shows: "what single requests come to, of each a few",
		Load: plan.Phase{
			Engine: plan.Prober, Concurrency: together[plan.KindQuestions], Count: Often, Requests: []plan.Request{request},
		},
	}}
}

func OwnQuestions(cfg model.Config, claim plan.Claim) (asked []Question, cannot string) {
	r, ok := RouteOf(cfg, claim)
	if host, askable := r.Askable(); ok && askable {
		request := plan.Request{Method: "GET", Port: r.Port, TLS: r.TLS, Path: r.Path, Header: Wish("")}
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
		asked = append(asked, Question{"as anyone may ask", plan.KindQuestions, request, want})
	}
	return asked, ""
}

// Question is a single request to the balancer, and what an honest one answers. Where the balancer decides by the
// request alone, a question on each side of what is promised says as much as thousands on one.
type Question struct {
	Why  string // what it is about, as "just outside of /api"
	Kind plan.Kind
	Ask  plan.Request
	Want Reply
}

// questions are those of a claim; cannot says why no run could ask them.
type questions func(model.Config, plan.Claim) (asked []Question, cannot string)

// Often is how many times each question is asked: workers and connections may differ.
const Often = 3

// QuestionTrials are those of a claim's questions, one for each of their kinds.
func QuestionTrials(ask questions, cfg model.Config, claim plan.Claim) []Trial {
	asked, _ := ask(cfg, claim)
	var all []Trial
	for _, kind := range []plan.Kind{
		plan.KindQuestions, plan.KindRefusals, plan.KindWaits, plan.KindFailures, plan.KindErrors, plan.KindBroken,
	} {
		t := Trial{
			Kind: kind, Shows: "what single requests come to, of each a few",
			Load: plan.Phase{Engine: plan.Prober, Concurrency: together[kind]},
		}
		for _, q := range asked {
			if q.Kind == kind {
				t.Load.Requests = append(t.Load.Requests, q.Ask)
				t.Load.Waits = max(t.Load.Waits, q.Want.Within.Most, q.Want.Quiet.Most)
			}
		}
		if t.Load.Count = Often * len(t.Load.Requests); t.Load.Count == 0 {
			continue
		}
		if kind == plan.KindRefusals {
			t.Load.Clients = plan.Clients{Count: 1, Addresses: true}
			t.Load.Count = refusals(cfg, t.Load.Requests) * len(t.Load.Requests)
			t.Shows = "what a refusal by a limit looks like"
		}
		if kind == plan.KindWaits {
			t.Load.Timeout, t.Shows = Patience+Grace, "when the balancer gives up"
			t.Load.Count = (Often + 1) * len(t.Load.Requests) // of those that wait together one more costs no time
		}
		all = append(all, t)
	}
	return all
}

// together is how many questions of a kind are asked at a time. Those that wait all wait together.
var together = map[plan.Kind]int{
	plan.KindQuestions: 8,
	plan.KindRefusals:  256,
	plan.KindWaits:     1 << 16,
	plan.KindFailures:  1,
	plan.KindErrors:    1,
	plan.KindBroken:    8,
}

// Patience is how long a question waits for the balancer to give up, and grace how much longer its client does.
const (
	Patience = 80 * time.Second
	Grace    = 5 * time.Second
)
