package checks

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
)

const (
	// stale is how old the balancer's clock may be when it decides: it reads it once for all that it does at a time.
	stale = 20 * time.Millisecond
	// unheard is how long a request may have been under way before it was decided where its answer waits for its turn, beside what
	// the slowest refusal took.
	unheard = 50 * time.Millisecond
	// off is by how much a limit must be wrong for a run to notice it.
	off = 0.25
	// toSeeRate is how many requests must be let in beyond the first ones to tell a rate from one that is off.
	toSeeRate = 12
	mostTime  = time.Minute
	askers    = 3 // addresses that ask too often
	crowd     = 10
	beyondIt  = 10 // requests more than may be in flight
	dwell     = 400 * time.Millisecond
)

// limitOf finds the limit of a claim, and the routes that share it.
func limitOf(cfg model.Config, claim plan.Claim) (group[model.Limit], bool) {
	found := limitGroups(cfg)
	for i, c := range limitClaims(cfg) {
		if c.ID == claim.ID {
			return found[i], true
		}
	}
	return group[model.Limit]{}, false
}

// limitTrials ask too often, or for too much at a time, by clients of their own.
func limitTrials(cfg model.Config, claim plan.Claim, _ Terms) []Trial {
	g, _ := limitOf(cfg, claim)
	i := slices.IndexFunc(g.routes, func(r model.Route) bool {
		_, ok := r.Askable()
		return ok && r.Pool != "" && r.Redirect == nil && len(r.Access) == 0
	})
	if i < 0 || g.what.DryRun || !judged(g.what) {
		return nil
	}
	r, l := g.routes[i], g.what
	t := Trial{Kind: Overload + " " + claim.ID, Load: plan.Phase{Requests: []plan.Request{ask(r, nil)}}}
	if isAddress(l.Key) { // who believes what clients say of themselves does not limit them
		t.Load.Clients = plan.Clients{Count: askers, Addresses: true}
		t.Load.Keys = plan.Keys{Header: "X-Forwarded-For", Values: []string{"192.0.2.1", "192.0.2.2", "198.51.100.3", "203.0.113.4", "203.0.113.5"}}
	} else if name, ok := headerKey(l.Key); ok {
		t.Load.Keys = plan.Keys{Header: name, Values: madeUp(askers)}
	} else {
		return nil
	}
	if l.Law == model.InFlight {
		return crowdTrial(cfg, t, r, l)
	}
	rate, lasts := pressure(l)
	t.Load.Rate, t.Load.Count, t.Load.Concurrency = askers*rate, int(askers*rate*lasts.Seconds()), askers*(l.Burst+2)
	for _, other := range r.Limits {
		if other.Law == model.InFlight {
			t.Load.Concurrency = min(t.Load.Concurrency, max(1, other.Most-1))
		}
	}
	if l.Law == model.TokenBucket { // one after another, or refusals cost tokens, see twoSided
		t.Load.Clients.Count, t.Load.Rate, t.Load.Concurrency, t.Load.Think = min(t.Load.Clients.Count, 1), 0, 1, time.Duration(float64(time.Second)/rate/3)
		t.Load.Count /= askers
	}
	what := claim.ID
	if t.Apart = l.Law != model.TokenBucket && !slices.ContainsFunc(r.Limits, func(o model.Limit) bool { return !isAddress(o.Key) }); t.Apart {
		what = fmt.Sprintf("by address %s for %s", perSecond(rate), span(lasts))
	}
	t.Kind = Overload + " " + what
	t.Shows = fmt.Sprintf("a limit of %s whose burst or rate is %.0f %% off, keys that share a limit, a limit that a forged X-Forwarded-For gets around", claim.Subject, 100*off)
	if l.Law != model.LeakyBucket || l.Delay >= 0 {
		return []Trial{t}
	}
	again := t
	again.Kind, again.Reload, again.Shows = Reloaded+" "+what, lasts/2, "buckets that a reload fills, of "+claim.Subject
	again.Load.Requests = slices.Clone(t.Load.Requests)
	again.Load.Fresh, again.Load.Rate, again.Load.Count = true, rate, int(rate*lasts.Seconds())
	if again.Load.Clients.Addresses {
		again.Load.Clients.Count = 1
	} else {
		again.Load.Keys.Values = []string{"key-over-a-reload"}
	}
	return []Trial{t, again}
}

