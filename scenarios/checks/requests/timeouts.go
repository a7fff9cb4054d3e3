package requests

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

var Timeouts = check.Check{
	Name:         plan.CheckTimeouts,
	Doc:          "The balancer waits exactly as long as configured for a connection, a response, a client or a tunnel.",
	Law:          "the time until the balancer gives up, measured at the client, must match the configured timeout",
	Probes:       timeoutProbes,
	Requirements: timeoutRequirements,
	Judge:        judgeTimeouts,
	Claims: func(cfg model.Config) []plan.Claim {
		limits := func(r model.Route) []model.Timeout { return r.Timeouts }
		groups := check.GroupRoutes(cfg, limits, func(t model.Timeout) string {
			if t.Implicit {
				t.Pos = model.Pos{}
			}
			return fmt.Sprint(t)
		})
		var claims []plan.Claim
		for _, g := range groups {
			t := g.What
			text := fmt.Sprintf("For requests to %s, %s times out after %s (result: %s).",
				g.Paths(), waitTexts[t.Kind], units.Duration(t.Duration), t.Result)
			if t.Duration == 0 {
				text = fmt.Sprintf("For requests to %s, %s never times out.", g.Paths(), waitTexts[t.Kind])
			}
			claims = append(claims, plan.Claim{
				ID: check.ClaimID(plan.CheckTimeouts, g.Subject(), limitDetail(t)), Check: plan.CheckTimeouts, Subject: g.Subject(),
				Detail: limitDetail(t), Pos: t.Pos, Implicit: t.Implicit,
				Params: plan.Params{plan.ParamTimeout: plan.Amount(units.Seconds(t.Duration))}, Text: text,
			})
		}
		return check.DistinctIDs(claims)
	},
}

// waitTexts name what times out, in a sentence.
var waitTexts = map[string]string{
	model.ConnectTimeout: "connecting to a server",
	model.SendTimeout:    "sending to a server",
	model.ReadTimeout:    "waiting for a response",
	model.ClientTimeout:  "waiting for data from the client",
	model.HeaderTimeout:  "waiting for the request header",
	model.IdleTimeout:    "an idle client connection",
	model.TunnelTimeout:  "an idle tunnel",
	model.QueueTimeout:   "waiting for a free server",
}

// How far a wait may end before or after the configured time: nginx keeps a timer that would move by less than 300 ms
// (NGX_TIMER_LAZY_DELAY), and a busy machine delays the end.
const (
	earlyTolerance = 400 * time.Millisecond
	lateTolerance  = 3 * time.Second
)

// limitDetail distinguishes the claims about the time limits of the same routes.
func limitDetail(t model.Timeout) string { return strings.ReplaceAll(t.Kind, " ", "-") }

// findTimeLimit returns the limit that a claim is about, and a route to test it on, possibly that of an auth service.
func findTimeLimit(cfg model.Config, claim plan.Claim) (t model.Timeout, r model.Route, ok bool) {
	matches := func(r model.Route) bool {
		for _, has := range r.Timeouts {
			same := claim.Detail == limitDetail(has) && has.Duration == claimedWait(claim)
			if written := claim.Implicit && has.Implicit || has.Pos == claim.Pos; same && written {
				t = has
				return r.Pool != ""
			}
		}
		return false
	}
	routes := check.CandidateRoutes(cfg, claim, matches)
	if len(routes) == 0 {
		subject := func(r model.Route) bool { return r.Internal && r.Key() == claim.Subject && matches(r) }
		i := slices.IndexFunc(cfg.Routes, subject)
		if i < 0 {
			return t, r, false
		}
		_, ok = check.AuthenticatedRoute(cfg, cfg.Routes[i])
		return t, cfg.Routes[i], ok
	}
	r = routes[0]
	switch matches(r); t.Kind {
	case model.TunnelTimeout:
		r = routes[len(routes)-1] // one only for tunnels, if there is one
	case model.ReadTimeout:
		fewer := func(a, b model.Route) int { return postAttempts(cfg, a) - postAttempts(cfg, b) }
		r = slices.MinFunc(routes, fewer) // every attempt takes that long
	}
	matches(r)
	return t, r, true
}

