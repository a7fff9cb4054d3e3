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
	Name: plan.CheckTimeouts,
	Doc: "The balancer waits as long as configured for a connection, an answer, a client or a tunnel, no longer and no " +
		"shorter.",
	Law:       "the moment at which it gives up, between send and receive, holds the configured time",
	Questions: timeoutQuestions,
	Trials:    timeoutTrials,
	Judge:     judgeTimeouts,
	Claims: func(cfg model.Config) []plan.Claim {
		limits := func(r model.Route) []model.TimeLimit { return r.Timeouts }
		found := check.GroupRoutes(cfg, limits, func(t model.TimeLimit) string {
			if t.Implicit {
				t.Pos = model.Pos{}
			}
			return fmt.Sprint(t)
		})
		var claims []plan.Claim
		for _, g := range found {
			t := g.What
			text := fmt.Sprintf("For requests to %s the balancer waits at most %s to %s; then %s.",
				g.Paths(), units.Span(t.After), t.For, t.Then)
			if t.After == 0 {
				text = fmt.Sprintf("For requests to %s the balancer waits for ever to %s.", g.Paths(), t.For)
			}
			claims = append(claims, plan.Claim{
				ID: check.ClaimID(plan.CheckTimeouts, g.Subject(), detailOf(t)), Check: plan.CheckTimeouts, Subject: g.Subject(),
				Pos: t.Pos, Implicit: t.Implicit,
				Params: plan.Params{plan.ParamAfter: plan.Amount(units.Seconds(t.After))}, Text: text,
			})
		}
		return check.DistinctIDs(claims)
	},
}

// How far from the configured time the end of a wait may lie: nginx moves no timer by less than 300 ms
// (NGX_TIMER_LAZY_DELAY), and who is late may have been held up by others on its machine.
const (
	early = 400 * time.Millisecond
	late  = 3 * time.Second
)

// detailOf is what tells the claim on a time limit from others on the same routes.
func detailOf(t model.TimeLimit) string { return strings.ReplaceAll(t.For, " ", "-") }

// timeLimit finds what a claim is about, and a route to try it on. That may be one whose requests a service is asked
// about.
func timeLimit(cfg model.Config, claim plan.Claim) (t model.TimeLimit, r model.Route, ok bool) {
	shares := func(r model.Route) bool {
		for _, has := range r.Timeouts {
			same := strings.Contains(claim.ID, "#"+detailOf(has)) && has.After == wait(claim)
			if written := claim.Implicit && has.Implicit || has.Pos == claim.Pos; same && written {
				t = has
				return r.Pool != ""
			}
		}
		return false
	}
	routes := check.CandidateRoutes(cfg, claim, shares)
	if len(routes) == 0 {
		subject := func(r model.Route) bool { return r.Internal && r.Key() == claim.Subject && shares(r) }
		i := slices.IndexFunc(cfg.Routes, subject)
		if i < 0 {
			return t, r, false
		}
		_, ok = check.AskingRoute(cfg, cfg.Routes[i])
		return t, cfg.Routes[i], ok
	}
	r = routes[0]
	switch shares(r); t.For {
	case model.TunnelTimeout:
		r = routes[len(routes)-1] // that tunnels alone take, if there is one
	case model.ReadTimeout:
		fewer := func(a, b model.Route) int { return attempts(cfg, a) - attempts(cfg, b) }
		r = slices.MinFunc(routes, fewer) // each attempt takes the time
	}
	shares(r)
	return t, r, true
}

// way is the request that takes a route, and the route that it takes first: another where the route is that of a
// service that is asked.
func way(cfg model.Config, r model.Route, says string) (request plan.Request, first model.Route, ok bool) {
	by, asked := check.AskingRoute(cfg, r)
	if !asked {
		request, ok = check.WishingRequest(cfg, r, says)
		return request, r, ok
	}
	request, ok = check.WishingRequest(cfg, by, says+"&at="+r.Seen(r.Path))
	return request, by, ok
}

func timeoutTrials(cfg model.Config, claim plan.Claim, _ check.Terms) []check.Trial {
	t, r, ok := timeLimit(cfg, claim)
	if !ok || t.For != model.ConnectTimeout {
		return check.QuestionTrials(timeoutQuestions, cfg, claim)
	}
	n, cannot := connects(cfg, r, t)
	pool, _ := cfg.Pool(r.Pool)
	request, _, askable := way(cfg, r, "")
	if cannot != "" || !askable || len(pool.Servers) == 0 {
		return nil
	}
	lasts := vanishTime + time.Duration(n)*t.After + late
	rate := max(vanishedRate, 3*check.Often/unnoticed(pool, t).Seconds())
	trial := check.Trial{
		Kind: plan.KindVanished, Shows: "when the balancer gives up a connection",
		Load: plan.Phase{
			Engine: plan.Prober, Rate: rate, Count: int(rate * lasts.Seconds()), Concurrency: 1 << 16, Timeout: lasts + check.Grace,
			Requests: []plan.Request{request},
		},
	}
	for _, s := range pool.Servers {
		trial.Vanish = append(trial.Vanish, s.Host)
	}
	return []check.Trial{trial}
}

