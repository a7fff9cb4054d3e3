package failover

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

// retryEvidence is the evidence of outages on a retry setting. Four laws evaluate them: which requests fail (failures),
// how often they wait for the same server (fixedWaits), how long they wait before the next one (backoff), and how many
// attempts they make while all servers are down (countExhausted).
type retryEvidence struct {
	retry    *model.Retry
	pools    []string
	failures failures
	alpha    float64 // of each end of the Poisson law, and of the waits

	wrong      check.Examples // waits and attempts that differ from the configuration
	maxWaits   int            // requests with the maximum number of waits
	exhausted  int            // requests that found all servers down
	waits      []string       // how long requests waited for a retry
	whyNoWaits string         // why that is unknown
}

// judgeRetries judges a claim by outages.
func judgeRetries(claim plan.Claim, h history.History) check.Finding {
	cfg := h.Plan.Config
	g, ok := retryGroup(cfg, claim)
	if !ok {
		return check.Finding{Untestable: "claim not found in the configuration"}
	}
	if !slices.ContainsFunc(poolsOf(g.Routes), func(name string) bool { return isPoolOrSplit(cfg, name) }) {
		return check.Finding{Untestable: "something that lbproof cannot read selects the servers"}
	}
	s := newRetryEvidence(h, g)
	for _, name := range s.pools {
		if pool, ok := cfg.Pool(name); ok {
			s.addPool(h, pool)
		}
	}
	return s.finding(h)
}

func newRetryEvidence(h history.History, g check.Group[*model.Retry]) *retryEvidence {
	s := &retryEvidence{retry: g.What, pools: poolsOf(g.Routes), failures: newFailures(h, g), alpha: h.Plan.Alpha / 2}
	if _, waiting := newBackoff(g.What); waiting {
		s.alpha = h.Plan.Alpha / 3
	}
	return s
}

// addPool adds the evidence of the outages of a pool's servers.
func (s *retryEvidence) addPool(h history.History, pool model.Pool) {
	outages := outage.FindPartial(h, pool, outage.RefusingFaults...)
	s.addFixedWaits(outages, h, pool)
	s.addBackoff(outages, h, pool)
	if n, wrong := countExhausted(h, s.retry, pool, s.failures.find); n >= minAttempts {
		s.exhausted += n
		s.addMismatch(pool, wrong)
	}
	if len(check.Rotation(pool)) < 2 { // there is no other server
		return
	}
	allDown := append(allDownWindows(h, pool), severalDownWindows(h, pool)...)
	for _, e := range outages {
		s.failures.addOutage(e, h, pool, allDown)
	}
	for _, e := range outage.FindPartial(h, pool, outage.HangingFaults...) {
		s.failures.addHanging(e, h, pool, allDown)
	}
}

func (s *retryEvidence) addFixedWaits(outages []*outage.Outage, h history.History, pool model.Pool) {
	w, waiting := newFixedWaits(s.retry, pool)
	if !waiting {
		return
	}
	for _, e := range outages {
		w.addOutage(e, h, pool, s.failures.find)
	}
	s.maxWaits += w.byCount[w.maxWaits]
	s.addMismatch(pool, w.mismatch())
}

func (s *retryEvidence) addBackoff(outages []*outage.Outage, h history.History, pool model.Pool) {
	b, waiting := newBackoff(s.retry)
	if !waiting || len(outages) == 0 {
		return
	}
	b.addOutages(outages, h, pool, s.failures.find)
	wrong := b.mismatch(s.alpha / float64(len(s.pools)))
	switch s.whyNoWaits = b.whyInconclusive(); {
	case wrong != "":
		s.addMismatch(pool, wrong)
	case s.whyNoWaits == "":
		s.waits = append(s.waits, b.String())
	}
}

// addMismatch records a counter-example of a pool's waits or attempts; "" is none.
func (s *retryEvidence) addMismatch(pool model.Pool, wrong string) {
	if wrong != "" {
		s.wrong.Add("%s: %s", pool.Name, wrong)
	}
}