// entryRequest returns the request that reaches a route, and the route that takes it first: for the route of an auth
// service, one whose requests it authorizes.
func entryRequest(cfg model.Config, r model.Route, spec string) (request plan.Request, first model.Route, ok bool) {
	by, hasAuth := check.AuthenticatedRoute(cfg, r)
	if !hasAuth {
		request, ok = check.RequestWithSpec(cfg, r, spec)
		return request, r, ok
	}
	request, ok = check.RequestWithSpec(cfg, by, spec+"&at="+r.BackendPath(r.Path))
	return request, by, ok
}

func timeoutRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	t, r, ok := findTimeLimit(cfg, claim)
	if !ok || t.Kind != model.ConnectTimeout {
		return check.ProbeRequirements(timeoutProbes, cfg, claim)
	}
	n, untestable := connectAttempts(cfg, r, t)
	pool, _ := cfg.Pool(r.Pool)
	request, _, askable := entryRequest(cfg, r, "")
	if untestable != "" || !askable || len(pool.Servers) == 0 {
		return nil
	}
	duration := unreachableDelay + time.Duration(n)*t.Duration + lateTolerance
	rate := max(unreachableRate, 3*check.Repetitions/undetectedTime(pool, t).Seconds())
	requirement := check.Requirement{
		Kind: plan.KindUnreachable, Detects: "a wrong connect timeout",
		Phase: plan.Phase{
			Engine: plan.Prober, Rate: rate, Count: int(rate * duration.Seconds()), Concurrency: 1 << 16,
			Timeout:  duration + check.WaitMargin,
			Requests: []plan.Request{request},
		},
	}
	for _, s := range pool.Servers {
		requirement.Unreachable = append(requirement.Unreachable, s.Host)
	}
	return []check.Requirement{requirement}
}

func judgeTimeouts(claim plan.Claim, h history.History) check.Finding {
	t, r, ok := findTimeLimit(h.Plan.Config, claim)
	if !ok || t.Kind != model.ConnectTimeout {
		return check.JudgeProbes(timeoutProbes, claim, h)
	}
	return judgeConnect(h, r, t)
}

// firstTolerance returns how late the first of several requests with the same wait may end: an eighth of the wait, but
// never less than clocks and schedulers need.
func firstTolerance(after time.Duration) time.Duration {
	return min(lateTolerance, max(after/8, 250*time.Millisecond), after/4)
}

func timeoutProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	t, r, ok := findTimeLimit(cfg, claim)
	if !ok {
		return nil, ""
	}
	pool, _ := cfg.Pool(r.Pool)
	toServers := t.Kind == model.ReadTimeout || t.Kind == model.SendTimeout
	switch {
	case t.Duration == 0:
		return nil, "the wait is unlimited; no run is long enough"
	case toServers && len(pool.Servers) > 0 && len(check.Rotation(pool)) == 0:
		return nil, outage.NoServerUp
	}
	if t.Duration > check.MaxWait {
		return nil, fmt.Sprintf("needs %s; lbproof waits at most %s", units.Duration(t.Duration),
			units.Duration(check.MaxWait))
	}
	w := newTimeoutCases(cfg, r, t)
	switch t.Kind {
	case model.ReadTimeout, model.SendTimeout:
		untestable = w.addServers()
	default:
		untestable = w.addClients()
	}
	return w.probes, untestable
}

// timeoutCases collects the probes for one time limit.
type timeoutCases struct {
	cfg    model.Config
	route  model.Route
	limit  model.Timeout
	window check.Interval
	probes []check.Probe
}

