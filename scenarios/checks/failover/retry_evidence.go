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

// retryEvidence is what outages have shown of a promise on repetition. Four laws look at them: which requests fail (losses),
// how often they wait for a server that they stay with (waited), how long they wait before the next one (backoff), and
// how many attempts they make while all servers are dead (inVain).
type retryEvidence struct {
	retry    *model.Retry
	pools    []string
	failures failures
	alpha    float64 // of each end of the Poisson law, and of the waits

	wrong      check.Examples // waits and attempts that are not as configured
	maxWaits   int            // requests that waited as often as they may
	exhausted  int            // requests that found all servers dead
	waits      []string       // how long requests waited until they were tried again
	whyNoWaits string         // why that cannot be said
}

// judgeRetries judges by outages.
func judgeRetries(claim plan.Claim, h history.History) check.Finding {
	cfg := h.Plan.Config
	g, ok := retryGroup(cfg, claim)
	if !ok {
		return check.Finding{Untestable: "the configuration has no such promise"}
	}
	if !slices.ContainsFunc(poolsOf(g.Routes), func(name string) bool { return isPoolOrSplit(cfg, name) }) {
		return check.Finding{Untestable: "which servers it asks is decided by something that lbproof cannot read"}
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

// addPool enters what the outages of a pool's servers show.
func (s *retryEvidence) addPool(h history.History, pool model.Pool) {
	dead := outage.FindPartial(h, pool, outage.RefusingFaults...)
	s.addFixedWaits(dead, h, pool)
	s.addBackoff(dead, h, pool)
	if n, wrong := countExhausted(h, s.retry, pool, s.failures.find); n >= minAttempts {
		s.exhausted += n
		s.addMismatch(pool, wrong)
	}
	if len(check.Rotation(pool)) < 2 { // there is nobody else to send them to
		return
	}
	gone := append(allDownWindows(h, pool), severalDownWindows(h, pool)...)
	for _, e := range dead {
		s.failures.addOutage(e, h, pool, gone)
	}
	for _, e := range outage.FindPartial(h, pool, outage.HangingFaults...) {
		s.failures.addHanging(e, h, pool, gone)
	}
}

func (s *retryEvidence) addFixedWaits(dead []*outage.Outage, h history.History, pool model.Pool) {
	w, waiting := newFixedWaits(s.retry, pool)
	if !waiting {
		return
	}
	for _, e := range dead {
		w.addOutage(e, h, pool, s.failures.find)
	}
	s.maxWaits += w.byCount[w.maxWaits]
	s.addMismatch(pool, w.mismatch())
}

func (s *retryEvidence) addBackoff(dead []*outage.Outage, h history.History, pool model.Pool) {
	b, waiting := newBackoff(s.retry)
	if !waiting || len(dead) == 0 {
		return
	}
	b.addOutages(dead, h, pool, s.failures.find)
	wrong := b.mismatch(s.alpha / float64(len(s.pools)))
	switch s.whyNoWaits = b.whyInconclusive(); {
	case wrong != "":
		s.addMismatch(pool, wrong)
	case s.whyNoWaits == "":
		s.waits = append(s.waits, b.String())
	}
}

// addMismatch enters what is wrong with a pool's waits or attempts; nothing where it is empty.
func (s *retryEvidence) addMismatch(pool model.Pool, wrong string) {
	if wrong != "" {
		s.wrong.Add("%s: %s", pool.Name, wrong)
	}
}

// finding is what all outages together say.
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
	another := retriesElsewhere(s.retry)
	if l.requests > 0 && !another {
		s.compare(&f)
		return f
	}
	f.Predicted, f.Power = "0 failed", check.RequestPower(f.N, h)
	if another && f.Inconclusive == "" {
		f.CounterExamples = append(f.CounterExamples, l.examples.List()...)
	}
	return f
}

// exhaustedFinding is what attempts show where no server died while others were there.
func (s *retryEvidence) exhaustedFinding() check.Finding {
	return check.Finding{
		N: s.exhausted, Need: minAttempts, CounterExamples: s.wrong.List(),
		Test:      "attempts at servers that are all dead",
		Predicted: fmt.Sprintf("%s for each request", units.Plural(s.retry.Attempts, "attempt")),
		Measured:  fmt.Sprintf("%s found all servers dead", units.Plural(s.exhausted, "request")),
	}
}

// failuresFinding is how many requests failed.
func (s *retryEvidence) failuresFinding(h history.History) check.Finding {
	l := &s.failures
	failed, asked := l.failed+l.timedOut.failed()+l.wrong.Total, l.requests+l.hanging
	f := check.Finding{
		N: asked, Need: check.RequestsNeeded(h), Inconclusive: whyNoOutage(h, l.outages),
		Test: "count of failed requests that were sent while a server was dead",
		Measured: fmt.Sprintf("%s of %s failed in %s",
			units.Number(failed), units.Number(asked), units.Plural(l.outages, "death")),
	}
	switch {
	case l.hanging > 0:
		f.Note = fmt.Sprintf("sent while a server hung, and failed when they had waited for their timeout: %s", l.timedOut)
	case len(l.inFlight) > 0:
		f.Note = fmt.Sprintf("under way when it died, and failed, which is not held against it: %s", l.inFlight)
	}
	return f
}

// addWaits adds what waits and attempts in vain show.
func (s *retryEvidence) addWaits(f *check.Finding) {
	if len(s.waits) > 0 {
		f.Note = appendNote(f.Note, strings.Join(s.waits, "; "))
	}
	if len(s.waits)+s.wrong.Total == 0 && f.Inconclusive == "" {
		f.Inconclusive = s.whyNoWaits
	}
	if s.exhausted > 0 {
		f.Note = appendNote(f.Note, fmt.Sprintf("attempts for %s counted that found all servers dead",
			units.Plural(s.exhausted, "request")))
	}
	if s.failures.outages == 0 && s.maxWaits > 0 { // for a server that nobody stands in for
		f.N, f.Need, f.Inconclusive = s.maxWaits, check.Repetitions, ""
		f.Test = "how long requests waited for a dead server"
		f.Measured = fmt.Sprintf("%s did", units.Plural(s.maxWaits, "request"))
	}
}

// compare compares how many requests failed with how many were meant for dead servers until those were known to be
// dead.
func (s *retryEvidence) compare(f *check.Finding) {
	l := &s.failures
	least, most := stats.PoissonLower(l.minFailed, s.alpha), stats.PoissonUpper(l.maxFailed, s.alpha)
	f.Predicted = fmt.Sprintf("%s to %s failed", units.Number(least), units.Number(most))
	switch {
	case f.Inconclusive != "":
	case l.minFailed == 0 && l.maxFailed == 0:
		f.Inconclusive = check.NoExperiment + ": nothing says how long the dead server goes on being asked"
	case l.failed < least || l.failed > most:
		f.CounterExamples = append(f.CounterExamples, fmt.Sprintf(
			"%s failed, where the servers' share of the requests until they are known to be dead makes %s to %s",
			units.Plural(l.failed, "request"), units.Number(least), units.Number(most)))
	}
}

// appendNote is a note with more to say.
func appendNote(note, more string) string { return strings.TrimPrefix(note+"; "+more, "; ") }

// judgeRetriesAndProbes joins what deaths and single answers say.
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
		otherwise := strings.Fields(q.Measured)[0]
		f.Note = appendNote(f.Note, fmt.Sprintf("answers with errors: %s of %s tried otherwise",
			otherwise, units.Number(q.N)))
	}
	return f
}
