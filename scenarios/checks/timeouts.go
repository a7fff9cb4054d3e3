package checks

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

var timeouts = Check{
	Name: "timeouts",
	Doc: "The balancer waits as long as configured for a connection, an answer, a client or a tunnel, no longer and no " +
		"shorter.",
	Law:       "the moment at which it gives up, between send and receive, holds the configured time",
	Questions: timeoutQuestions,
	Trials:    timeoutTrials,
	Judge:     judgeTimeouts,
	Claims: func(cfg model.Config) []plan.Claim {
		found := grouped(cfg, func(r model.Route) []model.TimeLimit { return r.Timeouts }, func(t model.TimeLimit) string {
			if t.Implicit {
				t.Pos = model.Pos{}
			}
			return fmt.Sprint(t)
		})
		var claims []plan.Claim
		for _, g := range found {
			t := g.what
			text := fmt.Sprintf("For requests to %s the balancer waits at most %s to %s; then %s.", g.paths(), span(t.After), t.For, t.Then)
			if t.After == 0 {
				text = fmt.Sprintf("For requests to %s the balancer waits for ever to %s.", g.paths(), t.For)
			}
			claims = append(claims, plan.Claim{
				ID: id("timeouts", g.subject(), strings.ReplaceAll(t.For, " ", "-")), Check: "timeouts", Subject: g.subject(), Pos: t.Pos, Implicit: t.Implicit,
				Params: map[string]float64{"after_s": seconds(t.After)}, Text: text,
			})
		}
		return distinct(claims)
	},
}

// How far from the configured time the end of a wait may lie: nginx moves no timer by less than 300 ms (NGX_TIMER_LAZY_DELAY), and
// who is late may have been held up by others on its machine.
const (
	early = 400 * time.Millisecond
	late  = 3 * time.Second
)

// timeLimit finds what a claim is about, and a route to try it on. That may be one whose requests a service is asked about.
func timeLimit(cfg model.Config, claim plan.Claim) (t model.TimeLimit, r model.Route, ok bool) {
	shares := func(r model.Route) bool {
		for _, has := range r.Timeouts {
			if strings.Contains(claim.ID, "#"+strings.ReplaceAll(has.For, " ", "-")) && has.After == wait(claim) && (claim.Implicit && has.Implicit || has.Pos == claim.Pos) {
				t = has
				return r.Pool != ""
			}
		}
		return false
	}
	routes := candidates(cfg, claim, shares)
	if len(routes) == 0 {
		i := slices.IndexFunc(cfg.Routes, func(r model.Route) bool { return r.Internal && r.Key() == claim.Subject && shares(r) })
		if i < 0 {
			return t, r, false
		}
		_, ok = asker(cfg, cfg.Routes[i])
		return t, cfg.Routes[i], ok
	}
	r = routes[0]
	switch shares(r); t.For {
	case model.TunnelTimeout:
		r = routes[len(routes)-1] // that tunnels alone take, if there is one
	case model.ReadTimeout:
		r = slices.MinFunc(routes, func(a, b model.Route) int { return attempts(cfg, a) - attempts(cfg, b) }) // it takes each of them
	}
	shares(r)
	return t, r, true
}

// way is the request that takes a route, and the route that it takes first: another where the route is that of a service that is asked.
func way(cfg model.Config, r model.Route, says string) (request plan.Request, first model.Route, ok bool) {
	by, asked := asker(cfg, r)
	if !asked {
		request, ok = wishing(cfg, r, says)
		return request, r, ok
	}
	request, ok = wishing(cfg, by, says+"&at="+r.Seen(r.Path))
	return request, by, ok
}

