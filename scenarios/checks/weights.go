package checks

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
)

var weights = Check{
	Name: "weights",
	Doc:  "The servers of a round robin pool share its requests by their weights.",
	Law: "the envelope of smooth weighted round robin, once per independent state (nginx), of earliest deadline first (Traefik), or of " +
		"a replay of HAProxy's own turns; its false alarm rate is 0, because no honest run can leave it",
	Evidence: Evidence{Joined: true, Undisturbed: true, Subrequests: func(cfg model.Config, claim plan.Claim) bool {
		return asksItself(cfg, claim.Subject)
	}},
	Claims: weightClaims,
	Trials: weightTrials,
	Judge:  judgeWeights,
}

// spareOf is a few requests more than are needed: those at a phase's edges may not count.
func spareOf(need int) int { return need + need/50 + 3 }

// inTurns is how many requests of a trial of turns are in flight.
const inTurns = 8

func weightTrials(cfg model.Config, claim plan.Claim, terms Terms) []Trial {
	pool, _ := cfg.Pool(claim.Subject)
	r, ok := toPool(cfg, claim.Subject)
	if !ok {
		return nil
	}
	active := rotation(pool)
	wrong := stats.Nearest(weightsOf(active))
	right, env := turnShares(pool, active, statesOf(cfg, pool, terms.CPUs))
	need := env.Need(right, stats.Shares(wrong), 1-terms.Beta)
	return []Trial{{
		Kind: Turns, Load: plan.Phase{Count: spareOf(need), Concurrency: inTurns, Requests: []plan.Request{r}},
		Shows: fmt.Sprintf("%s for %s in %s, with probability %g", ratio(wrong), ratio(weightsOf(active)), claim.Subject, 1-terms.Beta),
	}}
}

func weightClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, pool := range cfg.Pools {
		active := rotation(pool)
		if !turns(pool.Method) || len(active) < 2 {
			continue
		}
		claim := plan.Claim{
			ID: "weights/" + pool.Name, Check: "weights", Subject: pool.Name, Pos: pool.Pos,
			Params:  map[string]float64{},
			Assumes: []string{"every server is up and accepts its requests throughout", states(cfg, pool)},
		}
		if named(pool) && cfg.Balancer == "nginx" {
			claim.Assumes = append(claim.Assumes, "each name has one address: one with several counts as so many servers")
		}
		shares := stats.Shares(weightsOf(active))
		for i, s := range active {
			claim.Params[s.Addr()] = shares[i]
		}
		claim.Text = fmt.Sprintf("The requests of %s are shared by weight: %s.", pool.Name, shareList(active))
		claims = append(claims, claim)
	}
	return claims
}

// rotation is the servers that take turns: no backups, none marked down or with the weight 0.
func rotation(pool model.Pool) []model.Server {
	var active []model.Server
	for _, s := range pool.Servers {
		if !s.Backup && !s.Down && !s.Drain {
			active = append(active, s)
		}
	}
	return active
}

// nobodyUp says why no request can show anything of a pool whose servers are all out of rotation.
const nobodyUp = "no server of the pool is in rotation, so that no request can show it"

// deserted says whether a pool has no server that could answer a request.
func deserted(cfg model.Config, pool string) bool {
	p, ok := cfg.Pool(pool)
	return ok && !slices.ContainsFunc(p.Servers, func(s model.Server) bool { return !s.Down && !s.Drain })
}

func weightsOf(servers []model.Server) []int {
	var w []int
	for _, s := range servers {
		w = append(w, s.Weight)
	}
	return w
}

// states says how many independent balancing states the configuration makes.
func states(cfg model.Config, pool model.Pool) string {
	switch {
	case pool.SharedState:
		return "one balancing state for all requests"
	case cfg.Workers.Auto:
		return "one balancing state per worker process, as many as the balancer sees processors"
	}
	return fmt.Sprintf("one balancing state per worker process, %d of them", cfg.Workers.Count)
}