// pressure is how fast a client asks too often, and for how long it must.
func pressure(l model.Limit) (rate float64, lasts time.Duration) {
	if l.Law == model.CountWindow {
		return 1.15 * l.Rate, l.Window * 3 / 2
	}
	seconds := min(max(3, toSeeRate/l.Rate), mostTime.Seconds())
	return max(3*l.Rate, 1.5*(float64(l.Burst+1)/seconds+l.Rate)), time.Duration(seconds * float64(time.Second))
}

// crowdTrial has more requests in flight than may be, at servers that take their time.
func crowdTrial(cfg model.Config, t Trial, r model.Route, l model.Limit) []Trial {
	each := l.Most + beyondIt
	for _, other := range r.Limits {
		if other.Law != model.InFlight && atOnce(other) > 0 {
			each = min(each, atOnce(other))
		}
	}
	pool, ok := cfg.Pool(r.Pool)
	if !ok || each <= l.Most { // another limit refuses before this one can
		return nil
	}
	if isAddress(l.Key) {
		t.Load.Clients.Count = crowd
	} else {
		t.Load.Keys.Values = madeUp(crowd)
	}
	t.Load.Count = crowd * each
	t.Load.Concurrency = t.Load.Count
	for _, s := range append(rotation(pool), overflow(cfg, pool)...) {
		t.Slow = append(t.Slow, Slowed{s.Host, bearable(cfg, pool, dwell)})
	}
	t.Shows = fmt.Sprintf("one request more than %d at a time let in, or one refused below that, per %s", l.Most, l.Key)
	streams := slices.ContainsFunc(cfg.Listeners, func(o model.Listener) bool { return o.Port == r.Port && o.TLS && o.HTTP2 })
	if !streams || !isAddress(l.Key) {
		return []Trial{t}
	}
	one := t
	one.Kind, one.Shows = t.Kind+" by HTTP/2 streams", "the same where all requests come over one connection"
	one.Load.Requests = slices.Clone(t.Load.Requests)
	one.Load.Engine, one.Load.Clients, one.Load.Keys, one.Load.Count, one.Load.Concurrency = plan.Vegeta, plan.Clients{}, plan.Keys{}, each, each
	return []Trial{t, one}
}

// atOnce is how many requests of a key a limit lets in at once.
func atOnce(l model.Limit) int {
	switch l.Law {
	case model.LeakyBucket:
		return l.Burst + 1
	case model.InFlight:
		return l.Most
	}
	return l.Burst
}

// judged says whether lbproof knows the law of a limit, and its rate.
func judged(l model.Limit) bool {
	switch l.Law {
	case model.InFlight:
		return l.Most > 0
	case model.CountWindow:
		return l.Name == "http_req_rate" && l.Window > 0
	}
	return l.Rate > 0
}

// headerKey is the request header field that a key is.
func headerKey(key string) (string, bool) {
	if name, ok := strings.CutPrefix(key, "$http_"); ok {
		return strings.ReplaceAll(name, "_", "-"), true
	}
	if name, ok := strings.CutPrefix(key, "hdr("); ok {
		return strings.TrimSuffix(name, ")"), true
	}
	return strings.CutPrefix(key, "the header ")
}

// LimitKey is the key of a hit's request; ok is false where lbproof does not know how to find it.
func LimitKey(h history.History, key string, hit history.Hit) (string, bool) {
	l := h.Plan.Phases[hit.Load]
	if name, ok := headerKey(key); ok {
		return header(l, l.Request(hit.Index), name, hit.Index), true
	}
	if key == "the request's host" || key == "$server_name" {
		return host(h, l.Request(hit.Index)), true
	}
	value, ok := keyOf(h, key, hit)
	return readable(key, value), ok
}

// asked is one request that a limit was asked about.
type asked struct {
	stats.Instant
	hit history.Hit
	in  bool // it was let in
}

