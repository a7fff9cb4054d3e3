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

// Traffic to one server that is slower than the others: an algorithm that considers load or speed sends it less.
const (
	slowRate     = 80 // requests per second
	slowDuration = 14 * time.Second
	fastDelay    = 400 * time.Millisecond
	slowDelay    = 1600 * time.Millisecond
	maxSlowShare = 0.8 // of its share by weight: a slowed server must get less than this
)

func slowRequirement(cfg model.Config, pool model.Pool, r plan.Request) check.Requirement {
	t := check.Requirement{
		Kind: plan.KindBusy, About: pool.Name,
		Phase: plan.Phase{
			Count: int(slowRate * slowDuration.Seconds()), Rate: slowRate, Concurrency: 256,
			Requests: []plan.Request{r},
		},
		Detects: fmt.Sprintf("a slow server of %s that gets %.0f %% or more of its share by weight (power 0.999)",
			pool.Name, 100*maxSlowShare),
	}
	active := check.Rotation(pool)
	for i, s := range active {
		delay := outage.ToleratedDelay(cfg, pool, slowDelay)
		if i < len(active)-1 {
			delay = delay * fastDelay / slowDelay
		}
		t.SlowServers = append(t.SlowServers, check.SlowServer{Host: s.Host, Delay: delay})
	}
	return t
}

// idleWeights returns the weights of round robin at idle.
func idleWeights(pool model.Pool) []int {
	weights := check.WeightsOf(check.Rotation(pool))
	if pool.Balance.Rotation == model.Unweighted {
		for i := range weights {
			weights[i] = 1
		}
	}
	return weights
}

// idleEnvelope bounds the counts of round robin at idle, from any starting point.
func idleEnvelope(pool model.Pool, instances int) stats.Envelope {
	weights := idleWeights(pool)
	if pool.Balance.Rotation == model.Unweighted {
		return stats.StaticEnvelope(weights).AnyStart().Widen(allowedMissed)
	}
	return stats.SmoothEnvelope(weights).AnyStart().Times(instances).Widen(allowedMissed)
}

func idleRequirement(cfg model.Config, pool model.Pool, r plan.Request, params check.DesignParams) check.Requirement {
	weights := idleWeights(pool)
	wrong := stats.NearestWrong(weights)
	need := idleEnvelope(pool, check.CountInstances(cfg, pool, params.CPUs)).SampleSize(stats.Shares(weights),
		stats.Shares(wrong),
		1-params.Beta)
	return check.Requirement{
		Kind: plan.KindSequential, Phase: plan.Phase{Count: withMargin(need), Concurrency: 1, Requests: []plan.Request{r}},
		Detects: fmt.Sprintf("%s instead of %s in %s at idle (power %g)",
			formatRatio(wrong), formatRatio(weights), pool.Name, 1-params.Beta),
	}
}

// selection is one choice of a server, with the bounds on its times.
type selection struct {
	server                      int
	sent, arrived               time.Duration // sent by the client, arrived at the server: the choice was in between
	inFlightUntil, countedUntil time.Duration // at the server at least until, counted by the balancer at most until
	bounded                     bool          // it lies where all times are bounded
}

// judgeLeastconn judges single selections under load, and round robin at idle.
func judgeLeastconn(h history.History, pool model.Pool) check.Finding {
	active := check.Rotation(pool)
	instances := max(1, h.Env.Workers)
	if pool.SharedState {
		instances = 1
	}
	f := check.Finding{
		Inconclusive: cmp.Or(check.WhyNodeExited(h), check.WhyLedgerIncomplete(h)),
		Test:         fmt.Sprintf("round robin at idle (envelope, %s)", units.Plural(instances, "independent instance")),
	}
	if f.Inconclusive != "" {
		return f
	}
	idle := judgeIdle(&f, h, pool, instances)
	busy, enough := judgeSlowShare(&f, h, pool)
	switch {
	case busy == 0:
		f.Note = "selections under load not evaluated: no server was slow; lbproof test CONFIG slows one down"
	case instances == 1:
		f.Test += "; selections under load, by bounds on each server's requests in flight"
		enough = judgeSelections(&f, h, pool, active) && enough
	default:
		f.Note = fmt.Sprintf("single selections not judged: %d workers count independently", instances)
	}
	f.N += busy
	f.Need = f.N
	if !idle || !enough {
		f.Need = f.N + 1
	}
	return f
}

