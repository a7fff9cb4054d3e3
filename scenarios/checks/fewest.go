package checks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
)

// How servers are made busy: one takes longer than the others, so that whoever minds how busy they are gives it less.
const (
	busyRate  = 80 // requests per second
	busyFor   = 14 * time.Second
	quick     = 400 * time.Millisecond
	slowest   = 1600 * time.Millisecond
	relieved  = 0.8                   // of its share by weight: a sluggish server must get less than this
	afterward = 20 * time.Millisecond // an answer's end until the balancer counts it no more: the same turn of its loop
)

// bearable is a delay, or half of what the routes to a pool wait for an answer, where that is less.
func bearable(cfg model.Config, pool model.Pool, delay time.Duration) time.Duration {
	for _, r := range cfg.Routes {
		for _, t := range r.Timeouts {
			if r.Pool == pool.Name && t.For == model.ReadTimeout && t.After > 0 {
				delay = min(delay, t.After/2)
			}
		}
	}
	return delay
}

func busyTrial(cfg model.Config, pool model.Pool, r plan.Request) Trial {
	t := Trial{
		Kind: Busy + " " + pool.Name, Load: plan.Phase{Count: int(busyRate * busyFor.Seconds()), Rate: busyRate, Concurrency: 256, Requests: []plan.Request{r}},
		Shows: fmt.Sprintf("a slow server of %s that gets %.0f %% of its share by weight or more, with probability 0.999", pool.Name, 100*relieved),
	}
	active := rotation(pool)
	for i, s := range active {
		delay := bearable(cfg, pool, slowest)
		if i < len(active)-1 {
			delay = delay * quick / slowest
		}
		t.Slow = append(t.Slow, Slowed{s.Host, delay})
	}
	return t
}

// idleWeights are those by which servers take turns while nobody is busy: HAProxy's all the same.
func idleWeights(cfg model.Config, pool model.Pool) []int {
	weights := weightsOf(rotation(pool))
	if cfg.Balancer == "haproxy" {
		for i := range weights {
			weights[i] = 1
		}
	}
	return weights
}

// idleEnvelope bounds counts of turns that began somewhere.
func idleEnvelope(cfg model.Config, pool model.Pool, states int) stats.Envelope {
	weights := idleWeights(cfg, pool)
	if cfg.Balancer != "nginx" { // one after another, whatever the weights
		return stats.StaticEnvelope(weights).Anywhere().Widen(unseen)
	}
	return stats.SmoothEnvelope(weights).Anywhere().Times(states).Widen(unseen)
}

func idleTrial(cfg model.Config, pool model.Pool, r plan.Request, terms Terms) Trial {
	weights := idleWeights(cfg, pool)
	wrong := stats.Nearest(weights)
	need := idleEnvelope(cfg, pool, statesOf(cfg, pool, terms.CPUs)).Need(stats.Shares(weights), stats.Shares(wrong), 1-terms.Beta)
	return Trial{
		Kind: Singly, Load: plan.Phase{Count: spareOf(need), Concurrency: 1, Requests: []plan.Request{r}},
		Shows: fmt.Sprintf("%s for %s in %s while it is idle, with probability %g", ratio(wrong), ratio(weights), pool.Name, 1-terms.Beta),
	}
}

// pick is one choice of a server, by what is known of it.
type pick struct {
	server      int
	sent, at    time.Duration // by the client, to the server: it was chosen in between
	served, end time.Duration // at least until then it was with the server, at most until then the balancer counted it
	judged      bool          // it fell into the times at which all is known
}

// judgeFewest judges picks while servers were busy, and turns while they were not.
func judgeFewest(h history.History, pool model.Pool) Finding {
	active := rotation(pool)
	states := max(1, h.Env.Workers)
	if pool.SharedState {
		states = 1
	}
	f := Finding{Broken: cmp.Or(died(h), lostWitness(h)), Test: fmt.Sprintf("turns while idle (envelope, %s)", plural(states, "independent state"))}
	if f.Broken != "" {
		return f
	}
	idle := judgeIdle(&f, h, pool, states)
	busy, enough := judgeRelief(&f, h, pool)
	switch {
	case busy == 0:
		f.Note = "nothing is said of busy servers, because none was known to be: lbproof test CONFIG makes one slow"
	case states == 1:
		f.Test += "; picks while servers were busy, by the requests that each had in flight for certain and at most"
		enough = judgeRegret(&f, h, pool, active) && enough
	default:
		f.Note = fmt.Sprintf("that each pick was right is not judged: %d workers count each for themselves", states)
	}
	f.N += busy
	f.Need = f.N
	if !idle || !enough {
		f.Need = f.N + 1
	}
	return f
}

