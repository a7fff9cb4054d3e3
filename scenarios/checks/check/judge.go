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

// JudgeProbes compares every response with the expected response of its probe.
func JudgeProbes(probesOf probeFunc, claim plan.Claim, h history.History) Finding {
	probes, untestable := probesOf(h.Plan.Config, claim)
	f := Finding{
		Untestable: untestable,
		Test:       fmt.Sprintf("each probe sent %d times, responses compared with the configuration", Repetitions),
	}
	if untestable != "" {
		return f
	}
	if len(probes) == 0 {
		f.Inconclusive = NoExperiment + ": no probe shows it"
		open := h.Plan.Config
		open.Routes = AssumeCredentials(open.Routes)
		if with, _ := probesOf(open, claim); len(with) > 0 {
			f.Inconclusive = CredentialsHint
		}
		return f
	}
	responses, wrong := compareResponses(probes, h)
	f.Need = Repetitions * len(probes)
	total := 0
	var missing []string
	for i, n := range responses {
		total += n
		if f.N += min(n, Repetitions); n < Repetitions {
			missing = append(missing, probes[i].Case)
		}
	}
	f.Predicted = fmt.Sprintf("all responses to %s as configured", units.Plural(len(probes), "probe"))
	f.Measured = describeResponses(total, wrong.Total)
	f.Power = fmt.Sprintf("detects any other response to one of %s", units.Plural(len(probes), "probe"))
	if len(missing) > 0 && len(missing) < len(probes) {
		f.Note = "too few conclusive responses: " + strings.Join(slices.Compact(missing), "; ")
	}
	if f.Inconclusive = WhyNodeExited(h); f.Inconclusive == "" {
		f.Inconclusive = WhyLedgerIncomplete(h)
		f.CounterExamples = wrong.List()
	}
	return f
}

// describeResponses formats how many responses are as configured, or how many are not.
func describeResponses(total, wrong int) string {
	if wrong > 0 {
		return fmt.Sprintf("%s of %s not as configured", units.Number(wrong), units.Number(total))
	}
	return fmt.Sprintf("%s of %s as configured", units.Number(total), units.Number(total))
}

// compareResponses counts the conclusive responses to each probe and collects those that are not as expected.
func compareResponses(probes []Probe, h history.History) (responses []int, wrong Examples) {
	indices := map[string]int{}
	for i, p := range probes {
		indices[requestKey(WithHeader(p.Request, h.Plan.ProbeHeader))] = i
	}
	find, arrivals := RouteFinder(h), map[uint64][]history.Arrival{}
	findProbe := func(seq uint64) (i int, ok bool) {
		j := find(seq)
		if j == nil || h.Plan.Phases[j.Phase].Engine != plan.Prober {
			return 0, false
		}
		i, ok = indices[requestKey(j.Request)]
		return i, ok
	}
	for a := range h.Arrivals {
		if _, ok := findProbe(a.Seq); ok {
			arrivals[a.Seq] = append(arrivals[a.Seq], a)
		}
	}
	responses = make([]int, len(probes))
	for hit := range h.Hits {
		i, ok := findProbe(hit.Seq)
		if !ok || hit.Err == history.Tester || !probes[i].Want.isConclusive(hit) {
			continue
		}
		responses[i]++
		if mismatch := probes[i].Want.Mismatch(h, hit, arrivals[hit.Seq]); mismatch != "" {
			wrong.Add("request %d (%s, %s): %s", hit.Seq, RequestText(probes[i].Request), probes[i].Case, mismatch)
		}
	}
	return responses, wrong
}

// requestKey encodes a request as a map key.
func requestKey(r plan.Request) string {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Sprint(r)
	}
	return string(text)
}

// RequestText formats a request for a sentence, such as "GET /api at example.com".
func RequestText(r plan.Request) string {
	host := r.Header["Host"]
	if host == "" {
		host = fmt.Sprintf("port %d", r.Port)
	}
	return fmt.Sprintf("%s %s at %s", r.Method, r.Path, host)
}
