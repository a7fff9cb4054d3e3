// Package checks decides promises. Each check says which claims it makes of a configuration, which requests it needs
// beyond the scenario's own, and how a history judges a claim. Everything here is a pure function of its arguments.
//
// To add a check: one file here with its Claims and Judge, one line in All, and a mutant in fixtures that it refutes.
package checks

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/stats"
)

// Check is one kind of promise.
type Check struct {
	Name string
	Doc  string // what is promised
	Law  string // what an honest run keeps to, and so what refutes
	// Claims lists the promises of this kind that a configuration makes.
	Claims func(model.Config) []plan.Claim
	// Probes are requests that judging the claim needs and that a scenario may not send; nil where any traffic will do.
	Probes func(model.Config, plan.Claim) []plan.Request
	// Trials are traffic that shows whether the claim holds, where lbproof designs the experiments; nil where Probes will do.
	Trials func(model.Config, plan.Claim, Terms) []Trial
	// Questions are single requests and what is to come of each, where that is all there is to judge; cannot says why no run
	// could ask them. A check with questions needs no Trials and no Judge.
	Questions func(model.Config, plan.Claim) (asked []Question, cannot string)
	// Beside is a kind of questions that take too long for what they tell of the claim: they are asked where another check asks some of the kind.
	Beside string
	// Evidence is what Judge takes from a history beside the hits and arrivals of clients' own requests.
	Evidence Evidence
	// Judge weighs the evidence that a history holds on one claim; nil where there is no experiment yet.
	Judge func(plan.Claim, history.History) Finding
}

// Evidence is what a check takes from a history. The zero value: hits and arrivals of clients' own requests.
type Evidence struct {
	// Subrequests reports whether what the balancer asks backends on its own account counts too; nil: it does not.
	Subrequests func(model.Config, plan.Claim) bool
	// Copies: mirrored arrivals count.
	Copies bool
	// Joined: the check needs to know whose each arrival is, and so decides nothing where the balancer sends a client's id on its own account.
	Joined bool
	// Attempts reports whether failed attempts, which carry no id, must be told apart too; noted: every request says what it is
	// for. nil: the check counts no attempts.
	Attempts func(cfg model.Config, claim plan.Claim, noted bool) bool
	// Undisturbed: an attempt that failed unexplained makes a counter-example undecided.
	Undisturbed bool
}

// always is the evidence of a check that takes it for every claim.
func always(model.Config, plan.Claim) bool { return true }

// Decides says whether there is an experiment for its claims.
func (c Check) Decides() bool { return c.Judge != nil || c.Questions != nil }

// askedIn are its questions without those that a plan does not ask because nothing else needs their kind.
func (c Check) askedIn(p plan.Plan) questions {
	sent := func(q Question) bool {
		key := written(Carrying(q.Ask, p.Carried))
		return slices.ContainsFunc(p.Phases, func(l plan.Phase) bool {
			return l.Engine == plan.Prober && slices.ContainsFunc(l.Requests, func(r plan.Request) bool { return written(r) == key })
		})
	}
	return func(cfg model.Config, claim plan.Claim) (asked []Question, cannot string) {
		asked, cannot = c.Questions(cfg, claim)
		return slices.DeleteFunc(asked, func(q Question) bool { return q.Kind == c.Beside && !sent(q) }), cannot
	}
}

// All is every check, in the order of reports.
var All = []Check{
	weights,     // a pool's servers share its requests by their weights
	algorithm,   // how a pool chooses where it is not by turns
	backup,      // backups wait for the others to fail
	drained,     // servers out of rotation get nothing
	conns,       // requests in flight per server
	split,       // canaries: shares of the traffic to different pools
	sticky,      // a client stays with its server
	passive,     // failed requests take a server out
	active,      // health checks take a server out
	retries,     // what is sent again
	fallback,    // who answers instead
	breaker,     // everything is refused after too many failures
	limits,      // rates and numbers at a time
	routes,      // which request goes where
	rules,       // what a condition refuses, redirects or rewrites
	redirects,   // what is sent elsewhere
	access,      // who is let in, by address
	auth,        // who is let in, by another service or a password
	answered,    // no request is lost or failed
	once,        // no request is delivered twice
	headers,     // the request headers that the configuration sets reach the backend
	response,    // the response headers that it adds reach the client
	endpoint,    // what the balancer answers by itself
	own,         // the balancer's own pages
	counters,    // what those count
	accessLog,   // what is written of requests
	tls,         // versions, ciphers, certificates
	timeouts,    // how long the balancer waits
	framing,     // where a request ends
	body,        // how large requests may be
	compression, // what is made smaller
	websocket,   // tunnels
	mirror,      // copies of requests
	keepalive,   // connections to backends
	resolve,     // when names are looked up
	reload,      // a changed file loses no request
	restarts,    // no container restarts or runs out of memory
	queries,     // what rules of Prometheus ask for
	expect,      // what the scenario expects of its phases
}

