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
)

var Split = check.Check{
	Name: plan.CheckSplit,
	Doc:  "Shares of the traffic go to different pools (canary, A/B).",
	Law: "a split by hash is an exact function of the key, and over keys binomial; one by turns keeps to the " +
		"envelope of weighted round robin",
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
			by := "request by request"
			if s.Hash != nil {
				by = fmt.Sprintf("by the hash of %s, the same key always to the same", s.Key())
			}
			claims = append(claims, plan.Claim{
				ID: check.ClaimID(plan.CheckSplit, s.Name, ""), Check: plan.CheckSplit, Subject: s.Name, Pos: s.Pos,
				Params: params,
				Text:   fmt.Sprintf("%s splits its requests %s: %s.", s.Name, by, strings.Join(parts, ", ")),
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
			if was, twice := of[server.Host]; twice && was != share.Pool {
				return nil, nil, false
			}
			of[server.Host] = share.Pool
		}
	}
	return of, shares, len(shares) > 1
}

// isPerRequest reports whether every request has a new key.
func isPerRequest(s model.Split) bool { return s.Key().Variable == model.RequestID }

func splitRequirements(cfg model.Config, claim plan.Claim, terms check.DesignParams) []check.Requirement {
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
		need := splitEnvelope(shares).SampleSize(shares, skewShares(shares), 1-terms.Beta)
		return []check.Requirement{{
			Kind: plan.KindRotation, Phase: plan.Phase{
				Count: withMargin(need), Concurrency: check.RotationInFlight,
				Requests: []plan.Request{r},
			},
			Detects: fmt.Sprintf("shares of %s that are %.0f %% off, with probability %g", s.Name, 100*tolerance, 1-terms.Beta),
		}}
	}
	draws := plan.StopRule{
		Claim: claim.ID, Shares: map[string]float64{}, CountsFor: of, Tolerance: tolerance, Alpha: terms.Alpha,
		Beta: terms.Beta,
	}
	for i, share := range s.Shares {
		draws.Shares[share.Pool] = shares[i]
	}
	return []check.Requirement{{
		Kind: plan.KindSampling,
		Detects: fmt.Sprintf("shares of %s that are %.0f %% off, with probability %g; it ends as soon as it knows",
			s.Name, 100*tolerance, 1-terms.Beta),
		Phase: plan.Phase{
			Count: maxDrawFactor * stats.DrawsToAccept(shares, tolerance, terms.Beta), Concurrency: check.RotationInFlight,
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
			Inconclusive: "its shares are no pools of their own, whose servers would tell which one a request took",
		}
	case s.Hash != nil && s.Hash.Function == "":
		return check.Finding{Inconclusive: "lbproof does not know its hash"}
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
		return check.Finding{Inconclusive: fmt.Sprintf("lbproof cannot tell the key %s of a request", s.Key())}
	case s.Hash != nil:
		n := sumCounts(d.counts)
		return check.Finding{
			N: n, Need: check.RequestsPerKey * 13, CounterExamples: append(d.misrouted.List(), d.unexpected.List()...),
			Test:      "every key's side against the hash that is recomputed",
			Measured:  fmt.Sprintf("%s, %s on the other side", units.Plural(n, "request"), units.Number(d.misrouted.Total)),
			Predicted: "each where its hash says",
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
			d.misrouted.Add("request %d with the key %s went to %s; its hash says %s",
				hit.Seq, check.FormatKey(d.split.Key(), key), d.split.Shares[i].Pool, d.split.Shares[want].Pool)
		}
	}
}

// judgeRotation judges a round-robin split.
func (d *splitTally) judgeRotation(h history.History, shares []float64) check.Finding {
	f := check.Finding{
		N: sumCounts(d.counts), Test: "envelope of earliest deadline first, false alarm rate 0", Measured: formatCounts(d.counts),
		CounterExamples: d.unexpected.List(),
		Power:           fmt.Sprintf("would have caught shares that are %.0f %% off with probability %g", 100*tolerance, 1-h.Plan.Beta),
	}
	env := splitEnvelope(shares)
	f.Need = env.SampleSize(shares, skewShares(shares), 1-h.Plan.Beta)
	var want []string
	for i, over := range env.Excess(d.counts, shares) {
		want = append(want, fmt.Sprintf("%.1f", float64(f.N)*shares[i]))
		if over != 0 {
			f.CounterExamples = append(f.CounterExamples, fmt.Sprintf("%s got %s of %s requests, %.1f beyond what turns allow",
				d.split.Shares[i].Pool, units.Number(d.counts[i]), units.Number(f.N), over))
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