// fraction prints a weight's share of all as 1/6, reduced.
func fraction(weight int, servers []model.Server) string {
	total := 0
	for _, s := range servers {
		total += s.Weight
	}
	a, b := weight, total
	for b != 0 {
		a, b = b, a%b
	}
	return fmt.Sprintf("%d/%d", weight/a, total/a)
}

// percent3 prints a ratio with a tenth of a per cent, as 16.7 %.
func percent3(ratio float64) string { return fmt.Sprintf("%.1f %%", 100*ratio) }

func judgeWeights(claim plan.Claim, h history.History) Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	if !ok {
		return Finding{Cannot: "the configuration has no pool " + claim.Subject}
	}
	if why := astray(h.Plan.Config, pool.Name); why != "" {
		return Finding{Cannot: why}
	}
	if pool.Sticky != nil && slices.ContainsFunc(h.Plan.Phases, func(l plan.Phase) bool { return l.Clients.Cookies && bearsOn(l, "weights") }) {
		return Finding{Broken: "clients that bring their cookie back take no turns"}
	}
	active := rotation(pool)
	m := h.Env.Workers
	if pool.SharedState {
		m = 1
	}
	if len(h.Env.Marks) > 0 && m > 0 {
		f := Finding{Test: envelopeTest(pool, m) + ", where it is known who shares", Broken: unknownShares(h)}
		if f.Broken == "" {
			judgeWeightsAround(&f, h, pool, episodes(h, pool, refusing...), m)
		}
		return f
	}
	tally, broken := tallyPool(pool, active, h)
	right, env := turnShares(pool, active, m)
	if fresh(h.Plan, pool) {
		right, env = turnsFromStart(pool, active, m, tally.total)
	}
	env = env.Widen(tally.slack)
	wrong := stats.Nearest(weightsOf(active))
	f := Finding{
		N:      tally.total,
		Need:   env.Need(right, stats.Shares(wrong), 1-h.Plan.Beta),
		Broken: broken,
		Test:   envelopeTest(pool, m),
	}
	if m == 0 {
		f.Broken = "it is not known how many workers ran, each with a balancing state of its own"
	}
	f.Measured, f.Predicted = describe(active, tally, right, env)
	if f.Broken != "" {
		return f
	}
	if drift := drifts(active, right); drift != "" {
		f.Note = drift
	}
	over := env.Outside(tally.counts, right)
	for i, s := range active {
		if over[i] != 0 {
			f.Counter = append(f.Counter, fmt.Sprintf("%s got %s of %s requests; weight %s allows %s",
				s.Host, number(tally.counts[i]), number(tally.total), fraction(s.Weight, active), interval(i, tally, right, env)))
		}
	}
	f.Counter = append(f.Counter, tally.strangers.list()...)
	f.Power = fmt.Sprintf("would have caught %s with probability %s", ratio(wrong),
		probability(env.Power(tally.total, right, stats.Shares(wrong))))
	return f
}

// unseen is how many attempts may have failed without a trace, each of which took a turn: at a machine that is too busy, one in 100,000
// connections to a backend is reset.
const unseen = 2

// turnShares are the shares that turns by weight come to, and bounds on how far counts are from them while the same servers take
// them all along, wherever in their turns they began; nginx's begin anew with its workers.
func turnShares(pool model.Pool, servers []model.Server, states int) ([]float64, stats.Envelope) {
	weights := weightsOf(servers)
	switch pool.Method {
	case model.RoundRobin:
		return stats.Shares(weights), stats.SmoothEnvelope(weights).Times(states).Widen(unseen)
	case "wrr":
		return stats.Shares(weights), stats.DeadlineEnvelope(stats.Shares(weights)).Anywhere().Times(states).Widen(unseen)
	case "static-rr":
		return stats.Shares(weights), stats.StaticEnvelope(weights).Anywhere().Times(states).Widen(unseen)
	}
	shares, env := stats.FastShares(weights)
	return shares, env.Anywhere().Times(states).Widen(unseen)
}