func timeoutTrials(cfg model.Config, claim plan.Claim, _ Terms) []Trial {
	t, r, ok := timeLimit(cfg, claim)
	if !ok || t.For != model.ConnectTimeout {
		return trials(timeoutQuestions, cfg, claim)
	}
	n, cannot := connects(cfg, r, t)
	pool, _ := cfg.Pool(r.Pool)
	request, _, askable := way(cfg, r, "")
	if cannot != "" || !askable || len(pool.Servers) == 0 {
		return nil
	}
	lasts := vanishTime + time.Duration(n)*t.After + late
	rate := max(vanishedRate, 3*Often/unnoticed(pool, t).Seconds())
	trial := Trial{
		Kind: Vanished, Shows: "when the balancer gives up a connection",
		Load: plan.Phase{Engine: plan.Prober, Rate: rate, Count: int(rate * lasts.Seconds()), Concurrency: 1 << 16, Timeout: lasts + grace, Requests: []plan.Request{request}},
	}
	for _, s := range pool.Servers {
		trial.Vanish = append(trial.Vanish, s.Host)
	}
	return []Trial{trial}
}

// How servers are made to vanish: how long until they have, and how many requests per second are sent meanwhile, at least.
const (
	vanishTime   = 3 * time.Second
	vanishedRate = 5.
)

// connects is how many connections are tried for one request; cannot says why the time of one is not to be seen.
func connects(cfg model.Config, r model.Route, t model.TimeLimit) (n int, cannot string) {
	pool, _ := cfg.Pool(r.Pool)
	n = 1
	switch {
	case r.Retry != nil && r.Retry.Attempts > 0:
		n = r.Retry.Attempts
	case r.Retry != nil:
		n = max(1, len(pool.Servers))
	}
	all := time.Duration(n) * t.After
	for _, s := range pool.Servers {
		if s.Active != nil {
			if soonest, _, _ := s.Active.Down(); soonest < time.Second {
				return n, fmt.Sprintf("health checks take servers out after %s, before requests have met them", span(soonest))
			}
		}
	}
	for _, o := range r.Timeouts {
		if o.For == model.ReadTimeout && o.After > 0 && o.After <= t.After {
			return n, "the wait for an answer is no longer than that for a connection"
		}
	}
	if t.After == 0 || all > patience {
		return n, fmt.Sprintf("it takes %d attempts of %s, and lbproof waits %s at most", n, span(t.After), span(patience))
	}
	return n, ""
}

func judgeTimeouts(claim plan.Claim, h history.History) Finding {
	t, r, ok := timeLimit(h.Plan.Config, claim)
	if !ok || t.For != model.ConnectTimeout {
		return judgeQuestions(timeoutQuestions, claim, h)
	}
	return judgeConnect(h, r, t)
}

// judgeConnect looks at the first requests after all servers of a pool have vanished: what is answered by the balancer came after
// one attempt or several. Later requests find servers that are left alone, and connections from before are another matter.
func judgeConnect(h history.History, r model.Route, t model.TimeLimit) Finding {
	n, cannot := connects(h.Plan.Config, r, t)
	pool, _ := h.Plan.Config.Pool(r.Pool)
	f := Finding{Cannot: cannot, Need: Often, Test: "when the balancer gives up a request whose servers have vanished"}
	f.Predicted = fmt.Sprintf("%s for each of up to %d attempts", span(t.After), n)
	from, first := time.Duration(0), time.Duration(0)
	for _, m := range h.Env.Marks {
		if m.Event.Fault == "blackhole" && m.Err == "" && serves(h.Plan.Config, r.Pool, m.Event.Target) {
			from = max(from, m.From)
		}
	}
	gaveUp := []int{502, 504} // 502 is nginx that has left the others alone meanwhile, or all
	if h.Plan.Config.Balancer == "haproxy" {
		gaveUp = []int{503, 504}
	}
	unnoticed := unnoticed(pool, t)
	_, via, _ := way(h.Plan.Config, r, "")
	if via.Key() != r.Key() {
		gaveUp = []int{500}
	}
	find := journeys(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.key != via.Key() || !slices.Contains(gaveUp, hit.Code) || hit.Code == 502 && hit.Done-hit.Sent < t.After*3/10 || hit.Server != "" || from == 0 || hit.Sent < from || hit.Sent > from+unnoticed {
			continue
		}
		f.N++
		if took := hit.Done - hit.Sent; first == 0 || took < first {
			first = took
		}
	}
	if f.N == 0 {
		return f
	}
	f.Measured = fmt.Sprintf("the first of %s after %s", plural(f.N, "request"), span(first.Round(time.Millisecond)))
	fits := false
	for k := 1; k <= n; k++ {
		at := time.Duration(k) * t.After
		fits = fits || first >= at-min(early, t.After/4) && first <= at+firstLate(t.After)
	}
	if !fits {
		f.Counter = []string{"the balancer gave up after " + span(first.Round(time.Millisecond))}
	}
	if f.Broken = died(h); f.Broken != "" {
		f.Counter = nil
	}
	f.Power = fmt.Sprintf("would have caught a time that is a quarter off, unless some attempts of it take as long as some of %s", span(t.After))
	return f
}