// finding summarizes all outages.
func (s *retryEvidence) finding(h history.History) check.Finding {
	l := &s.failures
	if l.outages == 0 && s.exhausted > 0 && check.WhyNodeExited(h) == "" {
		return s.exhaustedFinding()
	}
	f := s.failuresFinding(h)
	s.addWaits(&f)
	if f.Inconclusive == "" {
		f.CounterExamples = append(l.wrong.List(), s.wrong.List()...)
	}
	elsewhere := retriesElsewhere(s.retry)
	if l.requests > 0 && !elsewhere {
		s.compare(&f)
		return f
	}
	f.Predicted, f.Power = "0 failed", check.RequestPower(f.N, h)
	if elsewhere && f.Inconclusive == "" {
		f.CounterExamples = append(f.CounterExamples, l.examples.List()...)
	}
	return f
}

// exhaustedFinding summarizes the attempts if there were only outages of all servers.
func (s *retryEvidence) exhaustedFinding() check.Finding {
	return check.Finding{
		N: s.exhausted, Need: minAttempts, CounterExamples: s.wrong.List(),
		Test:      "attempts per request while all servers are down",
		Predicted: fmt.Sprintf("%s per request", units.Plural(s.retry.Attempts, "attempt")),
		Measured:  fmt.Sprintf("%s found all servers down", units.Plural(s.exhausted, "request")),
	}
}

// failuresFinding summarizes the failed requests.
func (s *retryEvidence) failuresFinding(h history.History) check.Finding {
	l := &s.failures
	failed, sent := l.failed+l.timedOut.failed()+l.wrong.Total, l.requests+l.hanging
	f := check.Finding{
		N: sent, Need: check.RequestsNeeded(h), Inconclusive: whyNoOutage(h, l.outages),
		Test: "number of failed requests that were sent during outages",
		Measured: fmt.Sprintf("%s of %s failed in %s",
			units.Number(failed), units.Number(sent), units.Plural(l.outages, "outage")),
	}
	switch {
	case l.hanging > 0:
		f.Note = fmt.Sprintf("failed at the timeout of a hanging server: %s", l.timedOut)
	case len(l.inFlight) > 0:
		f.Note = fmt.Sprintf("failed in flight when the outage began (not counted): %s", l.inFlight)
	}
	return f
}

// addWaits adds the evidence of waits, and of attempts while all servers were down.
func (s *retryEvidence) addWaits(f *check.Finding) {
	if len(s.waits) > 0 {
		f.Note = appendNote(f.Note, strings.Join(s.waits, "; "))
	}
	if len(s.waits)+s.wrong.Total == 0 && f.Inconclusive == "" {
		f.Inconclusive = s.whyNoWaits
	}
	if s.exhausted > 0 {
		f.Note = appendNote(f.Note, fmt.Sprintf("attempts counted for %s that found all servers down",
			units.Plural(s.exhausted, "request")))
	}
	if s.failures.outages == 0 && s.maxWaits > 0 { // for a pool's only server
		f.N, f.Need, f.Inconclusive = s.maxWaits, check.Repetitions, ""
		f.Test = "how long requests waited for a server that was down"
		f.Measured = fmt.Sprintf("%s waited", units.Plural(s.maxWaits, "request"))
	}
}

// compare compares the failed requests with those due to servers until their outage was detected.
func (s *retryEvidence) compare(f *check.Finding) {
	l := &s.failures
	least, most := stats.PoissonLower(l.minFailed, s.alpha), stats.PoissonUpper(l.maxFailed, s.alpha)
	f.Predicted = fmt.Sprintf("%s failed", formatCounts(least, most))
	switch {
	case f.Inconclusive != "":
	case l.minFailed == 0 && l.maxFailed == 0:
		f.Inconclusive = check.NoExperiment + ": it is unknown how long a server that is down gets requests"
	case l.failed < least || l.failed > most:
		f.CounterExamples = append(f.CounterExamples, fmt.Sprintf(
			"%s failed; the servers' share of the requests until detection is %s",
			units.Plural(l.failed, "request"), formatCounts(least, most)))
	}
}

// appendNote appends to a note.
func appendNote(note, more string) string { return strings.TrimPrefix(note+"; "+more, "; ") }

// judgeRetriesAndProbes combines the evidence of outages and probes.
func judgeRetriesAndProbes(claim plan.Claim, h history.History) check.Finding {
	f := judgeRetries(claim, h)
	q := check.JudgeProbes(retryProbes, claim, h)
	if f.Untestable != "" || q.Untestable != "" || q.Need == 0 {
		return f
	}
	if len(q.CounterExamples) > 0 {
		f.CounterExamples = append(f.CounterExamples, q.CounterExamples...)
	}
	if q.N > 0 {
		f.Note = appendNote(f.Note, "error responses: "+q.Measured)
	}
	return f
}