func judgeLimits(claim plan.Claim, h history.History) Finding {
	g, ok := limitOf(h.Plan.Config, claim)
	switch {
	case !ok:
		return Finding{Cannot: "the configuration has no such limit"}
	case g.what.DryRun:
		return Finding{Cannot: "a dry run refuses nothing, and only writes to the log"}
	case !judged(g.what):
		return Finding{Broken: fmt.Sprintf("lbproof counts requests by a rate that the configuration gives, which %s is not", cmp.Or(g.what.Name, g.what.Law))}
	case died(h) != "":
		return Finding{Broken: died(h)}
	case g.what.Law == model.InFlight:
		return judgeInFlight(h, g)
	}
	return judgeRate(h, g)
}

// rival says whether another limit of a route may have refused what a rate is asked about.
func rival(r model.Route, l model.Limit, load plan.Phase) bool {
	return l.Law != model.InFlight && slices.ContainsFunc(r.Limits, func(o model.Limit) bool {
		return o.Pos != l.Pos && o.Status == l.Status && (o.Law != model.InFlight || load.Concurrency > o.Most)
	})
}

// collect finds every request that a limit was asked about, by key, in the order of sending.
func collect(h history.History, g group[model.Limit]) (byKey map[string][]asked, odd examples, broken string) {
	byKey = map[string][]asked{}
	mixed := map[string]bool{}
	find, routes := journeys(h), map[string]bool{}
	for _, r := range g.routes {
		routes[r.Key()] = true
	}
	bursts := map[int]bool{g.what.Burst: true}
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.tunnel {
			continue
		}
		if !routes[j.key] {
			if zone := sharing(j.route, g.what); zone != nil {
				bursts[zone.Burst] = true
			}
			continue
		}
		key, ok := LimitKey(h, g.what.Key, hit)
		switch {
		case !ok:
			return nil, odd, fmt.Sprintf("lbproof cannot tell the key %s of a request", g.what.Key)
		case key == "" && g.what.Free != "":
			if hit.Server == "" && hit.Code == g.what.Status && !rival(j.route, g.what, h.Plan.Phases[hit.Load]) {
				odd.add("request %d was refused with an empty key, which is not limited", hit.Seq)
			}
			continue
		}
		if via := h.Plan.Phases[hit.Load].Via; via != "" {
			key += " through " + via
		}
		if rival(j.route, g.what, h.Plan.Phases[hit.Load]) || hit.Err != "" {
			mixed[key] = true
		}
		in, other := hit.Server != "" || hit.Code != g.what.Status, hit.Server == "" && hit.Code != g.what.Status && slices.Contains([]int{403, 429, 503}, hit.Code)
		switch {
		case other && (j.route.Breaker != nil || faulty(h, hit)): // who refused it, and whether the limit was asked, is not known
			mixed[key] = true
		case other && len(j.route.Fallbacks) == 0 && len(j.route.Access) == 0:
			odd.add("request %d was refused with %d, where %d is promised", hit.Seq, hit.Code, g.what.Status)
			in = false
		}
		byKey[key] = append(byKey[key], asked{stats.Instant{After: hit.Sent - stale, Before: hit.Done}, hit, in})
	}
	maps.DeleteFunc(byKey, func(key string, _ []asked) bool { return mixed[key] })
	if len(byKey) == 0 && len(mixed) > 0 {
		broken = "another limit with the same status may have refused, or requests failed"
	}
	if len(bursts) > 1 {
		broken = "routes with other bursts share its zone, and were asked too"
	}
	for _, all := range byKey {
		slices.SortFunc(all, func(a, b asked) int { return cmp.Compare(a.hit.Sent, b.hit.Sent) })
	}
	return byKey, odd, broken
}

// sharing is a limit of a route in the same zone.
func sharing(r model.Route, l model.Limit) *model.Limit {
	for i, o := range r.Limits {
		if o.Law == l.Law && o.Name == l.Name && o.Name != "" {
			return &r.Limits[i]
		}
	}
	return nil
}

// admitter bounds how many requests are let in.
type admitter interface {
	Admits([]stats.Instant) (least, most []int)
}