// judgeIdle judges the counts of requests without others in flight. It reports whether there were enough.
func judgeIdle(f *check.Finding, h history.History, pool model.Pool, instances int) (enough bool) {
	active := check.Rotation(pool)
	index, _ := indexServers(active)
	counts := make([]int, len(active))
	find := check.RouteFinder(h)
	for hit := range h.Hits {
		l := h.Plan.Phases[hit.Phase]
		i, in := index[hit.Server]
		alone := !l.IsOpenLoop() && l.Concurrency == 1
		mine := in && find(hit.Seq).Route.Pool == pool.Name
		if !alone || !mine || check.IsDuringFault(h, hit) {
			continue
		}
		counts[i]++
		f.N++
	}
	weights := idleWeights(pool)
	shares, env := stats.Shares(weights), idleEnvelope(pool, instances)
	for i, over := range env.Excess(counts, shares) {
		if over != 0 {
			centre := float64(f.N) * shares[i]
			f.CounterExamples = append(f.CounterExamples,
				fmt.Sprintf("%s got %s of %s requests at idle; round robin %s allows %.1f to %.1f",
					active[i].Host, units.Number(counts[i]), units.Number(f.N), formatRatio(weights),
					centre+env.Low[i], centre+env.High[i]))
		}
	}
	wrong := stats.NearestWrong(weights)
	f.Measured = "idle " + formatCounts(counts)
	f.Predicted = "idle " + formatRatio(weights)
	power := env.Power(f.N, shares, stats.Shares(wrong))
	f.Power = fmt.Sprintf("would have caught round robin %s at idle with probability %s",
		formatRatio(wrong), formatProbability(power))
	return f.N >= env.SampleSize(shares, stats.Shares(wrong), 1-h.Plan.Beta)
}

// formatCounts formats counts as 1,234 : 5.
func formatCounts(counts []int) string {
	var out []string
	for _, n := range counts {
		out = append(out, units.Number(n))
	}
	return strings.Join(out, " : ")
}

// findSlowWindow returns the time during which one server was slower than the others.
func findSlowWindow(h history.History, pool model.Pool) (outage.SlowPeriod, bool) {
	for _, s := range outage.SlowPeriods(h, pool) {
		if slices.Max(s.MinDelays) > slices.Min(s.MinDelays) {
			return s, true
		}
	}
	return outage.SlowPeriod{}, false
}

// judgeSlowShare judges the share of the slowest server. It returns the number of requests, and whether that is enough.
func judgeSlowShare(f *check.Finding, h history.History, pool model.Pool) (n int, enough bool) {
	when, ok := findSlowWindow(h, pool)
	if !ok {
		return 0, false
	}
	slow := slices.Index(when.MinDelays, slices.Max(when.MinDelays))
	active := check.Rotation(pool)
	index, _ := indexServers(active)
	got, took, tookOthers := 0, time.Duration(0), time.Duration(0)
	find := check.RouteFinder(h)
	for hit := range h.Hits {
		i, in := index[hit.Server]
		outside := hit.Sent < when.From+slices.Max(when.MinDelays) || hit.Sent > when.To
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
		f.Inconclusive = fmt.Sprintf("%s was slowed but took less than twice as long as the others, "+
			"which were slow by themselves", active[slow].Host)
	}
	share := stats.Shares(check.WeightsOf(active))[slow]
	more, less := stats.BinomialTails(n, got, maxSlowShare*share)
	f.Measured += fmt.Sprintf("; slow %s got %s of %s", active[slow].Host, units.Number(got), units.Number(n))
	f.Predicted += fmt.Sprintf("; less than %s", units.PercentTenths(maxSlowShare*share))
	f.Tested, f.AnytimeValid, f.P = true, true, more
	return n, less < h.Plan.Beta
}

// judgeFastest judges pools that prefer fast servers.
func judgeFastest(h history.History, pool model.Pool) check.Finding {
	f := check.Finding{
		Inconclusive: cmp.Or(check.WhyNodeExited(h), check.WhyLedgerIncomplete(h)),
		Test:         "binomial test of the slow server's share",
	}
	n, enough := judgeSlowShare(&f, h, pool)
	f.Measured, f.Predicted = strings.TrimPrefix(f.Measured, "; "), strings.TrimPrefix(f.Predicted, "; ")
	if n == 0 && f.Inconclusive == "" {
		f.Inconclusive = "no server was slow, so none could get less; lbproof test CONFIG slows one down"
	}
	f.Power = fmt.Sprintf("would have caught a slow server with %.0f %% or more of its share with probability %g",
		100*maxSlowShare, 1-h.Plan.Beta)
	f.N, f.Need = n, n
	if !enough {
		f.Need = n + 1
	}
	return f
}

