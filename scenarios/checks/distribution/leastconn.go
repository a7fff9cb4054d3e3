package distribution

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
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// How servers are made busy: one takes longer than the others, so that whoever minds how busy they are gives it less.
const (
	busyRate = 80 // requests per second
	busyFor  = 14 * time.Second
	quick    = 400 * time.Millisecond
	slowest  = 1600 * time.Millisecond
	relieved = 0.8 // of its share by weight: a sluggish server must get less than this
)

func busyTrial(cfg model.Config, pool model.Pool, r plan.Request) check.Trial {
	t := check.Trial{
		Kind: plan.KindBusy, About: pool.Name,
		Load: plan.Phase{
			Count: int(busyRate * busyFor.Seconds()), Rate: busyRate, Concurrency: 256,
			Requests: []plan.Request{r},
		},
		Shows: fmt.Sprintf("a slow server of %s that gets %.0f %% of its share by weight or more, with probability 0.999",
			pool.Name, 100*relieved),
	}
	active := check.Rotation(pool)
	for i, s := range active {
		delay := outage.BearableDelay(cfg, pool, slowest)
		if i < len(active)-1 {
			delay = delay * quick / slowest
		}
		t.Slow = append(t.Slow, check.Slowed{Host: s.Host, Delay: delay})
	}
	return t
}

// idleWeights are those by which servers take turns while nobody is busy.
func idleWeights(pool model.Pool) []int {
	weights := check.WeightsOf(check.Rotation(pool))
	if pool.Balance.Rotation == model.Unweighted {
		for i := range weights {
			weights[i] = 1
		}
	}
	return weights
}

// idleEnvelope bounds counts of turns that began somewhere.
func idleEnvelope(pool model.Pool, states int) stats.Envelope {
	weights := idleWeights(pool)
	if pool.Balance.Rotation == model.Unweighted {
		return stats.StaticEnvelope(weights).Anywhere().Widen(unseen)
	}
	return stats.SmoothEnvelope(weights).Anywhere().Times(states).Widen(unseen)
}