func newTimeoutCases(cfg model.Config, r model.Route, t model.Timeout) *timeoutCases {
	window := check.Interval{Min: t.Duration - min(earlyTolerance, t.Duration/2), Max: t.Duration + lateTolerance}
	return &timeoutCases{cfg: cfg, route: r, limit: t, window: window}
}

func (w *timeoutCases) add(spec string, stallAt plan.Stall, edit func(*plan.Request), want check.Want) {
	request, _ := check.RequestWithSpec(w.cfg, w.route, spec)
	request.StallAt = stallAt
	if edit != nil {
		edit(&request)
	}
	label := "silence for " + units.Duration(w.limit.Duration)
	w.probes = append(w.probes, check.Probe{Case: label, Kind: plan.KindTimeouts, Request: request, Want: want})
}

// addServers delays a backend's response, or stops its reading. It sends POST, which is not retried.
func (w *timeoutCases) addServers() (untestable string) {
	if _, hasAuth := check.AuthenticatedRoute(w.cfg, w.route); hasAuth {
		return w.addService()
	}
	answers := func(f model.ErrorPage) bool { return slices.Contains(f.Codes, 504) }
	if i := slices.IndexFunc(w.route.ErrorPages, answers); i >= 0 {
		return w.addFallback(w.route.ErrorPages[i])
	}
	size := int64(0)
	if w.limit.Kind == model.SendTimeout {
		size = 8 << 20
		if limit := w.route.MaxBody; limit != nil && limit.Value > 0 {
			size = min(size, limit.Value)
		}
	}
	post := func(q *plan.Request) { q.Method, q.PaddingSize = "POST", size }
	if size > 0 {
		w.add(fmt.Sprintf("deaf=%s",
			w.window.Max+check.WaitMargin), "", post, check.Want{OnlyIfCodes: []int{504}, FromBalancer: true, Latency: w.window})
		return ""
	}
	if n := postAttempts(w.cfg, w.route); n > 1 {
		if w.window.Max = time.Duration(n)*w.limit.Duration + lateTolerance; w.window.Max > check.MaxWait {
			return fmt.Sprintf("needs %d attempts of %s; lbproof waits at most %s",
				n, units.Duration(w.limit.Duration), units.Duration(check.MaxWait))
		}
	}
	w.add(fmt.Sprintf("delay=%s",
		w.window.Max+check.WaitMargin), "", post, check.Want{Codes: []int{504}, FromBalancer: true, Latency: w.window})
	w.add(fmt.Sprintf("delay=%s", w.limit.Duration*3/4), "", post, check.Want{Codes: []int{200}})
	return ""
}

// gatewayTimeoutRequest returns the probe of the read timeout that the balancer answers with its own 504.
func gatewayTimeoutRequest(cfg model.Config, r model.Route) (request plan.Request, ok bool) {
	i := slices.IndexFunc(r.Timeouts, func(t model.Timeout) bool { return t.Kind == model.ReadTimeout })
	pool, _ := cfg.Pool(r.Pool)
	if i < 0 || r.Timeouts[i].Duration == 0 || r.Timeouts[i].Duration > check.MaxWait || len(check.Rotation(pool)) == 0 {
		return request, false
	}
	w := newTimeoutCases(cfg, r, r.Timeouts[i])
	w.addServers()
	i = slices.IndexFunc(w.probes, func(q check.Probe) bool { return slices.Equal(q.Want.Codes, []int{504}) })
	if i < 0 {
		return request, false
	}
	return w.probes[i].Request, true
}

// addService delays the response of an auth service: requests that it authorizes fail if the response is late.
func (w *timeoutCases) addService() (untestable string) {
	if w.limit.Kind == model.SendTimeout {
		return "the request to the auth service is too small to block"
	}
	asking, _ := check.AuthenticatedRoute(w.cfg, w.route)
	for _, service := range []struct {
		by   time.Duration
		code int
	}{{w.limit.Duration * 3 / 4, 200}, {w.limit.Duration * 3 / 2, asking.Auth.FailureCode}} {
		request, _, _ := entryRequest(w.cfg, w.route, fmt.Sprintf("delay=%s", service.by))
		label, want := "the auth service takes "+units.Duration(service.by), check.Want{Codes: []int{service.code}}
		w.probes = append(w.probes, check.Probe{Case: label, Kind: plan.KindTimeouts, Request: request, Want: want})
	}
	return ""
}

