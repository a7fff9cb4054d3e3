package distribution

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

var Weights = check.Check{
	Name: plan.CheckWeights,
	Doc:  "The servers of a round robin pool share its requests by their weights.",
	Law: "the envelope of smooth weighted round robin, once per independent state (nginx), of earliest deadline " +
		"first (Traefik), or of a replay of HAProxy's own turns; its false alarm rate is 0, because no honest run " +
		"can leave it",
	Evidence: check.Evidence{Joined: true, Undisturbed: true, Subrequests: func(cfg model.Config, claim plan.Claim) bool {
		return check.AsksItself(cfg, claim.Subject)
	}},
	Claims: weightClaims,
	Trials: weightTrials,
	Judge:  judgeWeights,
}

// spareOf is a few requests more than are needed: those at a phase's edges may not count.
func spareOf(need int) int { return need + need/50 + 3 }

func weightTrials(cfg model.Config, claim plan.Claim, terms check.Terms) []check.Trial {
	pool, _ := cfg.Pool(claim.Subject)
	r, ok := check.RequestToPool(cfg, claim.Subject)
	if !ok {
		return nil
	}
	active := check.Rotation(pool)
	wrong := stats.Nearest(check.WeightsOf(active))
	right, env := turnShares(pool, active, check.StatesOf(cfg, pool, terms.CPUs))
	need := env.Need(right, stats.Shares(wrong), 1-terms.Beta)
	return []check.Trial{{
		Kind: plan.KindTurns, Load: plan.Phase{
			Count: spareOf(need), Concurrency: check.TurnsInFlight,
			Requests: []plan.Request{r},
		},
		Shows: fmt.Sprintf("%s for %s in %s, with probability %g",
			ratio(wrong), ratio(check.WeightsOf(active)), claim.Subject, 1-terms.Beta),
	}}
}

func weightClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, pool := range cfg.Pools {
		active := check.Rotation(pool)
		if !pool.Balance.TakesTurns() || len(active) < 2 {
			continue
		}
		claim := plan.Claim{
			ID: "weights/" + pool.Name, Check: plan.CheckWeights, Subject: pool.Name, Pos: pool.Pos,
			Params:  plan.Params{},
			Assumes: []string{"every server is up and accepts its requests throughout", statesAssumed(cfg, pool)},
		}
		if check.HasNamedServer(pool) && pool.Resolve != nil && pool.Resolve.EachAddress {
			claim.Assumes = append(claim.Assumes, "each name has one address: one with several counts as so many servers")
		}
		shares := stats.Shares(check.WeightsOf(active))
		for i, s := range active {
			claim.Params[plan.Param(s.Addr())] = plan.Amount(shares[i])
		}
		claim.Text = fmt.Sprintf("The requests of %s are shared by weight: %s.", pool.Name, shareList(active))
		claims = append(claims, claim)
	}
	return claims
}

// statesAssumed says how many independent balancing states the configuration makes.
func statesAssumed(cfg model.Config, pool model.Pool) string {
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

func judgeWeights(claim plan.Claim, h history.History) check.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	if !ok {
		return check.Finding{Cannot: "the configuration has no pool " + claim.Subject}
	}
	if why := check.WhyUnreachable(h.Plan.Config, pool.Name); why != "" {
		return check.Finding{Cannot: why}
	}
	keepsCookies := func(l plan.Phase) bool { return l.Clients.Cookies && check.BearsOn(l, plan.CheckWeights) }
	if pool.Sticky != nil && slices.ContainsFunc(h.Plan.Phases, keepsCookies) {
		return check.Finding{Broken: "clients that bring their cookie back take no turns"}
	}
	states := h.Env.Workers
	if pool.SharedState {
		states = 1
	}
	if len(h.Env.Marks) == 0 || states == 0 {
		return judgeTurns(h, pool, states)
	}
	f := check.Finding{Test: envelopeTest(pool, states) + ", where it is known who shares", Broken: unknownShares(h)}
	if f.Broken == "" {
		judgeWeightsAround(&f, h, pool, outage.Episodes(h, pool, outage.Refusing...), states)
	}
	return f
}

// judgeTurns judges a pool of whose servers none was missing. states is 0 where it is not known how many there are.
func judgeTurns(h history.History, pool model.Pool, states int) check.Finding {
	active := check.Rotation(pool)
	tally, broken := tallyPool(pool, active, h)
	right, env := turnShares(pool, active, states)
	if fresh(h.Plan, pool) {
		right, env = turnsFromStart(pool, active, states, tally.total)
	}
	env = env.Widen(tally.slack)
	wrong := stats.Nearest(check.WeightsOf(active))
	f := check.Finding{
		N:      tally.total,
		Need:   env.Need(right, stats.Shares(wrong), 1-h.Plan.Beta),
		Broken: broken,
		Test:   envelopeTest(pool, states),
	}
	if states == 0 {
		f.Broken = "it is not known how many workers ran, each with a balancing state of its own"
	}
	f.Measured, f.Predicted = describe(active, tally, right, env)
	if f.Broken != "" {
		return f
	}
	f.Note = drifts(active, right)
	over := env.Outside(tally.counts, right)
	for i, s := range active {
		if over[i] != 0 {
			f.Counter = append(f.Counter, fmt.Sprintf("%s got %s of %s requests; weight %s allows %s",
				s.Host, units.Number(tally.counts[i]), units.Number(tally.total), fraction(s.Weight, active),
				interval(i, tally, right, env)))
		}
	}
	f.Counter = append(f.Counter, tally.strangers.List()...)
	power := env.Power(tally.total, right, stats.Shares(wrong))
	f.Power = fmt.Sprintf("would have caught %s with probability %s", ratio(wrong), probability(power))
	return f
}

// describe prints what was counted and what the law allows.
func describe(active []model.Server, t poolTally, shares []float64, env stats.Envelope) (measured, predicted string) {
	var got, want []string
	low, high := 0.0, 0.0
	for i := range active {
		got = append(got, units.Number(t.counts[i]))
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