// firstLate is how late the first of several requests may be of which each waits for a time: an eighth of it, but never less than clocks
// and schedulers need.
func firstLate(after time.Duration) time.Duration {
	return min(late, max(after/8, 250*time.Millisecond), after/4)
}

// unnoticed is for how long nobody can know that the servers of a pool have vanished: neither health checks nor requests that waited.
func unnoticed(pool model.Pool, t model.TimeLimit) time.Duration {
	lasts := t.After / 2
	for _, s := range pool.Servers {
		if s.Active != nil {
			soonest, _, _ := s.Active.Down()
			lasts = min(lasts, soonest/2)
		}
	}
	return lasts
}

func timeoutQuestions(cfg model.Config, claim plan.Claim) (asked []Question, cannot string) {
	t, r, ok := timeLimit(cfg, claim)
	if !ok {
		return nil, ""
	}
	pool, _ := cfg.Pool(r.Pool)
	toServers := t.For == model.ReadTimeout || t.For == model.SendTimeout
	switch {
	case t.After == 0:
		return nil, "no run is long enough for what lasts for ever"
	case toServers && len(pool.Servers) > 0 && len(rotation(pool)) == 0:
		return nil, nobodyUp
	}
	if t.After > patience {
		return nil, fmt.Sprintf("it takes %s, and lbproof waits %s at most", span(t.After), span(patience))
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
	about Interval
	asked []Question
}

func newWaiting(cfg model.Config, r model.Route, t model.TimeLimit) *waiting {
	return &waiting{cfg: cfg, route: r, limit: t, about: Interval{t.After - min(early, t.After/2), t.After + late}}
}

func (w *waiting) ask(says string, silent plan.Silence, edit func(*plan.Request), want Reply) {
	request, _ := wishing(w.cfg, w.route, says)
	request.Silent = silent
	if edit != nil {
		edit(&request)
	}
	w.asked = append(w.asked, Question{"somebody says nothing for " + span(w.limit.After), Waited, request, want})
}

// forServers has a backend answer late, or read nothing. POST is not tried elsewhere.
func (w *waiting) forServers() (cannot string) {
	if _, asked := asker(w.cfg, w.route); asked {
		return w.forService()
	}
	if i := slices.IndexFunc(w.route.Fallbacks, func(f model.Fallback) bool { return slices.Contains(f.Codes, 504) }); i >= 0 {
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
		w.ask(fmt.Sprintf("deaf=%s", w.about.Most+grace), "", post, Reply{Given: []int{504}, Self: true, Within: w.about})
		return ""
	}
	if n := attempts(w.cfg, w.route); n > 1 {
		if w.about.Most = time.Duration(n)*w.limit.After + late; w.about.Most > patience {
			return fmt.Sprintf("it takes %d attempts of %s, and lbproof waits %s at most", n, span(w.limit.After), span(patience))
		}
	}
	w.ask(fmt.Sprintf("delay=%s", w.about.Most+grace), "", post, Reply{Codes: []int{504}, Self: true, Within: w.about})
	w.ask(fmt.Sprintf("delay=%s", w.limit.After*3/4), "", post, Reply{Codes: []int{200}})
	return ""
}

// unanswered is the request for which the balancer gives up waiting for an answer and says so by itself, with 504: one of those that show
// how long it waits.
func unanswered(cfg model.Config, r model.Route) (request plan.Request, ok bool) {
	i := slices.IndexFunc(r.Timeouts, func(t model.TimeLimit) bool { return t.For == model.ReadTimeout })
	pool, _ := cfg.Pool(r.Pool)
	if i < 0 || r.Timeouts[i].After == 0 || r.Timeouts[i].After > patience || len(rotation(pool)) == 0 {
		return request, false
	}
	w := newWaiting(cfg, r, r.Timeouts[i])
	w.forServers()
	i = slices.IndexFunc(w.asked, func(q Question) bool { return slices.Equal(q.Want.Codes, []int{504}) })
	if i < 0 {
		return request, false
	}
	return w.asked[i].Ask, true
}

// forService has a service answer late that is asked about requests: where it does not answer in time they get 500.
func (w *waiting) forService() (cannot string) {
	if w.limit.For == model.SendTimeout {
		return "what the service is sent is too little to wait for"
	}
	for _, late := range []struct {
		by   time.Duration
		code int
	}{{w.limit.After * 3 / 4, 200}, {w.limit.After * 3 / 2, 500}} {
		request, _, _ := way(w.cfg, w.route, fmt.Sprintf("delay=%s", late.by))
		w.asked = append(w.asked, Question{"the service takes " + span(late.by), Waited, request, Reply{Codes: []int{late.code}}})
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
	w.ask(says+(w.about.Most+grace).String(), "", post, want)
	w.ask(says+(w.limit.After*3/4).String(), "", post, Reply{Pool: w.route.Pool})
	return ""
}

// forClients has the client fall silent. Where HAProxy waits for a body the server's time is running too, so that the header is what
// tells; where that has a time of its own, nothing does.
func (w *waiting) forClients() (cannot string) {
	ends := Reply{Quiet: w.about}
	header := slices.ContainsFunc(w.route.Timeouts, func(o model.TimeLimit) bool { return o.For == model.HeaderTimeout })
	haproxy := w.cfg.Balancer == "haproxy"
	switch {
	case w.limit.For == model.IdleTimeout:
		w.ask("", plan.AfterAnswer, nil, ends)
	case w.limit.For == model.HeaderTimeout, w.limit.For == model.ClientTimeout && haproxy && !header:
		w.ask("", plan.InHeader, nil, ends)
	case w.limit.For == model.ClientTimeout && haproxy:
		return "headers have a time of their own, and while a body is waited for the server's time runs too"
	case w.limit.For == model.ClientTimeout:
		w.ask("", plan.InBody, func(q *plan.Request) { q.Method, q.Size = "POST", 1000 }, ends)
	case w.limit.For == model.TunnelTimeout && tunnelsElsewhere(w.cfg, w.route):
		return "requests for tunnels take another route"
	case w.limit.For == model.TunnelTimeout && (w.route.Upgrade != nil || w.cfg.Balancer != "nginx"):
		w.ask("", plan.InTunnel, func(q *plan.Request) { *q = upgrading(*q) }, ends)
	}
	return ""
}

// wait is the time that a claim is about.
func wait(claim plan.Claim) time.Duration {
	return time.Duration(math.Round(claim.Params["after_s"] * 1e9))
}

// attempts is how often a POST that a backend has seen is sent when its answer does not come.
func attempts(cfg model.Config, r model.Route) int {
	if r.Retry == nil || !r.Retry.AnyMethod {
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
		return o.Key() != r.Key() && o.Port == r.Port && slices.ContainsFunc(o.When, func(when string) bool {
			c, ok := readCondition(when)
			return !ok || strings.EqualFold(c.header, "upgrade")
		})
	})
}