// addFallback delays the pool's servers, but not those of its fallback.
func (w *timeoutCases) addFallback(f model.ErrorPage) (untestable string) {
	if w.limit.Kind == model.SendTimeout {
		return "the fallback always answers, which hides what the balancer waited for"
	}
	pool, _ := w.cfg.Pool(w.route.Pool)
	var hosts []string
	for _, s := range pool.Servers {
		hosts = append(hosts, s.Host)
	}
	post := func(q *plan.Request) { q.Method = "POST" }
	spec := fmt.Sprintf("by=%s&delay=", strings.Join(hosts, ","))
	want := wantFallback(w.cfg, w.route, f)
	w.window.Max += time.Duration(postAttempts(w.cfg, w.route)-1) * w.limit.Duration
	want.Latency = w.window
	w.add(spec+(w.window.Max+check.WaitMargin).String(), "", post, want)
	w.add(spec+(w.limit.Duration*3/4).String(), "", post, check.Want{Pool: w.route.Pool})
	return ""
}

// addClients stalls the client. If a body also runs into the server's timeout, the header is used instead; if the
// header has its own timeout, neither is conclusive.
func (w *timeoutCases) addClients() (untestable string) {
	ends := check.Want{Silence: w.window}
	header := slices.ContainsFunc(w.route.Timeouts, func(o model.Timeout) bool { return o.Kind == model.HeaderTimeout })
	switch {
	case w.limit.Kind == model.IdleTimeout:
		w.add("", plan.StallAfterResponse, nil, ends)
	case w.limit.Kind == model.HeaderTimeout, w.limit.HeaderOnly && !header:
		w.add("", plan.StallInHeader, nil, ends)
	case w.limit.HeaderOnly:
		return "headers have their own timeout, and during a body the server timeout also runs"
	case w.limit.Kind == model.ClientTimeout:
		w.add("", plan.StallInBody, func(q *plan.Request) { q.Method, q.PaddingSize = "POST", 1000 }, ends)
	case w.limit.Kind == model.TunnelTimeout && tunnelsTakeOtherRoute(w.cfg, w.route):
		return "WebSocket requests take another route"
	case w.limit.Kind == model.TunnelTimeout:
		w.add("", plan.StallInTunnel, func(q *plan.Request) { *q = check.WebSocketHandshake(*q) }, ends)
	}
	return ""
}

// claimedWait returns the time limit that a claim states.
func claimedWait(claim plan.Claim) time.Duration {
	return time.Duration(math.Round(float64(claim.Params[plan.ParamTimeout]) * 1e9))
}

// postAttempts returns how often a POST is sent that a backend has received but not answered.
func postAttempts(cfg model.Config, r model.Route) int {
	if r.Retry == nil || !r.Retry.RetriesMethod("POST") {
		return 1
	}
	if r.Retry.Attempts > 0 {
		return r.Retry.Attempts
	}
	pool, _ := cfg.Pool(r.Pool)
	return max(1, len(pool.Servers))
}

// tunnelsTakeOtherRoute reports whether another route takes WebSocket handshakes.
func tunnelsTakeOtherRoute(cfg model.Config, r model.Route) bool {
	return slices.ContainsFunc(cfg.Routes, func(o model.Route) bool {
		return o.Key() != r.Key() && o.Port == r.Port && slices.ContainsFunc(o.Conditions, func(c model.Condition) bool {
			return !c.IsReadable() || check.IsUpgradeCondition(c)
		})
	})
}
