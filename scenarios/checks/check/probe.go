package check

import (
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// localSpec is the response spec of requests from the balancer's own host. They decide claims about every request to a
// route that only local addresses may use.
const localSpec = "status=200&for=headers"

// LocalRequirements sends requests from the balancer's own host to routes that refuse all other clients.
func LocalRequirements(cfg model.Config, claim plan.Claim, _ DesignParams) []Requirement {
	r, ok := RouteOf(cfg, claim)
	request, found := RequestWithSpec(cfg, r, localSpec)
	if !ok || !found || request.LocalEndpoint == "" {
		return nil
	}
	return []Requirement{{
		Kind: plan.KindProbes, Detects: "a wrong response to one of a few designed requests",
		Phase: plan.Phase{
			Engine: plan.Prober, Concurrency: probesInFlight[plan.KindProbes],
			Count: Repetitions, Requests: []plan.Request{request},
		},
	}}
}

// AdminPageProbes requests an administrative page of the balancer as an ordinary client.
func AdminPageProbes(cfg model.Config, claim plan.Claim) (probes []Probe, untestable string) {
	r, ok := RouteOf(cfg, claim)
	if host, found := r.ProbeHost(); ok && found {
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
		probes = append(probes, Probe{"an ordinary request", plan.KindProbes, request, want})
	}
	return probes, ""
}

// Probe is a single designed request and the expected response. If the balancer decides by the request alone, one probe
// on each side of a boundary is as good as thousands.
type Probe struct {
	Case    string // which case it covers, such as "just outside of /api"
	Kind    plan.PhaseKind
	Request plan.Request
	Want    Want
}

// probeFunc returns the probes of a claim; untestable is the reason why no run can send them.
type probeFunc func(model.Config, plan.Claim) (probes []Probe, untestable string)

// Repetitions is how often each probe is sent: workers and connections may behave differently.
const Repetitions = 3

// ProbeRequirements returns one requirement for each kind of a claim's probes.
func ProbeRequirements(probesOf probeFunc, cfg model.Config, claim plan.Claim) []Requirement {
	probes, _ := probesOf(cfg, claim)
	var all []Requirement
	for _, kind := range []plan.PhaseKind{
		plan.KindProbes, plan.KindRefusals, plan.KindTimeouts, plan.KindFailures, plan.KindErrors, plan.KindNoResponse,
	} {
		t := Requirement{
			Kind: kind, Detects: "a wrong response to one of a few designed requests",
			Phase: plan.Phase{Engine: plan.Prober, Concurrency: probesInFlight[kind]},
		}
		for _, p := range probes {
			if p.Kind == kind {
				t.Phase.Requests = append(t.Phase.Requests, p.Request)
				t.Phase.MaxWait = max(t.Phase.MaxWait, p.Want.Latency.Max, p.Want.Silence.Max)
			}
		}
		if t.Phase.Count = Repetitions * len(t.Phase.Requests); t.Phase.Count == 0 {
			continue
		}
		if kind == plan.KindRefusals {
			t.Phase.Clients = plan.Clients{Count: 1, OwnAddresses: true}
			t.Phase.Count = requestsToRefuse(cfg, t.Phase.Requests) * len(t.Phase.Requests)
			t.Detects = "a wrong response to requests over a limit"
		}
		if kind == plan.KindTimeouts {
			t.Phase.Timeout, t.Detects = MaxWait+WaitMargin, "a timeout of the balancer at the wrong time"
			t.Phase.Count = (Repetitions + 1) * len(t.Phase.Requests) // concurrent, so that one more costs no time
		}
		all = append(all, t)
	}
	return all
}

// probesInFlight is the number of concurrent probes of each kind. Those that wait for a timeout all wait concurrently.
var probesInFlight = map[plan.PhaseKind]int{
	plan.KindProbes:     8,
	plan.KindRefusals:   256,
	plan.KindTimeouts:   1 << 16,
	plan.KindFailures:   1,
	plan.KindErrors:     1,
	plan.KindNoResponse: 8,
}

// MaxWait is the longest timeout of the balancer that a probe waits for; its client waits longer by WaitMargin.
const (
	MaxWait    = 80 * time.Second
	WaitMargin = 5 * time.Second
)
