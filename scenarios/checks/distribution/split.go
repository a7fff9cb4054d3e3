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
	Trials: splitTrials,
	Judge:  judgeSplit,
}

// sides are which share of a split each server stands for; ok is false where its shares are no pools, or have servers
// in common.
func sides(cfg model.Config, s model.Split) (of map[string]string, shares []float64, ok bool) {
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

// drawnAnew reports whether a split's key is another one for each request.
func drawnAnew(s model.Split) bool { return s.Key().Variable == model.RequestID }

func splitTrials(cfg model.Config, claim plan.Claim, terms check.Terms) []check.Trial {
	s, _ := cfg.Split(claim.Subject)
	of, shares, ok := sides(cfg, s)
	r, reached := check.RequestToPool(cfg, s.Name)
	unknown := s.Hash != nil && s.Hash.Function == ""
	if !ok || !reached || unknown {
		return nil
	}
	if s.Hash != nil && !drawnAnew(s) {
		return check.KeyTrials(s.Name, s.Key(), r)
	}
	if s.Hash == nil {
		need := splitEnvelope(shares).Need(shares, askew(shares), 1-terms.Beta)
		return []check.Trial{{
			Kind: plan.KindTurns, Load: plan.Phase{
				Count: spareOf(need), Concurrency: check.TurnsInFlight,
				Requests: []plan.Request{r},
			},
			Shows: fmt.Sprintf("shares of %s that are %.0f %% off, with probability %g", s.Name, 100*within, 1-terms.Beta),
		}}
	}
	draws := plan.Draws{
		Claim: claim.ID, Shares: map[string]float64{}, Of: of, Within: within, Alpha: terms.Alpha,
		Beta: terms.Beta,
	}
	for i, share := range s.Shares {
		draws.Shares[share.Pool] = shares[i]
	}
	return []check.Trial{{
		Kind: plan.KindDraws,
		Shows: fmt.Sprintf("shares of %s that are %.0f %% off, with probability %g; it ends as soon as it knows",
			s.Name, 100*within, 1-terms.Beta),
		Load: plan.Phase{
			Count: patient * stats.DrawsToShow(shares, within, terms.Beta), Concurrency: check.TurnsInFlight,
			Requests: []plan.Request{r}, Draws: []plan.Draws{draws},
		},
	}}
}

// splitEnvelope bounds counts of a split by turns that began somewhere.
func splitEnvelope(shares []float64) stats.Envelope {
	return stats.DeadlineEnvelope(shares).Anywhere().Widen(unseen)
}

// askew are shares of which the smallest is off by as much as a run must notice.
func askew(shares []float64) []float64 {
	out := slices.Clone(shares)
	least := slices.Index(out, slices.Min(out))
	more := out[least] * within
	for i := range out {
		out[i] -= more * out[i] / (1 - shares[least])
	}
	out[least] = shares[least] + more
	return out
}

// divided is what became of a split's requests.
type divided struct {
	split     model.Split
	of        map[string]string
	index     map[string]int // of a side
	test      *stats.Draws
	counts    []int
	wrong     check.Examples // on another side than their key's hash says
	strangers check.Examples
	unknown   bool // the key of a request is not known
}

func judgeSplit(claim plan.Claim, h history.History) check.Finding {
	s, known := h.Plan.Config.Split(claim.Subject)
	of, shares, ok := sides(h.Plan.Config, s)
	switch {
	case !known:
		return check.Finding{Cannot: "the configuration has no split " + claim.Subject}
	case !ok:
		return check.Finding{
			Broken: "its shares are no pools of their own, whose servers would tell which one a request took",
		}
	case s.Hash != nil && s.Hash.Function == "":
		return check.Finding{Broken: "lbproof does not know its hash"}
	case check.NodeDied(h) != "":
		return check.Finding{Broken: check.NodeDied(h)}
	}
	d := divided{
		split: s, of: of, index: map[string]int{}, test: stats.NewDraws(shares, within),
		counts: make([]int, len(shares)),
	}
	for i, share := range s.Shares {
		d.index[share.Pool] = i
	}
	d.follow(h, stats.SplitMap(shares))
	switch {
	case drawnAnew(s):
		return drawnFinding(h, d.test, d.counts, shares, d.strangers, 0)
	case d.unknown:
		return check.Finding{Broken: fmt.Sprintf("lbproof cannot tell the key %s of a request", s.Key())}
	case s.Hash != nil:
		n := sumOf(d.counts)
		return check.Finding{
			N: n, Need: check.SendsPerKey * 13, Counter: append(d.wrong.List(), d.strangers.List()...),
			Test:      "every key's side against the hash that is recomputed",
			Measured:  fmt.Sprintf("%s, %s on the other side", units.Plural(n, "request"), units.Number(d.wrong.Total)),
			Predicted: "each where its hash says",
			Power:     check.PowerAll(n, h),
		}
	}
	return d.byTurns(h, shares)
}

// follow counts the sides that requests took, and compares them with the hash of their keys.
func (d *divided) follow(h history.History, m stats.Map) {
	find := check.Journeys(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		answered := hit.Server != "" && !check.FaultInForce(h, hit)
		if j == nil || j.Route.Pool != d.split.Name || !answered {
			continue
		}
		if d.split.Sticky != nil && h.Plan.Phases[hit.Load].Clients.Cookies {
			continue // who comes back takes no turn
		}
		i, in := d.index[d.of[hit.Server]]
		if !in {
			d.strangers.Add("request %d was answered by %s, which is on no side of the split", hit.Seq, hit.Server)
			continue
		}
		d.test.Add(i)
		d.counts[i]++
		if d.split.Key().Empty() || drawnAnew(d.split) {
			continue
		}
		key, ok := check.KeyOf(h, d.split.Key(), hit)
		d.unknown = d.unknown || !ok
		if want := m(key); ok && want != i {
			d.wrong.Add("request %d with the key %s went to %s; its hash says %s",
				hit.Seq, check.ReadableKey(d.split.Key(), key), d.split.Shares[i].Pool, d.split.Shares[want].Pool)
		}
	}
}

// byTurns judges a split that takes turns.
func (d *divided) byTurns(h history.History, shares []float64) check.Finding {
	f := check.Finding{
		N: sumOf(d.counts), Test: "envelope of earliest deadline first, false alarm rate 0", Measured: counted(d.counts),
		Counter: d.strangers.List(),
		Power:   fmt.Sprintf("would have caught shares that are %.0f %% off with probability %g", 100*within, 1-h.Plan.Beta),
	}
	env := splitEnvelope(shares)
	f.Need = env.Need(shares, askew(shares), 1-h.Plan.Beta)
	var want []string
	for i, over := range env.Outside(d.counts, shares) {
		want = append(want, fmt.Sprintf("%.1f", float64(f.N)*shares[i]))
		if over != 0 {
			f.Counter = append(f.Counter, fmt.Sprintf("%s got %s of %s requests, %.1f beyond what turns allow",
				d.split.Shares[i].Pool, units.Number(d.counts[i]), units.Number(f.N), over))
		}
	}
	f.Predicted = strings.Join(want, " : ")
	return f
}

func sumOf(counts []int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}
