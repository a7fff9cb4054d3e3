package checks

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Question is a single request to the balancer, and what an honest one answers. Where the balancer decides by the request alone, a
// question on each side of what is promised says as much as thousands on one.
type Question struct {
	Why  string // what it is about, as "just outside of /api"
	Kind string // Asked, Refused, Waited, Spoilt, Spread or Severed
	Ask  plan.Request
	Want Reply
}

// Reply is what is to come of a question. Fields that are not set do not matter.
type Reply struct {
	Given   []int                                                     // answers with other statuses say nothing
	Backend bool                                                      // answers of the balancer itself say nothing
	Codes   []int                                                     // the status is one of these
	Not     int                                                       // the status is not this one
	Pool    string                                                    // a server of this pool answers
	Self    bool                                                      // no backend does
	Own     bool                                                      // no backend does, and none has seen the request
	Spared  string                                                    // no server of this pool does, and none has seen the request
	Paths   []string                                                  // that backends see of it, each
	Arrives [2]int                                                    // at how many backends the request arrives, least and most; 0, 0 is any
	Has     map[string][]string                                       // fields of the answer, and all their values; none: it is absent
	Some    []string                                                  // fields of the answer that are there, whatever their value
	Like    func(header url.Values) string                            // says what else of the answer's fields is not as it is to be; empty: nothing
	Shake   map[string]string                                         // how the handshake goes
	Within  Interval                                                  // from sending to the end of the answer
	Instead func(header url.Values, arrived []history.Arrival) string // says what is wrong in place of all that follows, be there an answer or none
	Quiet   Interval                                                  // how long the client is silent until the balancer ends it
	Access  []model.Access                                            // who is let in; others get 403
	From    string                                                    // the address that it comes from, where that is not the worker\'s
}

// Interval is a time from Least to Most; the zero value is any.
type Interval struct{ Least, Most time.Duration }

func (i Interval) String() string { return fmt.Sprintf("%s to %s", span(i.Least), span(i.Most)) }

func (i Interval) holds(d time.Duration) bool { return i == Interval{} || d >= i.Least && d <= i.Most }

// questions are those of a claim; cannot says why no run could ask them.
type questions func(model.Config, plan.Claim) (asked []Question, cannot string)

// Often is how many times each question is asked: workers and connections may differ.
const Often = 3

// trials are those of a claim's questions, one for each of their kinds.
func trials(questions questions, cfg model.Config, claim plan.Claim) []Trial {
	asked, _ := questions(cfg, claim)
	var all []Trial
	for _, kind := range []string{Asked, Refused, Waited, Spoilt, Spread, Severed} {
		t := Trial{Kind: kind, Shows: "what single requests come to, of each a few", Load: plan.Phase{Engine: plan.Prober, Concurrency: together[kind]}}
		for _, q := range asked {
			if q.Kind == kind {
				t.Load.Requests = append(t.Load.Requests, q.Ask)
				t.Load.Waits = max(t.Load.Waits, q.Want.Within.Most, q.Want.Quiet.Most)
			}
		}
		if t.Load.Count = Often * len(t.Load.Requests); t.Load.Count == 0 {
			continue
		}
		if kind == Refused {
			t.Load.Clients = plan.Clients{Count: 1, Addresses: true}
			t.Load.Count = refusals(cfg, t.Load.Requests) * len(t.Load.Requests)
			t.Shows = "what a refusal by a limit looks like"
		}
		if kind == Waited {
			t.Load.Timeout, t.Shows = patience+grace, "when the balancer gives up"
			t.Load.Count = (Often + 1) * len(t.Load.Requests) // of those that wait together one more costs no time
		}
		all = append(all, t)
	}
	return all
}