// lawful is the law of a limit whose burst and rate are so many times what it says.
func lawful(l model.Limit, burst, rate float64) admitter {
	more := func(n int) float64 { // at least by one
		step := math.Round(float64(n) * (burst - 1))
		if burst != 1 && step == 0 {
			step = math.Copysign(1, burst-1)
		}
		return max(0, float64(n)+step)
	}
	switch l.Law {
	case model.CountWindow:
		return stats.Window{Period: time.Duration(float64(l.Window) / rate), Limit: int(more(l.Burst))}
	case model.TokenBucket: // who waits for less than half a request's time is let in (Traefik's rate_limiter.go)
		r, patience := l.Rate*rate, 0.5
		if r >= 1 {
			patience = 0.5 / math.Floor(r)
		}
		return stats.Bucket{Room: max(1, more(l.Burst)+r*patience), Rate: r}
	}
	return stats.Bucket{Room: 1 + more(l.Burst), Rate: l.Rate * rate}
}

// twoSided says whether a key's requests bound the count from below too: Traefik's bucket loses tokens where two are refused at a
// time (golang/go #56924).
func twoSided(l model.Limit, all []asked) bool {
	if l.Law != model.TokenBucket {
		return true
	}
	for i := 1; i < len(all); i++ {
		if all[i].hit.Sent < all[i-1].hit.Done {
			return false
		}
	}
	return true
}

// crossed says where a key's count leaves the bounds of a law; empty where it does not.
func crossed(l model.Limit, law admitter, all []asked) string {
	at, decided := make([]stats.Instant, len(all)), decidedBy(all)
	for i, a := range all {
		at[i] = a.Instant
		if l.Delay >= 0 && l.Law == model.LeakyBucket {
			at[i].Before = decided[i]
		}
	}
	least, most := law.Admits(at)
	both, in := twoSided(l, all), 0
	for i, a := range all {
		if a.in {
			in++
		}
		switch since := (a.hit.Sent - all[0].hit.Sent).Seconds(); {
		case in > most[i]:
			return fmt.Sprintf("%s of %s let in within %.2f s, request %d the last; at most %d may be", number(in), number(i+1), since, a.hit.Seq, most[i])
		case both && i+1 == len(all) && in < least[i]:
			return fmt.Sprintf("only %s of %s let in within %.2f s; at least %d must be", number(in), number(i+1), since, least[i])
		}
	}
	return ""
}

// wrongs are the wrong limits that a run must tell from the right one: factors of burst and rate, and their names.
func wrongs(l model.Limit) []struct {
	burst, rate float64
	what        string
} {
	type wrong = struct {
		burst, rate float64
		what        string
	}
	out := []wrong{{1 + off, 1, "a larger burst"}, {1, 1 + off, "a higher rate"}}
	if l.Law == model.CountWindow {
		return append(out, wrong{1 - off, 1, "a smaller burst"}) // a longer period shows only after it
	}
	return append(out, wrong{1 - off, 1, "a smaller burst"}, wrong{1, 1 - off, "a lower rate"})
}

// judgeRate judges rates, key by key.
func judgeRate(h history.History, g group[model.Limit]) Finding {
	l := g.what
	f := Finding{Test: "interval of what the limit lets in, from the times of sending and answering, key by key; false alarm rate 0"}
	byKey, odd, broken := collect(h, g)
	f.Broken = broken
	var wrong examples
	told, in, refused, sighted := map[string]bool{}, 0, 0, l.Law != model.LeakyBucket
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		all := byKey[key]
		f.N += len(all)
		for _, a := range all {
			if a.in {
				in++
			} else {
				refused++
			}
		}
		if why := crossed(l, lawful(l, 1, 1), all); why != "" {
			wrong.add("key %s: %s", key, why)
		}
		if l.Law == model.LeakyBucket {
			sighted = delayed(l, key, all, &wrong) || sighted
		}
		for _, w := range wrongs(l) {
			told[w.what] = told[w.what] || crossed(l, lawful(l, w.burst, w.rate), all) != ""
		}
	}
	f.Counter = append(wrong.list(), odd.list()...)
	f.Measured = fmt.Sprintf("%s let in, %s refused, %s", number(in), number(refused), plural(len(byKey), "key")) + through(byKey)
	f.Predicted = "each key within its interval"
	var untold []string
	for _, w := range wrongs(l) {
		if !told[w.what] {
			untold = append(untold, w.what)
		}
	}
	f.Need = f.N
	if !sighted {
		f.Need, f.Note = f.N+1, "answers took too long to tell who waited for a turn"
	}
	if len(untold) > 0 && f.N > 0 {
		f.Need = f.N + 1
		f.Note = fmt.Sprintf("these requests cannot tell it from %s (by %.0f %%)", strings.Join(untold, " or "), 100*off)
	}
	f.Power = fmt.Sprintf("would have caught a burst or a rate that is %.0f %% off", 100*off)
	return f
}