// judgeIdle judges turns of requests that were alone. It says whether there were enough.
func judgeIdle(f *Finding, h history.History, pool model.Pool, states int) (enough bool) {
	active := rotation(pool)
	index, _ := indexOf(active)
	counts := make([]int, len(active))
	find := journeys(h)
	for hit := range h.Hits {
		l := h.Plan.Phases[hit.Load]
		if i, in := index[hit.Server]; in && !l.Open() && l.Concurrency == 1 && find(hit.Seq).route.Pool == pool.Name && !faulty(h, hit) {
			counts[i]++
			f.N++
		}
	}
	weights := idleWeights(h.Plan.Config, pool)
	shares, env := stats.Shares(weights), idleEnvelope(h.Plan.Config, pool, states)
	for i, over := range env.Outside(counts, shares) {
		if over != 0 {
			f.Counter = append(f.Counter, fmt.Sprintf("%s got %s of %s requests that came alone; turns of %s allow %.1f to %.1f", active[i].Host, number(counts[i]), number(f.N),
				ratio(weights), float64(f.N)*shares[i]+env.Low[i], float64(f.N)*shares[i]+env.High[i]))
		}
	}
	wrong := stats.Nearest(weights)
	f.Measured = "idle " + counted(counts)
	f.Predicted = "idle " + ratio(weights)
	f.Power = fmt.Sprintf("would have caught turns of %s while idle with probability %s", ratio(wrong), probability(env.Power(f.N, shares, stats.Shares(wrong))))
	return f.N >= env.Need(shares, stats.Shares(wrong), 1-h.Plan.Beta)
}

// counted prints counts as 1,234 : 5.
func counted(counts []int) string {
	var out []string
	for _, n := range counts {
		out = append(out, number(n))
	}
	return strings.Join(out, " : ")
}

// sluggish is a time in which every server of a pool's rotation is known to take as long at least for its answers.
type sluggish struct {
	from, to time.Duration
	hosts    []string        // the rotation's, and backups after them
	least    []time.Duration // by host
}

// sluggishness are the times at which all servers of a pool's rotation were slow, by the faults of a phase each, and which others were.
func sluggishness(h history.History, pool model.Pool) []sluggish {
	var all []sluggish
	active := rotation(pool)
	if len(active) == 0 {
		return nil
	}
	for phase := range h.Plan.Phases {
		s := sluggish{to: over(h)}
		for _, server := range append(active, overflow(h.Plan.Config, pool)...) {
			for _, m := range h.Env.Marks {
				delay, err := time.ParseDuration(m.Event.With["delay"])
				if m.Event.Phase == phase && m.Event.Fault == "slow" && m.Event.Target == server.Host && m.Err == "" && err == nil && m.Event.With["share"] == "100%" {
					s.hosts, s.least = append(s.hosts, server.Host), append(s.least, delay)
					s.from, s.to = max(s.from, m.From), min(s.to, m.Ended)
					break
				}
			}
		}
		if s.from < s.to && !slices.ContainsFunc(active, func(o model.Server) bool { return !slices.Contains(s.hosts, o.Host) }) {
			all = append(all, s)
		}
	}
	return all
}

// uneven is the time in which one server was slower than the others.
func uneven(h history.History, pool model.Pool) (sluggish, bool) {
	for _, s := range sluggishness(h, pool) {
		if slices.Max(s.least) > slices.Min(s.least) {
			return s, true
		}
	}
	return sluggish{}, false
}

// judgeRelief judges how much the slowest server got. It says how many requests there were, and whether that is enough.
func judgeRelief(f *Finding, h history.History, pool model.Pool) (n int, enough bool) {
	when, ok := uneven(h, pool)
	if !ok {
		return 0, false
	}
	slow := slices.Index(when.least, slices.Max(when.least))
	active := rotation(pool)
	index, _ := indexOf(active)
	got, took, tookOthers := 0, time.Duration(0), time.Duration(0)
	find := journeys(h)
	for hit := range h.Hits {
		i, in := index[hit.Server]
		if !in || find(hit.Seq).route.Pool != pool.Name || hit.Sent < when.from+slices.Max(when.least) || hit.Sent > when.to {
			continue
		}
		if n++; i == slow {
			got++
			took += hit.Done - hit.Sent
			continue
		}
		tookOthers += hit.Done - hit.Sent
	}
	if got > 0 && float64(took)/float64(got) < 2*float64(tookOthers)/float64(max(1, n-got)) {
		f.Broken = fmt.Sprintf("%s did not take twice as long as the others for its answers, as it was made to: they were slow by themselves", active[slow].Host)
	}
	share := stats.Shares(weightsOf(active))[slow]
	more, less := stats.BinomialTails(n, got, relieved*share)
	f.Measured += fmt.Sprintf("; the slow %s %s of %s", active[slow].Host, number(got), number(n))
	f.Predicted += fmt.Sprintf("; less than %s", percent3(relieved*share))
	f.Tested, f.Anytime, f.P = true, true, more
	return n, less < h.Plan.Beta
}