func idleTrial(cfg model.Config, pool model.Pool, r plan.Request, terms check.Terms) check.Trial {
	weights := idleWeights(pool)
	wrong := stats.Nearest(weights)
	need := idleEnvelope(pool, check.StatesOf(cfg, pool, terms.CPUs)).Need(stats.Shares(weights), stats.Shares(wrong),
		1-terms.Beta)
	return check.Trial{
		Kind: plan.KindSerial, Load: plan.Phase{Count: spareOf(need), Concurrency: 1, Requests: []plan.Request{r}},
		Shows: fmt.Sprintf("%s for %s in %s while it is idle, with probability %g",
			ratio(wrong), ratio(weights), pool.Name, 1-terms.Beta),
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
func judgeFewest(h history.History, pool model.Pool) check.Finding {
	active := check.Rotation(pool)
	states := max(1, h.Env.Workers)
	if pool.SharedState {
		states = 1
	}
	f := check.Finding{
		Broken: cmp.Or(check.NodeDied(h), check.LostWitness(h)),
		Test:   fmt.Sprintf("turns while idle (envelope, %s)", units.Plural(states, "independent state")),
	}
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

// judgeIdle judges turns of requests that were alone. It reports whether there were enough.
func judgeIdle(f *check.Finding, h history.History, pool model.Pool, states int) (enough bool) {
	active := check.Rotation(pool)
	index, _ := indexOf(active)
	counts := make([]int, len(active))
	find := check.Journeys(h)
	for hit := range h.Hits {
		l := h.Plan.Phases[hit.Load]
		i, in := index[hit.Server]
		alone := !l.Open() && l.Concurrency == 1
		mine := in && find(hit.Seq).Route.Pool == pool.Name
		if !alone || !mine || check.FaultInForce(h, hit) {
			continue
		}
		counts[i]++
		f.N++
	}
	weights := idleWeights(pool)
	shares, env := stats.Shares(weights), idleEnvelope(pool, states)
	for i, over := range env.Outside(counts, shares) {
		if over != 0 {
			centre := float64(f.N) * shares[i]
			f.Counter = append(f.Counter,
				fmt.Sprintf("%s got %s of %s requests that came alone; turns of %s allow %.1f to %.1f",
					active[i].Host, units.Number(counts[i]), units.Number(f.N), ratio(weights), centre+env.Low[i], centre+env.High[i]))
		}
	}
	wrong := stats.Nearest(weights)
	f.Measured = "idle " + counted(counts)
	f.Predicted = "idle " + ratio(weights)
	power := env.Power(f.N, shares, stats.Shares(wrong))
	f.Power = fmt.Sprintf("would have caught turns of %s while idle with probability %s",
		ratio(wrong), probability(power))
	return f.N >= env.Need(shares, stats.Shares(wrong), 1-h.Plan.Beta)
}

// counted prints counts as 1,234 : 5.
func counted(counts []int) string {
	var out []string
	for _, n := range counts {
		out = append(out, units.Number(n))
	}
	return strings.Join(out, " : ")
}

// uneven is the time in which one server was slower than the others.
func uneven(h history.History, pool model.Pool) (outage.Sluggish, bool) {
	for _, s := range outage.Sluggishness(h, pool) {
		if slices.Max(s.Least) > slices.Min(s.Least) {
			return s, true
		}
	}
	return outage.Sluggish{}, false
}

// judgeRelief judges how much the slowest server got. It says how many requests there were, and whether that is enough.
func judgeRelief(f *check.Finding, h history.History, pool model.Pool) (n int, enough bool) {
	when, ok := uneven(h, pool)
	if !ok {
		return 0, false
	}
	slow := slices.Index(when.Least, slices.Max(when.Least))
	active := check.Rotation(pool)
	index, _ := indexOf(active)
	got, took, tookOthers := 0, time.Duration(0), time.Duration(0)
	find := check.Journeys(h)
	for hit := range h.Hits {
		i, in := index[hit.Server]
		outside := hit.Sent < when.From+slices.Max(when.Least) || hit.Sent > when.To
		if !in || outside || find(hit.Seq).Route.Pool != pool.Name {
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
		f.Broken = fmt.Sprintf("%s did not take twice as long as the others for its answers, as it was made to: "+
			"they were slow by themselves", active[slow].Host)
	}
	share := stats.Shares(check.WeightsOf(active))[slow]
	more, less := stats.BinomialTails(n, got, relieved*share)
	f.Measured += fmt.Sprintf("; the slow %s %s of %s", active[slow].Host, units.Number(got), units.Number(n))
	f.Predicted += fmt.Sprintf("; less than %s", units.Tenths(relieved*share))
	f.Tested, f.Anytime, f.P = true, true, more
	return n, less < h.Plan.Beta
}

// judgeSpeed judges pools that mind how fast their servers are.
func judgeSpeed(h history.History, pool model.Pool) check.Finding {
	f := check.Finding{
		Broken: cmp.Or(check.NodeDied(h), check.LostWitness(h)),
		Test:   "binomial test of the slow server's share",
	}
	n, enough := judgeRelief(&f, h, pool)
	f.Measured, f.Predicted = strings.TrimPrefix(f.Measured, "; "), strings.TrimPrefix(f.Predicted, "; ")
	if n == 0 && f.Broken == "" {
		f.Broken = "no server was slow, which would show whether it gets less; lbproof test CONFIG makes one slow"
	}
	f.Power = fmt.Sprintf("would have caught a slow server that gets %.0f %% of its share or more with probability %g",
		100*relieved, 1-h.Plan.Beta)
	f.N, f.Need = n, n
	if !enough {
		f.Need = n + 1
	}
	return f
}

// judgeRegret judges every pick against the requests that servers had in flight: one is wrong if the server that was
// chosen had more for certain, per weight, than another one can have had. It reports whether enough picks could have
// been wrong.
func judgeRegret(f *check.Finding, h history.History, pool model.Pool, active []model.Server) (enough bool) {
	var wrong check.Examples
	conclusive, first := 0, 0
	picks := picksOf(h, pool, active)
	for i, p := range picks {
		for first < i && picks[first].end < p.sent {
			first++
		}
		if !p.judged {
			continue
		}
		busy := inFlightAt(picks[first:], i-first, len(active))
		better, could := busy.better(p.server, active, pool.Balance.Load)
		if could {
			conclusive++
		}
		if better >= 0 {
			wrong.Add("a request sent at %.3f s went to %s, which had %d in flight for certain; %s had at most %d",
				p.sent.Seconds(), active[p.server].Host, busy.certain[p.server], active[better].Host, busy.possible[better])
		}
	}
	f.Counter = append(f.Counter, wrong.List()...)
	f.Measured += fmt.Sprintf("; %s of %s wrong", units.Number(wrong.Total), units.Plural(conclusive, "pick"))
	f.Predicted += "; none wrong"
	f.Power += "; " + check.PowerAll(conclusive, h)
	return conclusive >= check.NeedAll(h)/4
}

// busyness is how many requests servers had in flight when one was picked: for certain, and at most.
type busyness struct{ certain, possible []int }

// inFlightAt counts what was in flight when the pick number i was made. Picks are in the order of sending.
func inFlightAt(picks []pick, i, servers int) busyness {
	b := busyness{certain: make([]int, servers), possible: make([]int, servers)}
	p := picks[i]
	for k, o := range picks {
		if o.sent > p.at {
			break
		}
		if k == i {
			continue
		}
		if o.at <= p.sent && o.served >= p.at {
			b.certain[o.server]++
		}
		if o.end >= p.sent {
			b.possible[o.server]++
		}
	}
	return b
}

// better is a server that was less busy for certain than the one that was chosen; -1 if there is none. could: a wrong
// choice would have been seen.
func (b busyness) better(chosen int, servers []model.Server, law model.LoadLaw) (better int, could bool) {
	better = -1
	for j, other := range servers {
		least := loadOf(b.possible[j], other.Weight, law)
		for k, server := range servers {
			worse := loadOf(b.certain[k], server.Weight, law) > least
			could = could || worse
			if worse && k == chosen {
				better = j
			}
		}
	}
	return better, could
}

// loadOf is how busy a server with so many requests in flight is taken to be.
func loadOf(inFlight, weight int, law model.LoadLaw) float64 {
	switch {
	case law != model.NextPerWeight:
		return float64(inFlight) / float64(weight)
	case inFlight == 0:
		return 0
	}
	return float64((inFlight + 1) * 256 / weight)
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
	find := check.Journeys(h)
	for hit := range h.Hits {
		i, in := index[hit.Server]
		if !in || find(hit.Seq).Route.Pool != pool.Name {
			continue
		}
		p := pick{server: i, sent: hit.Sent, at: hit.Done, served: hit.Sent, end: hit.Done + outage.Afterward}
		if at, known := arrived[hit.Seq]; known && hit.Sent >= when.From && hit.Done <= when.To {
			p.at, p.served, p.judged = at, min(at+when.Least[i], hit.Done), true
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b pick) int { return cmp.Compare(a.sent, b.sent) })
	return out
}