func judgeTimeouts(claim plan.Claim, h history.History) check.Finding {
	t, r, ok := timeLimit(h.Plan.Config, claim)
	if !ok || t.For != model.ConnectTimeout {
		return check.JudgeQuestions(timeoutQuestions, claim, h)
	}
	return judgeConnect(h, r, t)
}

// firstLate is how late the first of several requests may be of which each waits for a time: an eighth of it, but
// never less than clocks and schedulers need.
func firstLate(after time.Duration) time.Duration {
	return min(late, max(after/8, 250*time.Millisecond), after/4)
}

func timeoutQuestions(cfg model.Config, claim plan.Claim) (asked []check.Question, cannot string) {
	t, r, ok := timeLimit(cfg, claim)
	if !ok {
		return nil, ""
	}
	pool, _ := cfg.Pool(r.Pool)
	toServers := t.For == model.ReadTimeout || t.For == model.SendTimeout
	switch {
	case t.After == 0:
		return nil, "no run is long enough for what lasts for ever"
	case toServers && len(pool.Servers) > 0 && len(check.Rotation(pool)) == 0:
		return nil, outage.NobodyUp
	}
	if t.After > check.Patience {
		return nil, fmt.Sprintf("it takes %s, and lbproof waits %s at most", units.Span(t.After), units.Span(check.Patience))
	}
	w := newWaiting(cfg, r, t)
	switch t.For {
	case model.ReadTimeout, model.SendTimeout:
		cannot = w.forServers()
	default:
		cannot = w.forClients()
	}
	return w.asked, cannot
}

// waiting are the questions about one time limit.
type waiting struct {
	cfg   model.Config
	route model.Route
	limit model.TimeLimit
	about check.Interval
	asked []check.Question
}

func newWaiting(cfg model.Config, r model.Route, t model.TimeLimit) *waiting {
	about := check.Interval{Least: t.After - min(early, t.After/2), Most: t.After + late}
	return &waiting{cfg: cfg, route: r, limit: t, about: about}
}

func (w *waiting) ask(says string, silent plan.Silence, edit func(*plan.Request), want check.Reply) {
	request, _ := check.WishingRequest(w.cfg, w.route, says)
	request.Silent = silent
	if edit != nil {
		edit(&request)
	}
	why := "somebody says nothing for " + units.Span(w.limit.After)
	w.asked = append(w.asked, check.Question{Why: why, Kind: plan.KindWaits, Ask: request, Want: want})
}

// forServers has a backend answer late, or read nothing. POST is not tried elsewhere.
func (w *waiting) forServers() (cannot string) {
	if _, asked := check.AskingRoute(w.cfg, w.route); asked {
		return w.forService()
	}
	answers := func(f model.Fallback) bool { return slices.Contains(f.Codes, 504) }
	if i := slices.IndexFunc(w.route.Fallbacks, answers); i >= 0 {
		return w.forFallback(w.route.Fallbacks[i])
	}
	size := int64(0)
	if w.limit.For == model.SendTimeout {
		size = 8 << 20
		if limit := w.route.MaxBody; limit != nil && limit.Value > 0 {
			size = min(size, limit.Value)
		}
	}
	post := func(q *plan.Request) { q.Method, q.Size = "POST", size }
	if size > 0 {
		w.ask(fmt.Sprintf("deaf=%s",
			w.about.Most+check.Grace), "", post, check.Reply{Given: []int{504}, Self: true, Within: w.about})
		return ""
	}
	if n := attempts(w.cfg, w.route); n > 1 {
		if w.about.Most = time.Duration(n)*w.limit.After + late; w.about.Most > check.Patience {
			return fmt.Sprintf("it takes %d attempts of %s, and lbproof waits %s at most",
				n, units.Span(w.limit.After), units.Span(check.Patience))
		}
	}
	w.ask(fmt.Sprintf("delay=%s",
		w.about.Most+check.Grace), "", post, check.Reply{Codes: []int{504}, Self: true, Within: w.about})
	w.ask(fmt.Sprintf("delay=%s", w.limit.After*3/4), "", post, check.Reply{Codes: []int{200}})
	return ""
}