// admitted counts the requests that the balancer, which is "", and its peers let in.
func admitted(byKey map[string][]asked) map[string]int {
	let := map[string]int{}
	for key, all := range byKey {
		_, peer, _ := strings.Cut(key, " through ")
		for _, a := range all {
			if a.in {
				let[peer]++
			}
		}
	}
	return let
}

// through says how many requests peers of the balancer let in beside it; empty where there are none.
func through(byKey map[string][]asked) string {
	let, text := admitted(byKey), ""
	for _, peer := range slices.Sorted(maps.Keys(let)) {
		if peer != "" {
			text += fmt.Sprintf(", of which %s let in %s", peer, number(let[peer]))
		}
	}
	if text != "" {
		text += fmt.Sprintf(": each of %d balancers counts for itself", len(let))
	}
	return text
}

// promptness is the longest that a refusal took, which waits for nothing.
func promptness(all []asked) time.Duration {
	longest := time.Duration(0)
	for _, a := range all {
		if !a.in {
			longest = max(longest, a.hit.Done-a.hit.Sent)
		}
	}
	return longest
}

// decidedBy is when each request was let in or refused, at the latest. Who is let in may wait for a turn after that; but it was
// decided on no later than what was sent after it and refused, or else within the time that the slowest refusal took.
func decidedBy(all []asked) []time.Duration {
	out, prompt, next := make([]time.Duration, len(all)), promptness(all), time.Duration(math.MaxInt64)
	for i, a := range slices.Backward(all) {
		if !a.in {
			next = min(next, a.hit.Done)
		}
		out[i] = min(a.Before, unheard+max(a.hit.Sent+prompt, min(next, a.Before)))
	}
	return out
}

// delayed judges who waits: beyond the delay each request its turn, without one nobody. It says whether that could be seen.
func delayed(l model.Limit, key string, all []asked, wrong *examples) (sighted bool) {
	var at []stats.Instant
	var in []asked
	promptly, decided := promptness(all), decidedBy(all)
	for i, a := range all {
		if l.Delay < 0 { // nobody is to wait, so that those who do not tell how fast it decides
			decided[i] = min(a.Before, a.hit.Sent+unheard+promptly)
		}
		if a.in {
			at = append(at, stats.Instant{After: a.After, Before: decided[i]})
			in = append(in, a)
		}
	}
	bucket := stats.Bucket{Room: float64(l.Burst + 1), Rate: l.Rate}
	if l.Delay >= 0 {
		for i, turn := range bucket.Waits(at, l.Delay) {
			if took := in[i].hit.Done - in[i].hit.Sent; took+slack < turn {
				wrong.add("key %s: request %d was let through after %.3f s; its turn came %.3f s after it", key, in[i].hit.Seq, took.Seconds(), turn.Seconds())
			}
		}
		return true
	}
	sent := slices.Clone(at)
	for i := range sent {
		sent[i].Before = max(sent[i].After, in[i].hit.Sent)
	}
	waited, due, longest := 0, 0, bucket.Waits(sent, 0)
	for i, turn := range bucket.Waits(at, 0) {
		took := in[i].hit.Done - in[i].hit.Sent
		switch {
		case longest[i] == 0: // who is not beyond the rate waits for nothing either, unless servers are slow
			promptly = max(promptly, took)
		case turn >= 2*slack:
			if due++; took >= turn {
				waited++
			}
		}
	}
	sighted = due >= 5 && promptly < slack
	if sighted && waited == due {
		wrong.add("key %s: all %s that were let in beyond the rate waited for their turns, as they do without nodelay", key, plural(due, "request"))
	}
	short := float64(l.Burst) < l.Rate*(4*slack).Seconds() // no wait is long enough to be seen
	return sighted || short
}