// turnsFromStart are the same for so many turns since the balancer's start, which HAProxy's own replay knows to the request.
func turnsFromStart(pool model.Pool, servers []model.Server, states, picks int) ([]float64, stats.Envelope) {
	shares, env := turnShares(pool, servers, states)
	if pool.Method != "roundrobin" || picks == 0 || picks > longestReplay {
		return shares, env
	}
	for i, n := range stats.FastCounts(weightsOf(servers), picks) {
		shares[i] = float64(n) / float64(picks)
		env.Low[i], env.High[i] = -unseen, unseen
	}
	return shares, env
}

// longestReplay bounds the turns that are replayed.
const longestReplay = 1 << 22

// envelopeAround is wider: the sum over several stretches of time, before which servers have come or gone.
func envelopeAround(pool model.Pool, servers []model.Server, states, stretches int) ([]float64, stats.Envelope) {
	weights := weightsOf(servers)
	switch pool.Method {
	case model.RoundRobin:
		return stats.Shares(weights), stats.SmoothEnvelope(weights).Times(states)
	case "wrr":
		return stats.Shares(weights), stats.DeadlineEnvelope(stats.Shares(weights)).Times(2 * stretches * states)
	case "static-rr":
		return stats.Shares(weights), stats.PeriodEnvelope(weights).Times(2 * stretches * states)
	}
	shares, _ := stats.FastShares(weights)
	return shares, stats.PeriodEnvelope(weights).Times(2 * stretches * states)
}

// drifts says where a balancer's own turns do not quite come to the weights.
func drifts(active []model.Server, shares []float64) string {
	worst, by := 0, 0.0
	for i, p := range stats.Shares(weightsOf(active)) {
		if d := math.Abs(shares[i]-p) / p; d > by {
			worst, by = i, d
		}
	}
	if by < 0.002 {
		return ""
	}
	return fmt.Sprintf("HAProxy's own turns give %s %s instead of %s, because it loses what its divisions leave over", active[worst].Host,
		percent2(shares[worst]), percent2(stats.Shares(weightsOf(active))[worst]))
}

// percent2 prints a ratio with two decimals, as 22.58 %.
func percent2(ratio float64) string { return fmt.Sprintf("%.2f %%", 100*ratio) }

// fresh says whether a pool's turns are all known from its start on: no phase that is left out reached it before one that is not.
func fresh(p plan.Plan, pool model.Pool) bool {
	left := false
	for _, l := range p.Phases {
		if bearsOn(l, "weights") {
			if left {
				return false
			}
			continue
		}
		left = left || slices.ContainsFunc(l.Requests, func(r plan.Request) bool {
			path, _, _ := strings.Cut(r.Path, "?")
			route, _ := p.Config.Route(r.Port, r.Header["Host"], path)
			return route.Pool == pool.Name || splitsTo(p.Config, route, pool)
		})
	}
	return true
}

// envelopeTest names it.
func envelopeTest(pool model.Pool, states int) string {
	law := map[string]string{model.RoundRobin: "smooth weighted round robin", "wrr": "earliest deadline first"}[pool.Method]
	return fmt.Sprintf("envelope of %s, %s, false alarm rate 0", cmp.Or(law, "HAProxy's "+pool.Method), plural(states, "independent state"))
}

// unknownShares says why nothing can be said of shares around faults.
func unknownShares(h history.History) string {
	if why := lostWitness(h); why != "" {
		return why
	}
	for _, m := range h.Env.Marks {
		if m.Err != "" {
			return fmt.Sprintf("it is not known how long %s of %s was in force", m.Event.Fault, m.Event.Target)
		}
	}
	return ""
}

// poolTally counts a pool's arrivals per server of the rotation.
type poolTally struct {
	counts    []int
	total     int
	slack     float64 // picks that may or may not have reached a backend
	strangers examples
}

