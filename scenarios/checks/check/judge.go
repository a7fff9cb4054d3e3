package check

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
)

// JudgeProbes holds every answer against what is to come of its question.
func JudgeProbes(ask probeFunc, claim plan.Claim, h history.History) Finding {
	asked, cannot := ask(h.Plan.Config, claim)
	f := Finding{Untestable: cannot, Test: fmt.Sprintf("every question asked %d times, answers against what the configuration says", Repetitions)}
	if cannot != "" {
		return f
	}
	if len(asked) == 0 {
		f.Inconclusive = NoExperiment + ": lbproof knows no single request that shows it"
		open := h.Plan.Config
		open.Routes = AssumeCredentials(open.Routes)
		if with, _ := ask(open, claim); len(with) > 0 {
			f.Inconclusive = CredentialsHint
		}
		return f
	}
	answers, wrong := compareResponses(asked, h)
	f.Need = Repetitions * len(asked)
	var without []string
	for i, n := range answers {
		if f.N += min(n, Repetitions); n < Repetitions {
			without = append(without, asked[i].Case)
		}
	}
	f.Predicted = fmt.Sprintf("%s answered as configured", units.Plural(len(asked), "question"))
	f.Measured = fmt.Sprintf("%s of %s otherwise", units.Number(wrong.Total), units.Number(f.N))
	f.Power = fmt.Sprintf("would have caught every balancer that answers one of %s otherwise",
		units.Plural(len(asked), "question"))
	if len(without) > 0 && len(without) < len(asked) {
		f.Note = "not enough answers that say something: " + strings.Join(slices.Compact(without), "; ")
	}
	if f.Inconclusive = WhyNodeExited(h); f.Inconclusive == "" {
		f.Inconclusive = WhyLedgerIncomplete(h)
		f.CounterExamples = wrong.List()
	}
	return f
}

// compareResponses holds all answers against their questions: how many there are of each, and which are otherwise.
func compareResponses(asked []Probe, h history.History) (answers []int, wrong Examples) {
	by := map[string]int{}
	for i, q := range asked {
		by[requestKey(WithHeader(q.Request, h.Plan.ProbeHeader))] = i
	}
	find, seen := RouteFinder(h), map[uint64][]history.Arrival{}
	mine := func(seq uint64) (q int, ok bool) {
		j := find(seq)
		if j == nil || h.Plan.Phases[j.Phase].Engine != plan.Prober {
			return 0, false
		}
		q, ok = by[requestKey(j.Request)]
		return q, ok
	}
	for a := range h.Arrivals {
		if _, ok := mine(a.Seq); ok {
			seen[a.Seq] = append(seen[a.Seq], a)
		}
	}
	answers = make([]int, len(asked))
	for hit := range h.Hits {
		i, ok := mine(hit.Seq)
		if !ok || hit.Err == history.Tester || !asked[i].Want.isConclusive(hit) {
			continue
		}
		answers[i]++
		if what := asked[i].Want.Mismatch(h, hit, seen[hit.Seq]); what != "" {
			wrong.Add("request %d (%s, %s): %s", hit.Seq, RequestText(asked[i].Request), asked[i].Case, what)
		}
	}
	return answers, wrong
}

// requestKey is a request as a key of maps.
func requestKey(r plan.Request) string {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Sprint(r)
	}
	return string(text)
}

// RequestText is a request in a sentence.
func RequestText(r plan.Request) string {
	host := r.Header["Host"]
	if host == "" {
		host = fmt.Sprintf("port %d", r.Port)
	}
	return fmt.Sprintf("%s %s at %s", r.Method, r.Path, host)
}