// NoExperiment is what is said of a claim that no check can judge yet.
const NoExperiment = "no experiment yet"

// Names are those of all checks.
func Names() []string {
	var names []string
	for _, c := range All {
		names = append(names, c.Name)
	}
	return names
}

// Find gives the check of that name.
func Find(name string) (Check, error) {
	for _, c := range All {
		if c.Name == name {
			return c, nil
		}
	}
	return Check{}, fmt.Errorf("no check is called %q", name)
}

// Claims lists every promise that the configuration makes.
func Claims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, c := range All {
		claims = append(claims, c.Claims(cfg)...)
	}
	return claims
}

// Probes lists the requests that the claims need beyond a scenario's own, each once.
func Probes(cfg model.Config, claims []plan.Claim) []plan.Request {
	var probes []plan.Request
	seen := map[string]bool{}
	for _, claim := range claims {
		check, err := Find(claim.Check)
		if err != nil || check.Probes == nil {
			continue
		}
		for _, r := range check.Probes(cfg, claim) {
			if key := fmt.Sprint(r); !seen[key] {
				seen[key] = true
				r.Claim = claim.ID
				probes = append(probes, r)
			}
		}
	}
	return probes
}

// Judge decides every claim of a history's plan. It fails only where the history cannot be read.
func Judge(h history.History) (report.Report, error) {
	all := h
	h = byClients(h)
	phases, err := phases(h)
	if err != nil {
		return report.Report{}, err
	}
	book, err := account(originals(h))
	if err != nil {
		return report.Report{}, fmt.Errorf("join the ledgers: %w", err)
	}
	findings := make([]Finding, len(h.Plan.Claims))
	for i, claim := range h.Plan.Claims {
		if findings[i] = outside(claim, h.Plan); findings[i].Broken != "" {
			continue
		}
		seen := h
		if check, err := Find(claim.Check); err == nil && check.Evidence.Subrequests != nil && check.Evidence.Subrequests(h.Plan.Config, claim) {
			seen = all
		}
		findings[i] = find(claim, seen)
		if err := h.Err(); err != nil {
			return report.Report{}, fmt.Errorf("judge %s: %w", claim.ID, err)
		}
	}
	r := report.Report{
		Schema:   report.ReportSchema,
		Name:     h.Plan.Name,
		Alpha:    h.Plan.Alpha,
		Beta:     h.Plan.Beta,
		Env:      h.Env,
		Verdicts: Decide(h.Plan.Claims, findings, h.Plan.Alpha),
		Phases:   phases,
		Ledger:   book,
	}
	for i, claim := range h.Plan.Claims {
		r.Verdicts[i].Outside = !h.Plan.Decides(claim)
	}
	if err := h.Err(); err != nil {
		return report.Report{}, err
	}
	return r, nil
}

// outside says why a claim is not looked at in a run that did not set out to decide it.
func outside(claim plan.Claim, p plan.Plan) Finding {
	if p.Decides(claim) {
		return Finding{}
	}
	if check, err := Find(claim.Check); err == nil && !check.Decides() {
		return Finding{Broken: NoExperiment}
	}
	return Finding{Broken: "not what the scenario " + p.Name + " looks at"}
}

