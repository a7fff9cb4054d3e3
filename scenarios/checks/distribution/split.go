package distribution

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Split = check.Check{
	Name: plan.CheckSplit,
	Doc:  "Traffic is split between pools by share (canary, A/B).",
	Law: "hash: the side of each key recomputed, or a sequential test if each request has a new key; round robin: the " +
		"envelope of earliest deadline first",
	Evidence: check.Evidence{Undisturbed: true},
	Claims: func(cfg model.Config) []plan.Claim {
		var claims []plan.Claim
		for _, s := range cfg.Splits {
			var parts []string
			params := plan.Params{}
			for _, share := range s.Shares {
				parts = append(parts, fmt.Sprintf("%s %.4g %%", share.Pool, 100*share.Share))
				params[plan.Param(share.Pool)] = plan.Amount(share.Share)
			}
			by := "by round robin"
			if s.Hash != nil {
				by = fmt.Sprintf("by hash of %s (equal keys on the same side)", s.Key())
			}
			claims = append(claims, plan.Claim{
				ID: check.ClaimID(plan.CheckSplit, s.Name, ""), Check: plan.CheckSplit, Subject: s.Name, Pos: s.Pos,
				Params: params,
				Text:   fmt.Sprintf("%s splits requests %s: %s.", s.Name, by, strings.Join(parts, ", ")),
			})
		}
		return claims
	},
	Requirements: splitRequirements,
	Judge:        judgeSplit,
}

// splitServers maps hosts to the share that they stand for; ok is false if the shares are not pools or have servers in
// common.
func splitServers(cfg model.Config, s model.Split) (of map[string]string, shares []float64, ok bool) {
	of = map[string]string{}
	for _, share := range s.Shares {
		pool, known := cfg.Pool(share.Pool)
		if !known || share.Share <= 0 {
			return nil, nil, false
		}
		shares = append(shares, share.Share)
		for _, server := range pool.Servers {
			if was, duplicate := of[server.Host]; duplicate && was != share.Pool {
				return nil, nil, false
			}
			of[server.Host] = share.Pool
		}
	}
	return of, shares, len(shares) > 1
}

// isPerRequest reports whether every request has a new key.
func isPerRequest(s model.Split) bool { return s.Key().Variable == model.RequestID }

func splitRequirements(cfg model.Config, claim plan.Claim, params check.DesignParams) []check.Requirement {
	s, _ := cfg.Split(claim.Subject)
	of, shares, ok := splitServers(cfg, s)
	r, reached := check.RequestToPool(cfg, s.Name)
	unknown := s.Hash != nil && s.Hash.Function == ""
	if !ok || !reached || unknown {
		return nil
	}
	if s.Hash != nil && !isPerRequest(s) {
		return check.KeyRequirements(s.Name, s.Key(), r)
	}
	if s.Hash == nil {
		need := splitEnvelope(shares).SampleSize(shares, skewShares(shares), 1-params.Beta)
		return []check.Requirement{{
			Kind: plan.KindRotation, Phase: plan.Phase{
				Count: withMargin(need), Concurrency: check.RotationInFlight,
				Requests: []plan.Request{r},
			},
			Detects: fmt.Sprintf("shares of %s off by %.0f %% (power %g)", s.Name, 100*tolerance, 1-params.Beta),
		}}
	}
	draws := plan.StopRule{
		Claim: claim.ID, Shares: map[string]float64{}, CountsFor: of, Tolerance: tolerance, Alpha: params.Alpha,
		Beta: params.Beta,
	}
	for i, share := range s.Shares {
		draws.Shares[share.Pool] = shares[i]
	}
	return []check.Requirement{{
		Kind: plan.KindSampling,
		Detects: fmt.Sprintf("shares of %s off by %.0f %% (power %g); stops once conclusive",
			s.Name, 100*tolerance, 1-params.Beta),
		Phase: plan.Phase{
			Count: maxDrawFactor * stats.DrawsToAccept(shares, tolerance, params.Beta), Concurrency: check.RotationInFlight,
			Requests: []plan.Request{r}, StopRules: []plan.StopRule{draws},
		},
	}}
}

// splitEnvelope bounds the counts of a round-robin split from any starting point.
func splitEnvelope(shares []float64) stats.Envelope {
	return stats.DeadlineEnvelope(shares).AnyStart().Widen(allowedMissed)
}

// skewShares returns shares whose smallest is off by as much as a run must detect.
func skewShares(shares []float64) []float64 {
	out := slices.Clone(shares)
	least := slices.Index(out, slices.Min(out))
	more := out[least] * tolerance
	for i := range out {
		out[i] -= more * out[i] / (1 - shares[least])
	}
	out[least] = shares[least] + more
	return out
}