// refusals is how often requests are sent so that a limit refuses some of each.
func refusals(cfg model.Config, requests []plan.Request) int {
	most := 0
	for _, r := range requests {
		path, _, _ := strings.Cut(r.Path, "?")
		route, _ := cfg.Route(r.Port, r.Header["Host"], path)
		for _, l := range route.Limits {
			if l.Law != model.InFlight {
				most = max(most, atOnce(l))
			}
		}
	}
	return 2*most + 4*Often
}

// together is how many questions of a kind are asked at a time. Those that wait all wait together.
var together = map[string]int{Asked: 8, Refused: 256, Waited: 1 << 16, Spoilt: 1, Spread: 1, Severed: 8}

// judgeQuestions holds every answer against what is to come of its question.
func judgeQuestions(questions questions, claim plan.Claim, h history.History) Finding {
	asked, cannot := questions(h.Plan.Config, claim)
	f := Finding{Cannot: cannot, Test: fmt.Sprintf("every question asked %d times, answers against what the configuration says", Often)}
	if cannot != "" {
		return f
	}
	if len(asked) == 0 {
		f.Broken = NoExperiment + ": lbproof knows no single request that shows it"
		open := h.Plan.Config
		open.Routes = Opened(open.Routes)
		if with, _ := questions(open, claim); len(with) > 0 {
			f.Broken = askedFor
		}
		return f
	}
	answers, wrong := compared(asked, h)
	f.Need = Often * len(asked)
	var without []string
	for i, n := range answers {
		if f.N += min(n, Often); n < Often {
			without = append(without, asked[i].Why)
		}
	}
	f.Predicted = fmt.Sprintf("%s answered as configured", plural(len(asked), "question"))
	f.Measured = fmt.Sprintf("%s of %s otherwise", number(wrong.total), number(f.N))
	f.Power = fmt.Sprintf("would have caught every balancer that answers one of %s otherwise", plural(len(asked), "question"))
	if len(without) > 0 && len(without) < len(asked) {
		f.Note = "not enough answers that say something: " + strings.Join(slices.Compact(without), "; ")
	}
	if f.Broken = died(h); f.Broken == "" {
		f.Broken = lostWitness(h)
		f.Counter = wrong.list()
	}
	return f
}

// compared holds all answers against their questions: how many there are of each, and which are otherwise.
func compared(asked []Question, h history.History) (answers []int, wrong examples) {
	by := map[string]int{}
	for i, q := range asked {
		by[written(Carrying(q.Ask, h.Plan.Carried))] = i
	}
	find, seen := journeys(h), map[uint64][]history.Arrival{}
	mine := func(seq uint64) (q int, ok bool) {
		j := find(seq)
		if j == nil || h.Plan.Phases[j.load].Engine != plan.Prober {
			return 0, false
		}
		q, ok = by[written(j.request)]
		return q, ok
	}
	for a := range h.Arrivals {
		if _, ok := mine(a.Seq); ok {
			seen[a.Seq] = append(seen[a.Seq], a)
		}
	}
	answers = make([]int, len(asked))
	for hit := range h.Hits {
		i, ok := mine(hit.Seq)
		if !ok || hit.Err == history.Tester || len(asked[i].Want.Given) > 0 && !slices.Contains(asked[i].Want.Given, hit.Code) || asked[i].Want.Backend && hit.Server == "" {
			continue
		}
		answers[i]++
		if what := asked[i].Want.differs(h, hit, seen[hit.Seq]); what != "" {
			wrong.add("request %d (%s, %s): %s", hit.Seq, spoken(asked[i].Ask), asked[i].Why, what)
		}
	}
	return answers, wrong
}

// written is a request as a key of maps.
func written(r plan.Request) string {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Sprint(r)
	}
	return string(text)
}

// spoken is a request in a sentence.
func spoken(r plan.Request) string {
	host := r.Header["Host"]
	if host == "" {
		host = fmt.Sprintf("port %d", r.Port)
	}
	return fmt.Sprintf("%s %s at %s", r.Method, r.Path, host)
}