// find runs one check. A crash of a check says nothing about the balancer.
func find(claim plan.Claim, h history.History) (f Finding) {
	defer func() {
		if crash := recover(); crash != nil {
			f = Finding{Broken: fmt.Sprintf("the check crashed: %v", crash)}
		}
	}()
	check, err := Find(claim.Check)
	if err != nil {
		return Finding{Cannot: err.Error() + " in this version of lbproof"}
	}
	if !check.Decides() {
		return Finding{Broken: NoExperiment}
	}
	if why := check.Evidence.mixed(h.Plan, claim); why != "" {
		return Finding{Broken: why}
	}
	h = focused(h, claim.Check)
	if !check.Evidence.Copies {
		h = originals(h)
	}
	if check.Judge == nil {
		return judgeQuestions(check.askedIn(h.Plan), claim, h)
	}
	f = check.Judge(claim, h)
	if why := attemptFailed(h); why != "" && len(f.Counter) > 0 && check.Evidence.Undisturbed {
		f.Counter, f.Broken = nil, why
	}
	if f.N == 0 && f.Cannot == "" && len(h.Plan.Carried) == 0 && slices.ContainsFunc(h.Plan.Config.Routes, shut) {
		f.Note = strings.TrimPrefix(f.Note+"; "+askedFor, "; ")
	}
	return f
}

// attemptFailed says where the balancer's log tells of a failed attempt that nobody made fail.
func attemptFailed(h history.History) string {
	if slices.ContainsFunc(h.Env.Marks, func(m history.Mark) bool { return m.Event.Fault != "slow" }) {
		return ""
	}
	for _, l := range h.Env.Logged {
		if strings.Contains(l.Text, "upstream") && strings.Contains(l.Text, "while") {
			return fmt.Sprintf("the balancer's log tells of attempts that failed, after which it leaves a server alone: %s", l.Text)
		}
	}
	return ""
}

// mixed says why arrivals do not tell what became of a client's request: where the balancer asks backends on its own
// account (a mirror, or whether a request may pass), it does so with the client's headers, the id among them.
func (e Evidence) mixed(p plan.Plan, claim plan.Claim) string {
	cfg, noted := p.Config, true
	for _, l := range p.Phases {
		for _, r := range l.Requests {
			path, _, _ := strings.Cut(r.Path, "?")
			route, ok := cfg.Route(r.Port, r.Header["Host"], path)
			noted = noted && (!ok || !asksBackend(route) || r.Header[history.WishHeader] != "")
		}
	}
	attempts := e.Attempts != nil && e.Attempts(cfg, claim, noted)
	if !e.Joined && !attempts {
		return ""
	}
	for _, r := range cfg.Routes {
		pos, pools := model.Pos{}, []string{r.Pool}
		if (!noted || attempts) && r.Auth != nil && strings.HasPrefix(r.Auth.By, "/") {
			pos = r.Auth.Pos
			if attempts {
				pools = nil
			}
			pools = append(pools, poolsAt(cfg, r.Auth.By)...)
		}
		if len(r.Mirrors) > 0 && len(copiers(cfg, r)) == 0 {
			pos = r.Mirrors[0].Pos
		}
		if pos.File != "" && (claim.Subject == r.Key() || slices.Contains(pools, claim.Subject)) {
			return fmt.Sprintf("%s: the balancer asks backends with the client's id on its own account too, and lbproof cannot tell those requests apart yet", pos)
		}
	}
	return ""
}

// poolsAt are the pools of the routes at a path.
func poolsAt(cfg model.Config, path string) []string {
	var pools []string
	for _, r := range cfg.Routes {
		if r.Path == path && r.Pool != "" {
			pools = append(pools, r.Pool)
		}
	}
	return pools
}

// failure is the ratio of wrong requests that a claim about every request must be able to show.
const failure = 0.01

// needAll is how many requests a claim about every request needs.
func needAll(h history.History) int { return stats.NeedToSee(failure, 1-h.Plan.Beta) }

// powerAll says what n requests without a counter-example have shown.
func powerAll(n int, h history.History) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("would have caught a failure of %s of requests with probability %g",
		percent(stats.Smallest(n, 1-h.Plan.Beta)), 1-h.Plan.Beta)
}

// percent prints a ratio with two digits, as 0.34 %.
func percent(ratio float64) string { return fmt.Sprintf("%.2g %%", 100*ratio) }