// unanswered is the request for which the balancer gives up waiting for an answer and says so by itself, with 504:
// one of those that show how long it waits.
func unanswered(cfg model.Config, r model.Route) (request plan.Request, ok bool) {
	i := slices.IndexFunc(r.Timeouts, func(t model.TimeLimit) bool { return t.For == model.ReadTimeout })
	pool, _ := cfg.Pool(r.Pool)
	if i < 0 || r.Timeouts[i].After == 0 || r.Timeouts[i].After > check.Patience || len(check.Rotation(pool)) == 0 {
		return request, false
	}
	w := newWaiting(cfg, r, r.Timeouts[i])
	w.forServers()
	i = slices.IndexFunc(w.asked, func(q check.Question) bool { return slices.Equal(q.Want.Codes, []int{504}) })
	if i < 0 {
		return request, false
	}
	return w.asked[i].Ask, true
}

// forService has a service answer late that is asked about requests: where it does not answer in time they fail.
func (w *waiting) forService() (cannot string) {
	if w.limit.For == model.SendTimeout {
		return "what the service is sent is too little to wait for"
	}
	asking, _ := check.AskingRoute(w.cfg, w.route)
	for _, service := range []struct {
		by   time.Duration
		code int
	}{{w.limit.After * 3 / 4, 200}, {w.limit.After * 3 / 2, asking.Auth.Failed}} {
		request, _, _ := way(w.cfg, w.route, fmt.Sprintf("delay=%s", service.by))
		why, want := "the service takes "+units.Span(service.by), check.Reply{Codes: []int{service.code}}
		w.asked = append(w.asked, check.Question{Why: why, Kind: plan.KindWaits, Ask: request, Want: want})
	}
	return ""
}

// forFallback has a pool's servers answer late, and those of its fallback at once.
func (w *waiting) forFallback(f model.Fallback) (cannot string) {
	if w.limit.For == model.SendTimeout {
		return "the fallback answers in any case, and does not say what the balancer waited for"
	}
	pool, _ := w.cfg.Pool(w.route.Pool)
	var hosts []string
	for _, s := range pool.Servers {
		hosts = append(hosts, s.Host)
	}
	post := func(q *plan.Request) { q.Method = "POST" }
	says := fmt.Sprintf("by=%s&delay=", strings.Join(hosts, ","))
	want := fallenBack(w.cfg, w.route, f)
	w.about.Most += time.Duration(attempts(w.cfg, w.route)-1) * w.limit.After
	want.Within = w.about
	w.ask(says+(w.about.Most+check.Grace).String(), "", post, want)
	w.ask(says+(w.limit.After*3/4).String(), "", post, check.Reply{Pool: w.route.Pool})
	return ""
}

// forClients has the client fall silent. Where the time for the server runs too while a body is awaited, the header
// is what tells; where that has a time of its own, nothing does.
func (w *waiting) forClients() (cannot string) {
	ends := check.Reply{Quiet: w.about}
	header := slices.ContainsFunc(w.route.Timeouts, func(o model.TimeLimit) bool { return o.For == model.HeaderTimeout })
	switch {
	case w.limit.For == model.IdleTimeout:
		w.ask("", plan.AfterAnswer, nil, ends)
	case w.limit.For == model.HeaderTimeout, w.limit.Headers && !header:
		w.ask("", plan.InHeader, nil, ends)
	case w.limit.Headers:
		return "headers have a time of their own, and while a body is waited for the server's time runs too"
	case w.limit.For == model.ClientTimeout:
		w.ask("", plan.InBody, func(q *plan.Request) { q.Method, q.Size = "POST", 1000 }, ends)
	case w.limit.For == model.TunnelTimeout && tunnelsElsewhere(w.cfg, w.route):
		return "requests for tunnels take another route"
	case w.limit.For == model.TunnelTimeout:
		w.ask("", plan.InTunnel, func(q *plan.Request) { *q = check.Upgrade(*q) }, ends)
	}
	return ""
}

// wait is the time that a claim is about.
func wait(claim plan.Claim) time.Duration {
	return time.Duration(math.Round(float64(claim.Params[plan.ParamAfter]) * 1e9))
}

// attempts is how often a POST that a backend has seen is sent when its answer does not come.
func attempts(cfg model.Config, r model.Route) int {
	if r.Retry == nil || !r.Retry.Repeats("POST") {
		return 1
	}
	if r.Retry.Attempts > 0 {
		return r.Retry.Attempts
	}
	pool, _ := cfg.Pool(r.Pool)
	return max(1, len(pool.Servers))
}

// tunnelsElsewhere says whether another route takes the handshakes of tunnels.
func tunnelsElsewhere(cfg model.Config, r model.Route) bool {
	return slices.ContainsFunc(cfg.Routes, func(o model.Route) bool {
		return o.Key() != r.Key() && o.Port == r.Port && slices.ContainsFunc(o.When, func(c model.Condition) bool {
			return !c.Readable() || check.OfUpgrade(c)
		})
	})
}