// differs says in what an answer is not the one that was to come; empty where it is.
func (r Reply) differs(h history.History, hit history.Hit, arrived []history.Arrival) string {
	if what := r.handshake(hit); what != "" || r.Shake != nil {
		return what
	}
	if r.Quiet != (Interval{}) {
		return r.silence(hit)
	}
	if hit.Err != "" && r.Instead == nil {
		return fmt.Sprintf("no answer (%s)", hit.Err)
	}
	header, err := url.ParseQuery(hit.Header)
	if err != nil {
		return "its header fields cannot be read: " + err.Error()
	}
	if r.Instead != nil {
		return r.Instead(header, arrived)
	}
	codes := r.Codes
	from := h.Env.Client
	if r.From != "" {
		from = r.From
	}
	if client, err := netip.ParseAddr(from); len(r.Access) > 0 && err == nil && !letIn(r.Access, client) {
		codes, r.Not = []int{403}, 0
	}
	switch took := hit.Done - hit.Sent; {
	case len(codes) > 0 && !slices.Contains(codes, hit.Code):
		return fmt.Sprintf("answered %d by %s instead of %s", hit.Code, who(hit), alternatives(codes))
	case r.Not != 0 && hit.Code == r.Not:
		return fmt.Sprintf("answered %d by %s", hit.Code, who(hit))
	case r.Pool != "" && !serves(h.Plan.Config, r.Pool, hit.Server):
		return fmt.Sprintf("answered %d by %s, which is no server of %s", hit.Code, who(hit), r.Pool)
	case (r.Own || r.Self) && hit.Server != "":
		return fmt.Sprintf("answered %d by %s, where the balancer is to answer by itself", hit.Code, hit.Server)
	case r.Own && len(arrived) > 0:
		return fmt.Sprintf("it reached %s", arrived[0].Server)
	case r.Spared != "" && reaches(h.Plan.Config, r.Spared, arrived) != "":
		return fmt.Sprintf("answered %d, and it reached %s", hit.Code, reaches(h.Plan.Config, r.Spared, arrived))
	case !r.Within.holds(took):
		return fmt.Sprintf("answered %d after %s instead of %s", hit.Code, span(took.Round(time.Millisecond)), r.Within)
	}
	if n := len(arrived); r.Arrives[1] > 0 && (n < r.Arrives[0] || n > r.Arrives[1]) {
		return fmt.Sprintf("answered %d, and reached backends %d times instead of %s", hit.Code, n, times(r.Arrives))
	}
	if r.Paths != nil {
		if seen := paths(arrived); !slices.Equal(seen, slices.Sorted(slices.Values(r.Paths))) {
			return fmt.Sprintf("answered %d, and backends saw %s instead of %s", hit.Code, and(seen), and(r.Paths))
		}
	}
	if what := r.fields(header); what != "" {
		return fmt.Sprintf("answered %d by %s %s", hit.Code, who(hit), what)
	}
	return ""
}

// reaches is the first server of a pool that a request arrived at; empty where none did.
func reaches(cfg model.Config, pool string, arrived []history.Arrival) string {
	i := slices.IndexFunc(arrived, func(a history.Arrival) bool { return serves(cfg, pool, a.Server) })
	if i < 0 {
		return ""
	}
	return arrived[i].Server
}

// paths are those of a request's arrivals, each once.
func paths(arrived []history.Arrival) (seen []string) {
	for _, a := range arrived {
		if noted, err := url.ParseQuery(a.Header); err == nil {
			path, _, _ := strings.Cut(noted.Get(history.NotedPath), "?")
			seen = append(seen, path)
		}
	}
	slices.Sort(seen)
	return slices.Compact(seen)
}