// number prints a count with thousands apart, as 20,000.
func number(n int) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// examples keeps the first few contradictions, and counts all.
type examples struct {
	first []string
	total int
}

const shown = 5

func (e *examples) add(format string, args ...any) {
	if e.total++; len(e.first) < shown {
		e.first = append(e.first, fmt.Sprintf(format, args...))
	}
}

// list ends with the number of contradictions that it leaves out.
func (e *examples) list() []string {
	if e.total > len(e.first) {
		return append(e.first, fmt.Sprintf("and %s more", number(e.total-len(e.first))))
	}
	return e.first
}

// journey is what a hit sent, and which way the configuration sends it.
type journey struct {
	load    int
	request plan.Request
	route   model.Route
	key     string // of the route
	tunnel  bool   // it is a message of a WebSocket connection, whose way was chosen when that was opened
}

// journeys finds the journey of a hit by its number; nil where the plan sends no such hit.
func journeys(h history.History) func(seq uint64) *journey {
	all := make([][]journey, len(h.Plan.Phases))
	first := make([]uint64, len(h.Plan.Phases))
	for i, l := range h.Plan.Phases {
		first[i] = h.Plan.First(i)
		for _, r := range l.Requests {
			route := routeTaken(h.Plan.Config, r, host(h, r))
			all[i] = append(all[i], journey{load: i, request: r, route: route, key: route.Key(), tunnel: l.Engine == plan.WebSocket})
		}
	}
	return func(seq uint64) *journey {
		for i, l := range h.Plan.Phases {
			if seq >= first[i] && seq-first[i] < uint64(l.Count) {
				return &all[i][l.Which(int(seq-first[i]))]
			}
		}
		return nil
	}
}

// routeTaken is the route that a request takes: handshakes may have one of their own.
func routeTaken(cfg model.Config, r plan.Request, host string) model.Route {
	path, _, _ := strings.Cut(r.Path, "?")
	plain, _ := cfg.Route(r.Port, host, path)
	if r.Header["Upgrade"] == "" {
		return plain
	}
	for _, o := range cfg.Routes {
		upgrades := func(when string) bool {
			c, ok := readCondition(when)
			return ok && strings.EqualFold(c.header, "upgrade") && !c.not && !c.regex && strings.EqualFold(c.value, r.Header["Upgrade"])
		}
		here := o.Port == r.Port && strings.HasPrefix(path, o.Path) && (len(o.Hosts) == 0 || slices.Contains(o.Hosts, host))
		if here && len(o.When) > 0 && !slices.ContainsFunc(o.When, func(when string) bool { return !upgrades(when) }) {
			return o
		}
	}
	return plain
}

// proxied lists the routes that lead to a pool and that a plain request can be made for.
func proxied(cfg model.Config) []model.Route {
	var routes []model.Route
	for _, r := range cfg.Routes {
		literal := r
		literal.Regex = false
		host, ok := literal.Askable()
		if ok && r.Regex {
			taken, found := cfg.Route(r.Port, host, example(r))
			ok = found && taken.Key() == r.Key()
		}
		if ok && r.Pool != "" && r.Redirect == nil {
			routes = append(routes, r)
		}
	}
	return routes
}

// example is a path that takes a route; empty where lbproof finds none.
func example(r model.Route) string {
	if !r.Regex {
		return r.Path
	}
	path, _ := sample(r.Path)
	return path
}

// probe is a request that takes a route and tries to pass for another client's: forged headers must not get through where
// the configuration sets them, and do no harm elsewhere.
func probe(cfg model.Config, claim plan.Claim) []plan.Request {
	r, ok := routeOf(cfg, claim)
	if !ok {
		return nil
	}
	return []plan.Request{ask(r, forged)}
}

// ask is a request that takes a route.
func ask(r model.Route, header map[string]string) plan.Request {
	if host, _ := r.Askable(); host != "" {
		header = maps.Clone(header)
		if header == nil {
			header = map[string]string{}
		}
		header["Host"] = host
	}
	request := plan.Request{Method: "GET", Port: r.Port, TLS: r.TLS, Path: example(r), Header: maps.Clone(header)}
	if request.Header == nil {
		request.Header = map[string]string{}
	}
	if asksBackend(r) {
		maps.Copy(request.Header, wish("status=200&at="+r.Seen(request.Path)))
	}
	for _, rule := range r.Rules {
		if rule.Code != 0 {
			missCondition(rule.When, &request)
		}
	}
	if len(request.Header) == 0 {
		request.Header = nil
	}
	return request
}