// judgeInFlight judges how many requests are let in at a time, key by key, while servers are known to take their time.
func judgeInFlight(h history.History, g group[model.Limit]) Finding {
	l := g.what
	f := Finding{
		Test:      "requests in flight for certain and at most, key by key, while servers are known to take their time; false alarm rate 0",
		Predicted: fmt.Sprintf("at most %d at a time, none refused below that", l.Most), Power: "would have caught one more or less at a time",
	}
	byKey, odd, broken := collect(h, g)
	f.Broken = broken
	pool, _ := h.Plan.Config.Pool(g.routes[0].Pool)
	slow := sluggishness(h, pool)
	if len(slow) == 0 && f.Broken == "" {
		f.Broken = "it is not known how long the servers took for their answers; lbproof test CONFIG makes them slow"
	}
	arrived := map[uint64]time.Duration{}
	for a := range h.Arrivals {
		arrived[a.Seq] = a.At
	}
	most, refused := 0, 0
	var wrong examples
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		for _, when := range slow {
			asked, n, no := inFlight(l, key, byKey[key], arrived, when, rates(g.routes[0], len(byKey[key])), &wrong)
			f.N, most, refused = f.N+asked, max(most, n), refused+no
		}
	}
	f.Counter = append(wrong.list(), odd.list()...)
	f.Measured = fmt.Sprintf("at most %d at a time, %s refused", most, number(refused))
	if n := len(admitted(byKey)); n > 1 {
		f.Measured += fmt.Sprintf(", through each of %d balancers in turn", n)
	}
	f.Need = f.N
	if most < l.Most || refused == 0 {
		f.Need = f.N + 1
		f.Note = "too few were in flight to meet the limit"
	}
	return f
}

// rates says whether a rate may have refused requests of a key that sent so many.
func rates(r model.Route, sent int) bool {
	return slices.ContainsFunc(r.Limits, func(o model.Limit) bool { return o.Law != model.InFlight && sent > atOnce(o) })
}

// inFlight judges one key: the most that were with a server for certain, and refusals while there can have been fewer than may be.
func inFlight(l model.Limit, key string, all []asked, arrived map[uint64]time.Duration, when sluggish, rates bool, wrong *examples) (n, most, refused int) {
	shortest := slices.Min(when.least)
	within := func(hit history.Hit) bool { return hit.Sent >= when.from && hit.Done <= when.to }
	for _, a := range all {
		if !within(a.hit) {
			continue
		}
		n++
		certain, possible := 0, 0
		for _, o := range all {
			if !o.in {
				continue
			}
			at, known := arrived[o.hit.Seq]
			known = known && slices.Contains(when.hosts, o.hit.Server) // a backup may have answered long before its client heard
			if began, mine := arrived[a.hit.Seq]; known && mine && within(o.hit) && at <= began && began < min(at+shortest, o.hit.Done) {
				certain++
			}
			if o.hit.Seq != a.hit.Seq && o.hit.Sent <= a.hit.Done && o.hit.Done+afterward >= a.hit.Sent {
				possible++
			}
		}
		switch {
		case a.in && certain > l.Most:
			wrong.add("key %s: %d requests were with servers at a time, request %d the last; at most %d may be", key, certain, a.hit.Seq, l.Most)
		case !a.in && possible < l.Most && !rates:
			wrong.add("key %s: request %d was refused while at most %d others were in flight; %d may be", key, a.hit.Seq, possible, l.Most)
		}
		if most = max(most, certain); !a.in {
			refused++
		}
	}
	return n, most, refused
}

// spared is the share of what a limit allows that a load takes which is not to meet it.
const spared = 0.8

// freeRow is how many requests clients send in a row where no limit by address stands in the way.
const freeRow = 16