// splitTally counts a split's requests by side.
type splitTally struct {
	split      model.Split
	shareOf    map[string]string
	index      map[string]int // of a share
	test       *stats.SequentialTest
	counts     []int
	misrouted  check.Examples // not on the side of the key's hash
	unexpected check.Examples
	unknownKey bool // the key of some request is unknown
}

func judgeSplit(claim plan.Claim, h history.History) check.Finding {
	s, known := h.Plan.Config.Split(claim.Subject)
	of, shares, ok := splitServers(h.Plan.Config, s)
	switch {
	case !known:
		return check.Finding{Untestable: "the configuration has no split " + claim.Subject}
	case !ok:
		return check.Finding{
			Inconclusive: "the sides are not separate pools, so a server does not show the side of a request",
		}
	case s.Hash != nil && s.Hash.Function == "":
		return check.Finding{Inconclusive: "lbproof cannot compute its hash"}
	case check.WhyNodeExited(h) != "":
		return check.Finding{Inconclusive: check.WhyNodeExited(h)}
	}
	d := splitTally{
		split: s, shareOf: of, index: map[string]int{}, test: stats.NewSequentialTest(shares, tolerance),
		counts: make([]int, len(shares)),
	}
	for i, share := range s.Shares {
		d.index[share.Pool] = i
	}
	d.count(h, stats.SplitMap(shares))
	switch {
	case isPerRequest(s):
		return sequentialFinding(h, d.test, d.counts, shares, d.unexpected, 0)
	case d.unknownKey:
		return check.Finding{Inconclusive: fmt.Sprintf("cannot determine the key %s of a request", s.Key())}
	case s.Hash != nil:
		n := sumCounts(d.counts)
		return check.Finding{
			N: n, Need: check.RequestsPerKey * 13, CounterExamples: append(d.misrouted.List(), d.unexpected.List()...),
			Test:      "side of each key against the recomputed hash",
			Measured:  fmt.Sprintf("%s, %s on the wrong side", units.Plural(n, "request"), units.Number(d.misrouted.Total)),
			Predicted: "each on the side of its hash",
			Power:     check.RequestPower(n, h),
		}
	}
	return d.judgeRotation(h, shares)
}

// count counts the sides that requests took, and compares them with the hash of their keys.
func (d *splitTally) count(h history.History, m stats.Map) {
	find := check.RouteFinder(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		answered := hit.Server != "" && !check.IsDuringFault(h, hit)
		if j == nil || j.Route.Pool != d.split.Name || !answered {
			continue
		}
		if d.split.Sticky != nil && h.Plan.Phases[hit.Phase].Clients.Cookies {
			continue // returning clients bypass the split
		}
		i, in := d.index[d.shareOf[hit.Server]]
		if !in {
			d.unexpected.Add("request %d was answered by %s, which is on no side of the split", hit.Seq, hit.Server)
			continue
		}
		d.test.Add(i)
		d.counts[i]++
		if d.split.Key().IsEmpty() || isPerRequest(d.split) {
			continue
		}
		key, ok := check.KeyOf(h, d.split.Key(), hit)
		d.unknownKey = d.unknownKey || !ok
		if want := m(key); ok && want != i {
			d.misrouted.Add("request %d with key %s went to %s; its hash says %s",
				hit.Seq, check.FormatKey(d.split.Key(), key), d.split.Shares[i].Pool, d.split.Shares[want].Pool)
		}
	}
}

// judgeRotation judges a round-robin split.
func (d *splitTally) judgeRotation(h history.History, shares []float64) check.Finding {
	f := check.Finding{
		N: sumCounts(d.counts), Measured: formatCounts(d.counts),
		Test:            "envelope of earliest deadline first, false alarm rate 0",
		CounterExamples: d.unexpected.List(),
		Power: fmt.Sprintf("would have caught shares off by %.0f %% with probability %g", 100*tolerance,
			1-h.Plan.Beta),
	}
	env := splitEnvelope(shares)
	f.Need = env.SampleSize(shares, skewShares(shares), 1-h.Plan.Beta)
	var want []string
	for i, over := range env.Excess(d.counts, shares) {
		want = append(want, fmt.Sprintf("%.1f", float64(f.N)*shares[i]))
		if over != 0 {
			direction := "more"
			if over < 0 {
				direction = "fewer"
			}
			f.CounterExamples = append(f.CounterExamples,
				fmt.Sprintf("%s got %s of %s requests, %.1f %s than round robin allows",
					d.split.Shares[i].Pool, units.Number(d.counts[i]), units.Number(f.N), math.Abs(over), direction))
		}
	}
	f.Predicted = strings.Join(want, " : ")
	return f
}

func sumCounts(counts []int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}
