package check

import (
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// localSpec is what requests from the balancer's own host wish for that show what is promised of every request to a
// route that others are kept out of.
const localSpec = "status=200&for=headers"

// LocalRequirements ask routes that let in nobody from outside, from the balancer's own host.
func LocalRequirements(cfg model.Config, claim plan.Claim, _ DesignParams) []Requirement {
	r, ok := RouteOf(cfg, claim)
	request, askable := RequestWithSpec(cfg, r, localSpec)
	if !ok || !askable || request.LocalEndpoint == "" {
		return nil
	}
	return []Requirement{{
		Kind: plan.KindProbes, Detects: "what single requests come to, of each a few",
		Phase: plan.Phase{
			Engine: plan.Prober, Concurrency: probesInFlight[plan.KindProbes], Count: Repetitions, Requests: []plan.Request{request},
		},
	}}
}

func AdminPageProbes(cfg model.Config, claim plan.Claim) (asked []Probe, cannot string) {
	r, ok := RouteOf(cfg, claim)
	if host, askable := r.ProbeHost(); ok && askable {
		request := plan.Request{Method: "GET", Port: r.Port, TLS: r.TLS, Path: r.Path, Header: RespondWith("")}
		if host != "" {
			request.Header["Host"] = host
		}
		want := Want{Codes: []int{200}, NotForwarded: true, Access: r.Access}
		if from, ok := allowedAddress(r.Access); ok && len(r.Access) > 0 {
			request.LocalEndpoint, want.ClientAddress = from, from
		}
		if r.Auth != nil {
			want.Codes = []int{401}
		}
		asked = append(asked, Probe{"as anyone may ask", plan.KindProbes, request, want})
	}
	return asked, ""
}

// Probe is a single request to the balancer, and what an honest one answers. Where the balancer decides by the
// request alone, a question on each side of what is promised says as much as thousands on one.
type Probe struct {
	Case    string // what it is about, as "just outside of /api"
	Kind    plan.PhaseKind
	Request plan.Request
	Want    Want
}

// probeFunc are those of a claim; cannot says why no run could ask them.
type probeFunc func(model.Config, plan.Claim) (asked []Probe, cannot string)

// Repetitions is how many times each question is asked: workers and connections may differ.
const Repetitions = 3

// ProbeRequirements are those of a claim's questions, one for each of their kinds.
func ProbeRequirements(ask probeFunc, cfg model.Config, claim plan.Claim) []Requirement {
	asked, _ := ask(cfg, claim)
	var all []Requirement
	for _, kind := range []plan.PhaseKind{
		plan.KindProbes, plan.KindRefusals, plan.KindTimeouts, plan.KindFailures, plan.KindErrors, plan.KindNoResponse,
	} {
		t := Requirement{
			Kind: kind, Detects: "what single requests come to, of each a few",
			Phase: plan.Phase{Engine: plan.Prober, Concurrency: probesInFlight[kind]},
		}
		for _, q := range asked {
			if q.Kind == kind {
				t.Phase.Requests = append(t.Phase.Requests, q.Request)
				t.Phase.MaxWait = max(t.Phase.MaxWait, q.Want.Latency.Max, q.Want.Silence.Max)
			}
		}
		if t.Phase.Count = Repetitions * len(t.Phase.Requests); t.Phase.Count == 0 {
			continue
		}
		if kind == plan.KindRefusals {
			t.Phase.Clients = plan.Clients{Count: 1, OwnAddresses: true}
			t.Phase.Count = requestsToRefuse(cfg, t.Phase.Requests) * len(t.Phase.Requests)
			t.Detects = "what a refusal by a limit looks like"
		}
		if kind == plan.KindTimeouts {
			t.Phase.Timeout, t.Detects = MaxWait+WaitMargin, "when the balancer gives up"
			t.Phase.Count = (Repetitions + 1) * len(t.Phase.Requests) // of those that wait together one more costs no time
		}
		all = append(all, t)
	}
	return all
}

// probesInFlight is how many questions of a kind are asked at a time. Those that wait all wait together.
var probesInFlight = map[plan.PhaseKind]int{
	plan.KindProbes:     8,
	plan.KindRefusals:   256,
	plan.KindTimeouts:   1 << 16,
	plan.KindFailures:   1,
	plan.KindErrors:     1,
	plan.KindNoResponse: 8,
}

// Patience is how long a question waits for the balancer to give up, and grace how much longer its client does.
const (
	MaxWait    = 80 * time.Second
	WaitMargin = 5 * time.Second
)