// judgeSelections judges every selection by the requests in flight: it is wrong if the chosen server certainly had more
// in flight, per weight, than another one can have had. It reports whether enough selections could have been wrong.
func judgeSelections(f *check.Finding, h history.History, pool model.Pool, active []model.Server) (enough bool) {
	var wrong check.Examples
	conclusive, first := 0, 0
	picks := collectSelections(h, pool, active)
	for i, p := range picks {
		for first < i && picks[first].countedUntil < p.sent {
			first++
		}
		if !p.bounded {
			continue
		}
		busy := countInFlight(picks[first:], i-first, len(active))
		better, could := busy.lessLoaded(p.server, active, pool.Balance.Load)
		if could {
			conclusive++
		}
		if better >= 0 {
			wrong.Add("the request sent at %.3f s went to %s, which had at least %d in flight; %s had at most %d",
				p.sent.Seconds(), active[p.server].Host, busy.atLeast[p.server], active[better].Host, busy.atMost[better])
		}
	}
	f.CounterExamples = append(f.CounterExamples, wrong.List()...)
	f.Measured += fmt.Sprintf("; %s of %s wrong", units.Number(wrong.Total), units.Plural(conclusive, "selection"))
	f.Predicted += "; none wrong"
	f.Power += "; " + check.RequestPower(conclusive, h)
	return conclusive >= check.RequestsNeeded(h)/4
}

// inFlightBounds bounds the requests that each server had in flight when one was selected.
type inFlightBounds struct{ atLeast, atMost []int }

// countInFlight bounds the requests in flight at selection i. Selections are ordered by time of sending.
func countInFlight(picks []selection, i, servers int) inFlightBounds {
	b := inFlightBounds{atLeast: make([]int, servers), atMost: make([]int, servers)}
	p := picks[i]
	for k, o := range picks {
		if o.sent > p.arrived {
			break
		}
		if k == i {
			continue
		}
		if o.arrived <= p.sent && o.inFlightUntil >= p.arrived {
			b.atLeast[o.server]++
		}
		if o.countedUntil >= p.sent {
			b.atMost[o.server]++
		}
	}
	return b
}

// lessLoaded returns a server that certainly had less load than the chosen one, or -1. could reports whether a wrong
// choice would have been visible.
func (b inFlightBounds) lessLoaded(chosen int, servers []model.Server, law model.LoadMetric) (better int, could bool) {
	better = -1
	for j, other := range servers {
		least := loadPerWeight(b.atMost[j], other.Weight, law)
		for k, server := range servers {
			worse := loadPerWeight(b.atLeast[k], server.Weight, law) > least
			could = could || worse
			if worse && k == chosen {
				better = j
			}
		}
	}
	return better, could
}

// loadPerWeight returns the load that the balancer assigns to a server with that many requests in flight.
func loadPerWeight(inFlight, weight int, law model.LoadMetric) float64 {
	switch {
	case law != model.NextPerWeight:
		return float64(inFlight) / float64(weight)
	case inFlight == 0:
		return 0
	}
	return float64((inFlight + 1) * 256 / weight)
}

// collectSelections returns the pool's selections by time of sending, with bounds on their times.
func collectSelections(h history.History, pool model.Pool, active []model.Server) []selection {
	when, _ := findSlowWindow(h, pool)
	index, _ := indexServers(active)
	arrived := map[uint64]time.Duration{}
	for a := range h.Arrivals {
		if _, duplicate := arrived[a.Seq]; !duplicate {
			arrived[a.Seq] = a.At
		}
	}
	var out []selection
	find := check.RouteFinder(h)
	for hit := range h.Hits {
		i, in := index[hit.Server]
		if !in || find(hit.Seq).Route.Pool != pool.Name {
			continue
		}
		p := selection{
			server: i, sent: hit.Sent, arrived: hit.Done, inFlightUntil: hit.Sent,
			countedUntil: hit.Done + outage.ReleaseDelay,
		}
		if at, known := arrived[hit.Seq]; known && hit.Sent >= when.From && hit.Done <= when.To {
			p.arrived, p.inFlightUntil, p.bounded = at, min(at+when.MinDelays[i], hit.Done), true
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b selection) int { return cmp.Compare(a.sent, b.sent) })
	return out
}