// tallyPool counts arrivals, and says why the law does not apply to them where it does not.
func tallyPool(pool model.Pool, active []model.Server, h history.History) (t poolTally, broken string) {
	t.counts = make([]int, len(active))
	index := map[string]int{}
	for i, s := range active {
		if _, twice := index[s.Host]; twice {
			return t, fmt.Sprintf("%s stands in the pool twice, and its arrivals cannot be told apart", s.Host)
		}
		index[s.Host] = i
	}
	find := journeys(h)
	strays, tunnels := 0, 0
	for a := range h.Arrivals {
		if a.Seq == 0 {
			strays++
		}
		j := find(a.Seq)
		i, in := index[a.Server]
		if j == nil || j.route.Pool != pool.Name && !(in && splitsTo(h.Plan.Config, j.route, pool)) {
			continue
		}
		if j.tunnel {
			tunnels++
		}
		if !in {
			t.strangers.add("request %d reached %s, which is not in the rotation", a.Seq, a.Server)
			continue
		}
		t.counts[i]++
		t.total++
	}
	hits, failed, unsent := tallyHits(pool, h, find)
	if asksItself(h.Plan.Config, pool.Name) { // twice for each
		hits *= 2
	}
	t.slack = float64(unsent)
	if h.Env.Interrupted != "" {
		t.slack += float64(mostInFlight(h.Plan))
	}
	switch {
	case lostWitness(h) != "":
		broken = lostWitness(h)
	case tunnels > 0:
		broken = "WebSocket connections took turns too, and their messages do not tell how many"
	case strays > 0:
		broken = fmt.Sprintf("%s of unknown origin reached the backends", plural(strays, "request"))
	case failed > 0:
		broken = fmt.Sprintf("%s failed, so servers may have been out of the rotation, which this law does not cover", plural(failed, "request"))
	case t.total+t.strangers.total > hits && h.Env.Interrupted == "":
		broken = fmt.Sprintf("%s for %s: after a failed attempt servers may have been out of the rotation, which this law does not cover",
			plural(t.total+t.strangers.total, "arrival"), plural(hits, "request"))
	}
	return t, broken
}

// splitsTo says whether some of a route's requests go to a pool, by a split.
func splitsTo(cfg model.Config, r model.Route, pool model.Pool) bool {
	s, is := cfg.Split(r.Pool)
	return is && slices.ContainsFunc(s.Shares, func(share model.Share) bool { return share.Pool == pool.Name })
}

// tallyHits counts a pool's hits, those that the balancer failed, and those that the sender may not have sent.
func tallyHits(pool model.Pool, h history.History, find func(uint64) *journey) (hits, failed, unsent int) {
	for hit := range h.Hits {
		if j := find(hit.Seq); j == nil || j.route.Pool != pool.Name && !splitsTo(h.Plan.Config, j.route, pool) {
			continue
		}
		hits++
		switch {
		case hit.Err == history.Tester:
			unsent++
		case hit.Err != "" || hit.Code == 502 || hit.Code == 503 || hit.Code == 504:
			failed++
		}
	}
	return hits, failed, unsent
}

func mostInFlight(p plan.Plan) int {
	most := 0
	for _, l := range p.Phases {
		most = max(most, l.Concurrency)
	}
	return most
}

// describe prints what was counted and what the law allows.
func describe(active []model.Server, t poolTally, shares []float64, env stats.Envelope) (measured, predicted string) {
	var got, want []string
	low, high := 0.0, 0.0
	for i := range active {
		got = append(got, number(t.counts[i]))
		want = append(want, fmt.Sprintf("%.1f", float64(t.total)*shares[i]))
		low, high = min(low, env.Low[i]), max(high, env.High[i])
	}
	return strings.Join(got, " : "), fmt.Sprintf("%s (%+.2f to %+.2f)", strings.Join(want, " : "), low, high)
}

func interval(i int, t poolTally, shares []float64, env stats.Envelope) string {
	centre := float64(t.total) * shares[i]
	return fmt.Sprintf("%.1f to %.1f", centre+env.Low[i], centre+env.High[i])
}

// ratio prints weights as 1:2:3.
func ratio(weights []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(weights), " ", ":"), "[]")
}

// probability prints a probability near 1 without rounding it up to certainty.
func probability(p float64) string {
	if p > 0.9999 {
		return "above 0.9999"
	}
	return fmt.Sprintf("%.4f", p)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}