// asksBackend says whether the balancer asks a backend, by a route of its own, if a request may pass.
func asksBackend(r model.Route) bool { return r.Auth != nil && strings.HasPrefix(r.Auth.By, "/") }

// byClients leaves out the arrivals of requests by which the balancer asks a backend on its own account, where that noted the path.
func byClients(h history.History) history.History {
	asked := map[string]bool{}
	for _, r := range h.Plan.Config.Routes {
		if !asksBackend(r) {
			continue
		}
		for _, by := range h.Plan.Config.Routes {
			if by.Path == r.Auth.By {
				asked[by.Seen(by.Path)] = true
			}
		}
	}
	if len(asked) == 0 {
		return h
	}
	arrivals := h.Arrivals
	h.Arrivals = func(yield func(history.Arrival) bool) {
		for a := range arrivals {
			if noted, err := url.ParseQuery(a.Header); err == nil && asked[noted.Get(history.NotedPath)] {
				continue
			}
			if !yield(a) {
				return
			}
		}
	}
	return h
}

// asksItself says whether a pool's servers are those that are asked about all requests to it, so that these take turns with them.
func asksItself(cfg model.Config, pool string) bool {
	itself := false
	for _, r := range cfg.Routes {
		by, asked := asker(cfg, r)
		if asked && (by.Pool == pool) != (r.Pool == pool) {
			return false
		}
		itself = itself || asked && r.Pool == pool
	}
	return itself
}

// originals leaves out the arrivals of copies, of which another promise is.
func originals(h history.History) history.History {
	if !slices.ContainsFunc(h.Plan.Config.Routes, func(r model.Route) bool { return len(r.Mirrors) > 0 }) {
		return h
	}
	find, arrivals := journeys(h), h.Arrivals
	h.Arrivals = func(yield func(history.Arrival) bool) {
		for a := range arrivals {
			if j := find(a.Seq); j != nil && slices.Contains(copiers(h.Plan.Config, j.route), a.Server) {
				continue
			}
			if !yield(a) {
				return
			}
		}
	}
	return h
}

// lostWitness says which backends' ledgers have rows missing; empty where none has.
func lostWitness(h history.History) string {
	if len(h.Env.Lost) == 0 {
		return ""
	}
	return "the backends' ledger is not whole: " + strings.Join(h.Env.Lost, "; ")
}

// died says which container was gone before the traffic ended; empty where none was. What failed then may be the
// environment's doing.
func died(h history.History) string {
	for _, n := range h.Env.Nodes {
		if n.Exit != "" {
			return fmt.Sprintf("%s ended before the traffic did, with %s", n.Name, n.Exit)
		}
	}
	return ""
}

// saturated says why the sender could not keep up in a phase; empty where it could.
func saturated(h history.History, load int) string {
	if load >= len(h.Env.Phases) {
		return "" // the phase never ended, which Interrupted tells
	}
	p, l := h.Env.Phases[load], h.Plan.Phases[load]
	took := (p.End - p.Start).Seconds()
	if took <= 0 {
		return ""
	}
	if cores := p.CPU.Seconds() / took; cores > 0.9*float64(h.Env.CPUs) {
		return fmt.Sprintf("the sender was saturated in phase %s: it used %.1f of %d cores", l.Name, cores, h.Env.CPUs)
	}
	waited := p.Capped > p.Hits/20 // for answers, which is not the sender's doing
	sending := (p.LastSent - p.Start).Seconds()
	if sending <= 0 {
		sending = took
	}
	if achieved := float64(p.Hits) / sending; l.Open() && !waited && !p.Broke && !p.Known && achieved < 0.95*l.Rate {
		return fmt.Sprintf("the sender was saturated in phase %s: it sent %.0f of %.0f requests per second", l.Name, achieved, l.Rate)
	}
	return ""
}