// fields says which header field of an answer is not as it is to be.
func (r Reply) fields(header url.Values) string {
	for _, name := range slices.Sorted(maps.Keys(r.Has)) {
		got, want := header[name], r.Has[name]
		if slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
			continue
		}
		switch {
		case len(want) == 0:
			return fmt.Sprintf("with %s: %q, which is not to be there", name, strings.Join(got, ", "))
		case len(got) == 0:
			return fmt.Sprintf("without %s: %s", name, strings.Join(want, ", "))
		}
		return fmt.Sprintf("with %s: %q instead of %q", name, got, want)
	}
	for _, name := range r.Some {
		if len(header[name]) == 0 {
			return "without " + name
		}
	}
	if r.Like != nil {
		return r.Like(header)
	}
	return ""
}

// handshake says what of a TLS handshake is not as it is to be.
func (r Reply) handshake(hit history.Hit) string {
	if r.Shake == nil {
		return ""
	}
	got, err := url.ParseQuery(hit.Shake)
	if err != nil {
		return "the handshake cannot be read: " + err.Error()
	}
	for _, name := range slices.Sorted(maps.Keys(r.Shake)) {
		is, want := got.Get(name), r.Shake[name]
		switch {
		case is == want:
		case name == history.ShakenAlert && is == "":
			return fmt.Sprintf("accepted with %s %s", got.Get(history.ShakenVersion), got.Get(history.ShakenSuite))
		case got.Get(history.ShakenAlert) != "":
			return "refused with alert " + got.Get(history.ShakenAlert)
		case got.Get(history.ShakenVersion) == "":
			return fmt.Sprintf("no handshake (%s)", hit.Err)
		case name == history.ShakenTrust:
			return "the certificate is not to be trusted: " + is
		default:
			return fmt.Sprintf("%s is %q instead of %q", name, is, want)
		}
	}
	return ""
}

// silence says whether the balancer ended a silent client's connection at another time.
func (r Reply) silence(hit history.Hit) string {
	switch {
	case hit.Quiet == 0 && hit.Err != "":
		return fmt.Sprintf("no answer (%s)", hit.Err)
	case hit.Err == history.Timeout && hit.Quiet < r.Quiet.Most:
		return "" // lbproof did not wait long enough, and it was not over before
	case hit.Err == history.Timeout:
		return fmt.Sprintf("not ended after %s", span(hit.Quiet.Round(time.Millisecond)))
	case hit.Quiet > r.Quiet.Most || max(hit.Quiet, hit.Done-hit.Sent) < r.Quiet.Least: // the client may have heard the answer late
		return fmt.Sprintf("ended after %s instead of %s", span(hit.Quiet.Round(time.Millisecond)), r.Quiet)
	case len(r.Codes) > 0 && hit.Code != 0 && !slices.Contains(r.Codes, hit.Code):
		return fmt.Sprintf("answered %d instead of %s", hit.Code, alternatives(r.Codes))
	}
	return ""
}

// serves says whether a server is one of a pool, or of the pools of a split; where the configuration has neither, a program chose it.
func serves(cfg model.Config, pool, server string) bool {
	if split, ok := cfg.Split(pool); ok {
		return slices.ContainsFunc(split.Shares, func(s model.Share) bool { return serves(cfg, s.Pool, server) })
	}
	p, ok := cfg.Pool(pool)
	return !ok && server != "" || slices.ContainsFunc(p.Servers, func(s model.Server) bool { return s.Host == server })
}

// letIn says whether the first rule that fits lets an address in; where none fits, it is.
func letIn(rules []model.Access, from netip.Addr) bool {
	for _, a := range rules {
		network, err := netip.ParsePrefix(a.From)
		if addr, alone := netip.ParseAddr(a.From); alone == nil && err != nil {
			network, err = addr.Prefix(addr.BitLen())
		}
		if a.From == "all" || err == nil && network.Contains(from) {
			return a.Allow
		}
	}
	return true
}

// welcome is an address of the balancer's own host that is let in.
func welcome(rules []model.Access) (from string, ok bool) {
	all := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	for _, a := range rules {
		if network, err := netip.ParsePrefix(a.From); err == nil && network.Addr().Is4() {
			all = append(all, lastOf(network))
		} else if addr, err := netip.ParseAddr(a.From); err == nil && addr.Is4() {
			all = append(all, addr)
		}
	}
	for _, addr := range all {
		if letIn(rules, addr) {
			return addr.String(), true
		}
	}
	return "", false
}