// InRow is how many requests one client is to send one after another so that its worker of nginx meets its count of failures: as many as
// it can send at once without any limit by address refusing one or having it wait, and freeRow where there is no such limit; 0 where rows
// would show nothing: without a limit, where a key chooses the server or one failure is enough.
func InRow(cfg model.Config, requests []plan.Request) int {
	row, counts := 0, len(requests) > 0
	for _, r := range requests {
		path, _, _ := strings.Cut(r.Path, "?")
		route, _ := cfg.Route(r.Port, r.Header["Host"], path)
		pool, _ := cfg.Pool(route.Pool)
		counts = counts && pool.Key == "" && !pool.SharedState && slices.ContainsFunc(pool.Servers, func(s model.Server) bool { return s.Passive != nil && s.Passive.Fails > 1 })
		for _, limit := range route.Limits {
			if limit.Law == model.InFlight || !isAddress(limit.Key) {
				continue
			}
			most := atOnce(limit)
			if limit.Law == model.LeakyBucket && limit.Delay >= 0 {
				most = limit.Delay + 1
			}
			if most = max(1, int(spared*float64(most))); row == 0 || most < row {
				row = most
			}
		}
	}
	if row == 0 && counts {
		return freeRow
	}
	return row
}

// KeyedCount says whether requests go to a pool of nginx whose workers count failures and whose servers are chosen by the client's
// address: how long such a worker leaves a dead server alone shows where it had none to count before.
func KeyedCount(cfg model.Config, requests []plan.Request) bool {
	return cfg.Balancer == "nginx" && slices.ContainsFunc(requests, func(r plan.Request) bool {
		path, _, _ := strings.Cut(r.Path, "?")
		route, _ := cfg.Route(r.Port, r.Header["Host"], path)
		pool, _ := cfg.Pool(route.Pool)
		return isAddress(pool.Key) && !pool.SharedState && slices.ContainsFunc(pool.Servers, func(s model.Server) bool { return s.Passive != nil && s.Passive.Fails > 0 })
	})
}

// Spare has a load come from so many clients with addresses that no limit refuses any of it, or as slowly as a limit wants it that
// counts all clients together.
func Spare(cfg model.Config, l *plan.Phase) {
	asked, limits := map[string]int{}, map[string]model.Limit{}
	for _, r := range l.Requests {
		path, _, _ := strings.Cut(r.Path, "?")
		route, _ := cfg.Route(r.Port, r.Header["Host"], path)
		for _, limit := range route.Limits {
			zone := limit.Law + limit.Name
			if o, known := limits[zone]; !known || atOnce(limit) < atOnce(o) {
				limits[zone] = limit
			}
			asked[zone]++
		}
	}
	clients := 1
	for zone, limit := range limits {
		if isAddress(limit.Key) && l.Engine == plan.Prober { // phases have no address in common
			l.Clients.Count, l.Clients.Addresses = max(1, l.Clients.Count), true
		}
		requests := float64(l.Count) * float64(asked[zone]) / float64(len(l.Requests))
		if l.Engine == plan.Prober { // whose requests are few, and may keep step with its clients
			requests = float64(l.Count)
		}
		if limit.Law == model.InFlight {
			requests = float64(l.Concurrency)
		}
		need := int(math.Ceil(requests / max(1, spared*float64(atOnce(limit)))))
		switch name, inHeader := headerKey(limit.Key); {
		case isAddress(limit.Key):
			clients = max(clients, need)
		case inHeader && limit.Free == "" && need > 1 && len(l.Keys.Values) == 0:
			l.Keys = plan.Keys{Header: name, Values: madeUp(need)}
		case need > 1 && limit.Rate > 0 && !inHeader && (!l.Open() || l.Rate > spared*limit.Rate):
			l.Rate = spared * limit.Rate
		}
	}
	if clients > 1 { // and no more addresses than before lie between the first and the last
		l.Clients.Apart = l.Clients.Apart * l.Clients.Count / max(clients, l.Clients.Count)
		l.Clients.Count, l.Clients.Addresses = max(clients, l.Clients.Count), true
	}
}
