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
	Doc:  "Requests to a round-robin pool are distributed by weight.",
	Law: "counts stay within the exact envelope of smooth weighted round robin per instance (nginx), earliest " +
		"deadline first (Traefik) or a replay (HAProxy); false alarm rate 0",
	Evidence: check.Evidence{
		MatchedArrivals: true, Undisturbed: true,
		Subrequests: func(cfg model.Config, claim plan.Claim) bool {
			return check.IsOwnAuthService(cfg, claim.Subject)
		},
	},
	Claims:       weightClaims,
	Requirements: weightRequirements,
	Judge:        judgeWeights,
}

// withMargin adds a few requests to the number needed, because those at a phase's edges may not count.
func withMargin(need int) int { return need + need/50 + 3 }

func weightRequirements(cfg model.Config, claim plan.Claim, params check.DesignParams) []check.Requirement {
	pool, _ := cfg.Pool(claim.Subject)
	r, ok := check.RequestToPool(cfg, claim.Subject)
	if !ok {
		return nil
	}
	active := check.Rotation(pool)
	wrong := stats.NearestWrong(check.WeightsOf(active))
	right, env := rotationEnvelope(pool, active, check.CountInstances(cfg, pool, params.CPUs))
	need := env.SampleSize(right, stats.Shares(wrong), 1-params.Beta)
	return []check.Requirement{{
		Kind: plan.KindRotation, Phase: plan.Phase{
			Count: withMargin(need), Concurrency: check.RotationInFlight,
			Requests: []plan.Request{r},
		},
		Detects: fmt.Sprintf("%s instead of %s in %s (power %g)",
			formatRatio(wrong), formatRatio(check.WeightsOf(active)), claim.Subject, 1-params.Beta),
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
			Assumptions: []string{"all servers stay up and accept their requests", assumeInstances(cfg, pool)},
		}
		if check.HasNamedServer(pool) && pool.Resolve != nil && pool.Resolve.ServerPerAddress {
			claim.Assumptions = append(claim.Assumptions,
				"each server name resolves to one address: a name with several counts as several servers")
		}
		shares := stats.Shares(check.WeightsOf(active))
		for i, s := range active {
			claim.Params[plan.Param(s.Addr())] = plan.Amount(shares[i])
		}
		claim.Text = fmt.Sprintf("Requests to %s are distributed by weight: %s.", pool.Name, formatShares(active))
		claims = append(claims, claim)
	}
	return claims
}

// assumeInstances describes the number of independent balancing instances.
func assumeInstances(cfg model.Config, pool model.Pool) string {
	switch {
	case pool.SharedState:
		return "all requests share one balancing instance"
	case cfg.Workers.Auto:
		return "each worker process balances independently (one per processor)"
	case cfg.Workers.Count == 1:
		return "one worker process balances all requests"
	}
	return fmt.Sprintf("each of %d worker processes balances independently", cfg.Workers.Count)
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
		return check.Finding{Inconclusive: "clients with a session cookie bypass round robin"}
	}
	instances := h.Env.Workers
	if pool.SharedState {
		instances = 1
	}
	if len(h.Env.Faults) == 0 || instances == 0 {
		return judgeRotation(h, pool, instances)
	}
	f := check.Finding{
		Test:         envelopeTest(pool, instances) + ", while the servers in rotation are known",
		Inconclusive: whyUnknown(h),
	}
	if f.Inconclusive == "" {
		judgeAroundFaults(&f, h, pool, outage.FindPartial(h, pool, outage.RefusingFaults...), instances)
	}
	return f
}

// judgeRotation judges a pool whose servers were all up. instances is 0 if unknown.
func judgeRotation(h history.History, pool model.Pool, instances int) check.Finding {
	active := check.Rotation(pool)
	tally, broken := tallyPool(pool, active, h)
	right, env := rotationEnvelope(pool, active, instances)
	if coversStart(h.Plan, pool) {
		right, env = rotationFromStart(pool, active, instances, tally.total)
	}
	env = env.Widen(tally.slack)
	wrong := stats.NearestWrong(check.WeightsOf(active))
	f := check.Finding{
		N:            tally.total,
		Need:         env.SampleSize(right, stats.Shares(wrong), 1-h.Plan.Beta),
		Inconclusive: broken,
		Test:         envelopeTest(pool, instances),
	}
	if instances == 0 {
		f.Inconclusive = "the number of workers is unknown, and each balances independently"
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