// lastOf is the last address of a network but one: hardly anybody else's.
func lastOf(network netip.Prefix) netip.Addr {
	b := network.Masked().Addr().As4()
	host := uint32(1)<<(32-network.Bits()) - 1
	for i := range b {
		b[i] |= byte(host >> (8 * (3 - i)))
	}
	if network.Bits() < 31 {
		b[3]--
	}
	return netip.AddrFrom4(b)
}

// alternatives prints statuses as "502 or 504".
func alternatives(codes []int) string { return strings.ReplaceAll(statusList(codes), ", ", " or ") }

// wish asks the backend for an answer, see backends.Wish; empty is 200 whatever is asked.
func wish(text string) map[string]string {
	if text == "" {
		text = "status=200"
	}
	return map[string]string{history.WishHeader: text}
}

// programmed says whether something that lbproof cannot read decides on the route's requests.
func programmed(r model.Route) bool {
	return r.Guarded && len(r.Limits)+len(r.Access)+len(r.Rules) == 0 && r.Auth == nil
}

// Carrying is a request that carries a header, where it has no such field of its own.
func Carrying(r plan.Request, header map[string]string) plan.Request {
	if len(header) == 0 {
		return r
	}
	all := maps.Clone(header)
	maps.Copy(all, r.Header)
	r.Header = all
	return r
}

// shut says whether a program or a list of users decides which of a route's requests pass, and nothing that lbproof could meet.
func shut(r model.Route) bool {
	if byUsers(r) {
		r.Auth = nil
	}
	return programmed(r)
}

// askedFor says how what is shut is opened.
const askedFor = "something that lbproof cannot read decides which requests pass; --header gives them what it asks for"

// Opened are routes as they are for requests that something lets through which lbproof cannot read.
func Opened(routes []model.Route) []model.Route {
	routes = slices.Clone(routes)
	for i, r := range routes {
		routes[i].Guarded = r.Guarded && !shut(r)
	}
	return routes
}

// wishing is a request that takes a route and that a backend answers as it is asked to. ok is false where lbproof knows none.
func wishing(cfg model.Config, r model.Route, text string) (request plan.Request, ok bool) {
	if r.Internal || r.Redirect != nil || programmed(r) {
		return request, false
	}
	path := r.Path
	if r.Regex {
		if path, ok = sample(r.Path); !ok {
			return request, false
		}
	}
	host, _ := r.Askable()
	if len(r.Hosts) > 0 && host == "" {
		return request, false
	}
	request = plan.Request{Method: "GET", Port: r.Port, TLS: r.TLS, Path: path, Header: wish(text)}
	if asksBackend(r) && !strings.Contains(text, "at=") {
		request.Header[history.WishHeader] += "&at=" + r.Seen(path)
	}
	if host != "" {
		request.Header["Host"] = host
	}
	if len(r.Access) > 0 {
		if request.From, ok = welcome(r.Access); !ok {
			return request, false
		}
	}
	for _, when := range r.When {
		if !meetCondition(when, &request) {
			return request, false
		}
	}
	for _, rule := range r.Rules {
		if rule.Code != 0 && !missCondition(rule.When, &request) {
			return request, false
		}
	}
	if strings.EqualFold(request.Header["Upgrade"], "websocket") {
		return upgrading(request), true
	}
	if len(r.When) > 0 {
		return request, true
	}
	got, found := cfg.Route(r.Port, host, path)
	return request, found && got.Key() == r.Key()
}

// times prints how often.
func times(least [2]int) string {
	if least[0] == least[1] {
		return fmt.Sprint(least[0])
	}
	return fmt.Sprintf("%d to %d", least[0], least[1])
}