// judgeSpeed judges pools that mind how fast their servers are.
func judgeSpeed(h history.History, pool model.Pool) Finding {
	f := Finding{Broken: cmp.Or(died(h), lostWitness(h)), Test: "binomial test of the slow server's share"}
	n, enough := judgeRelief(&f, h, pool)
	f.Measured, f.Predicted = strings.TrimPrefix(f.Measured, "; "), strings.TrimPrefix(f.Predicted, "; ")
	if n == 0 && f.Broken == "" {
		f.Broken = "no server was slow, which would show whether it gets less; lbproof test CONFIG makes one slow"
	}
	f.Power = fmt.Sprintf("would have caught a slow server that gets %.0f %% of its share or more with probability %g", 100*relieved, 1-h.Plan.Beta)
	f.N, f.Need = n, n
	if !enough {
		f.Need = n + 1
	}
	return f
}

// judgeRegret judges every pick against the requests that servers had in flight: one is wrong if the server that was chosen had
// more for certain, per weight, than another one can have had. It says whether enough picks could have been wrong.
func judgeRegret(f *Finding, h history.History, pool model.Pool, active []model.Server) (enough bool) {
	picks := picksOf(h, pool, active)
	haproxy := h.Plan.Config.Balancer == "haproxy"
	var wrong examples
	telling, first := 0, 0
	for i, p := range picks {
		for first < i && picks[first].end < p.sent {
			first++
		}
		if !p.judged {
			continue
		}
		certain, possible := make([]int, len(active)), make([]int, len(active))
		for k := first; k < len(picks) && picks[k].sent <= p.at; k++ {
			o := picks[k]
			if k == i {
				continue
			}
			if o.at <= p.sent && o.served >= p.at {
				certain[o.server]++
			}
			if o.end >= p.sent {
				possible[o.server]++
			}
		}
		better, could := -1, false
		for j := range active {
			for k := range active {
				worse := load(certain[k], active[k].Weight, haproxy) > load(possible[j], active[j].Weight, haproxy)
				could = could || worse
				if worse && k == p.server {
					better = j
				}
			}
		}
		if could {
			telling++
		}
		if better >= 0 {
			wrong.add("a request sent at %.3f s went to %s, which had %d in flight for certain; %s had at most %d", p.sent.Seconds(),
				active[p.server].Host, certain[p.server], active[better].Host, possible[better])
		}
	}
	f.Counter = append(f.Counter, wrong.list()...)
	f.Measured += fmt.Sprintf("; %s of %s wrong", number(wrong.total), plural(telling, "pick"))
	f.Predicted += "; none wrong"
	f.Power += "; " + powerAll(telling, h)
	return telling >= needAll(h)/4
}

// load is what least connections compares: requests in flight per weight. HAProxy counts the one to come where there is another, and
// in whole 256ths (lb_fwlc.c).
func load(inFlight, weight int, haproxy bool) float64 {
	switch {
	case haproxy && inFlight > 0:
		return float64((inFlight + 1) * 256 / weight)
	case haproxy:
		return 0
	}
	return float64(inFlight) / float64(weight)
}

// picksOf are the picks of a pool in the order of sending, with what is known of their times.
func picksOf(h history.History, pool model.Pool, active []model.Server) []pick {
	when, _ := uneven(h, pool)
	index, _ := indexOf(active)
	arrived := map[uint64]time.Duration{}
	for a := range h.Arrivals {
		if _, twice := arrived[a.Seq]; !twice {
			arrived[a.Seq] = a.At
		}
	}
	var out []pick
	find := journeys(h)
	for hit := range h.Hits {
		i, in := index[hit.Server]
		if !in || find(hit.Seq).route.Pool != pool.Name {
			continue
		}
		p := pick{server: i, sent: hit.Sent, at: hit.Done, served: hit.Sent, end: hit.Done + afterward}
		if at, known := arrived[hit.Seq]; known && hit.Sent >= when.from && hit.Done <= when.to {
			p.at, p.served, p.judged = at, min(at+when.least[i], hit.Done), true
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b pick) int { return cmp.Compare(a.sent, b.sent) })
	return out
}
