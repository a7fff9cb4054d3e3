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
	Evidence: check.Evidence{MatchedArrivals: true, Undisturbed: true, Subrequests: func(cfg model.Config, claim plan.Claim) bool {
		return check.IsOwnAuthService(cfg, claim.Subject)
	}},
	Claims:       weightClaims,
	Requirements: weightRequirements,
	Judge:        judgeWeights,
}

// withMargin adds a few requests to the number needed, because those at a phase's edges may not count.
func withMargin(need int) int { return need + need/50 + 3 }

func weightRequirements(cfg model.Config, claim plan.Claim, terms check.DesignParams) []check.Requirement {
	pool, _ := cfg.Pool(claim.Subject)
	r, ok := check.RequestToPool(cfg, claim.Subject)
	if !ok {
		return nil
	}
	active := check.Rotation(pool)
	wrong := stats.NearestWrong(check.WeightsOf(active))
	right, env := rotationEnvelope(pool, active, check.CountInstances(cfg, pool, terms.CPUs))
	need := env.SampleSize(right, stats.Shares(wrong), 1-terms.Beta)
	return []check.Requirement{{
		Kind: plan.KindRotation, Phase: plan.Phase{
			Count: withMargin(need), Concurrency: check.RotationInFlight,
			Requests: []plan.Request{r},
		},
		Detects: fmt.Sprintf("%s for %s in %s, with probability %g",
			formatRatio(wrong), formatRatio(check.WeightsOf(active)), claim.Subject, 1-terms.Beta),
	}}
}

func weightClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, pool := range cfg.Pools {
		active := check.Rotation(pool)
		if !pool.Balance.IsRoundRobin() || len(active) < 2 {
			continue
		}
		claim := plan.Claim{
			ID: "weights/" + pool.Name, Check: plan.CheckWeights, Subject: pool.Name, Pos: pool.Pos,
			Params:      plan.Params{},
			Assumptions: []string{"every server is up and accepts its requests throughout", assumeInstances(cfg, pool)},
		}
		if check.HasNamedServer(pool) && pool.Resolve != nil && pool.Resolve.ServerPerAddress {
			claim.Assumptions = append(claim.Assumptions, "each name has one address: one with several counts as so many servers")
		}
		shares := stats.Shares(check.WeightsOf(active))
		for i, s := range active {
			claim.Params[plan.Param(s.Addr())] = plan.Amount(shares[i])
		}
		claim.Text = fmt.Sprintf("The requests of %s are shared by weight: %s.", pool.Name, formatShares(active))
		claims = append(claims, claim)
	}
	return claims
}

// assumeInstances describes the number of independent balancing instances.
func assumeInstances(cfg model.Config, pool model.Pool) string {
	switch {
	case pool.SharedState:
		return "one balancing state for all requests"
	case cfg.Workers.Auto:
		return "one balancing state per worker process, as many as the balancer sees processors"
	}
	return fmt.Sprintf("one balancing state per worker process, %d of them", cfg.Workers.Count)
}

// formatFraction formats a weight's share of the total as a reduced fraction, e.g. 1/6.
func formatFraction(weight int, servers []model.Server) string {
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
		return check.Finding{Untestable: "the configuration has no pool " + claim.Subject}
	}
	if why := check.WhyUnreachable(h.Plan.Config, pool.Name); why != "" {
		return check.Finding{Untestable: why}
	}
	keepsCookies := func(l plan.Phase) bool { return l.Clients.Cookies && check.IsRelevant(l, plan.CheckWeights) }
	if pool.Sticky != nil && slices.ContainsFunc(h.Plan.Phases, keepsCookies) {
		return check.Finding{Inconclusive: "clients that bring their cookie back take no turns"}
	}
	states := h.Env.Workers
	if pool.SharedState {
		states = 1
	}
	if len(h.Env.Faults) == 0 || states == 0 {
		return judgeRotation(h, pool, states)
	}
	f := check.Finding{Test: envelopeTest(pool, states) + ", where it is known who shares", Inconclusive: whyUnknown(h)}
	if f.Inconclusive == "" {
		judgeAroundFaults(&f, h, pool, outage.FindPartial(h, pool, outage.RefusingFaults...), states)
	}
	return f
}

// judgeRotation judges a pool whose servers were all up. states is 0 if unknown.
func judgeRotation(h history.History, pool model.Pool, states int) check.Finding {
	active := check.Rotation(pool)
	tally, broken := tallyPool(pool, active, h)
	right, env := rotationEnvelope(pool, active, states)
	if coversStart(h.Plan, pool) {
		right, env = rotationFromStart(pool, active, states, tally.total)
	}
	env = env.Widen(tally.slack)
	wrong := stats.NearestWrong(check.WeightsOf(active))
	f := check.Finding{
		N:            tally.total,
		Need:         env.SampleSize(right, stats.Shares(wrong), 1-h.Plan.Beta),
		Inconclusive: broken,
		Test:         envelopeTest(pool, states),
	}
	if states == 0 {
		f.Inconclusive = "it is not known how many workers ran, each with a balancing state of its own"
	}
	f.Measured, f.Predicted = describe(active, tally, right, env)
	if f.Inconclusive != "" {
		return f
	}
	f.Note = describeDrift(active, right)
	over := env.Excess(tally.counts, right)
	for i, s := range active {
		if over[i] != 0 {
			f.CounterExamples = append(f.CounterExamples, fmt.Sprintf("%s got %s of %s requests; weight %s allows %s",
				s.Host, units.Number(tally.counts[i]), units.Number(tally.total), formatFraction(s.Weight, active),
				formatInterval(i, tally, right, env)))
		}
	}
	f.CounterExamples = append(f.CounterExamples, tally.unexpected.List()...)
	power := env.Power(tally.total, right, stats.Shares(wrong))
	f.Power = fmt.Sprintf("would have caught %s with probability %s", formatRatio(wrong), formatProbability(power))
	return f
}

// describe formats the counts and what the law allows.
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

func formatInterval(i int, t poolTally, shares []float64, env stats.Envelope) string {
	centre := float64(t.total) * shares[i]
	return fmt.Sprintf("%.1f to %.1f", centre+env.Low[i], centre+env.High[i])
}

// formatRatio formats weights as 1:2:3.
func formatRatio(weights []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(weights), " ", ":"), "[]")
}

// formatProbability formats a probability near 1 without rounding it up to certainty.
func formatProbability(p float64) string {
	if p > 0.9999 {
		return "above 0.9999"
	}
	return fmt.Sprintf("%.4f", p)
}
