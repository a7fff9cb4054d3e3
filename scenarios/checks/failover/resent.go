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

// resent is what outages have shown of a promise on repetition. Four laws look at them: which requests fail (losses),
// how often they wait for a server that they stay with (waited), how long they wait before the next one (backoff), and
// how many attempts they make while all servers are dead (inVain).
type resent struct {
	what   *model.Retry
	pools  []string
	losses losses
	alpha  float64 // of each end of the Poisson law, and of the waits

	wrong  check.Examples // waits and attempts that are not as configured
	waited int            // requests that waited as often as they may
	vain   int            // requests that found all servers dead
	apart  []string       // how long requests waited until they were tried again
	unseen string         // why that cannot be said
}

// judgeRetries judges by outages.
func judgeRetries(claim plan.Claim, h history.History) check.Finding {
	cfg := h.Plan.Config
	g, ok := retryGroup(cfg, claim)
	if !ok {
		return check.Finding{Cannot: "the configuration has no such promise"}
	}
	if !slices.ContainsFunc(poolsOf(g.Routes), func(name string) bool { return isPool(cfg, name) }) {
		return check.Finding{Cannot: "which servers it asks is decided by something that lbproof cannot read"}
	}
	s := newResent(h, g)
	for _, name := range s.pools {
		if pool, ok := cfg.Pool(name); ok {
			s.see(h, pool)
		}
	}
	return s.finding(h)
}

func newResent(h history.History, g check.Group[*model.Retry]) *resent {
	s := &resent{what: g.What, pools: poolsOf(g.Routes), losses: lossesOf(h, g), alpha: h.Plan.Alpha / 2}
	if _, waiting := backoffOf(g.What); waiting {
		s.alpha = h.Plan.Alpha / 3
	}
	return s
}

// see enters what the outages of a pool's servers show.
func (s *resent) see(h history.History, pool model.Pool) {
	dead := outage.Episodes(h, pool, outage.Refusing...)
	s.seeWaits(dead, h, pool)
	s.seeBackoff(dead, h, pool)
	if n, wrong := inVain(h, s.what, pool, s.losses.find); n >= manyMet {
		s.vain += n
		s.refuted(pool, wrong)
	}
	if len(check.Rotation(pool)) < 2 { // there is nobody else to send them to
		return
	}
	gone := append(allGone(h, pool), severalGone(h, pool)...)
	for _, e := range dead {
		s.losses.see(e, h, pool, gone)
	}
	for _, e := range outage.Episodes(h, pool, outage.Hanging...) {
		s.losses.seeHung(e, h, pool, gone)
	}
}

func (s *resent) seeWaits(dead []*outage.Episode, h history.History, pool model.Pool) {
	w, waiting := waitsOf(s.what, pool)
	if !waiting {
		return
	}
	for _, e := range dead {
		w.see(e, h, pool, s.losses.find)
	}
	s.waited += w.times[w.most]
	s.refuted(pool, w.wrong())
}

func (s *resent) seeBackoff(dead []*outage.Episode, h history.History, pool model.Pool) {
	b, waiting := backoffOf(s.what)
	if !waiting || len(dead) == 0 {
		return
	}
	b.see(dead, h, pool, s.losses.find)
	wrong := b.wrong(s.alpha / float64(len(s.pools)))
	switch s.unseen = b.unseen(); {
	case wrong != "":
		s.refuted(pool, wrong)
	case s.unseen == "":
		s.apart = append(s.apart, b.String())
	}
}

// refuted enters what is wrong with a pool's waits or attempts; nothing where it is empty.
func (s *resent) refuted(pool model.Pool, wrong string) {
	if wrong != "" {
		s.wrong.Add("%s: %s", pool.Name, wrong)
	}
}

// finding is what all outages together say.
func (s *resent) finding(h history.History) check.Finding {
	l := &s.losses
	if l.deaths == 0 && s.vain > 0 && check.NodeDied(h) == "" {
		return s.foundInVain()
	}
	f := s.foundLosses(h)
	s.addWaits(&f)
	if f.Broken == "" {
		f.Counter = append(l.wrong.List(), s.wrong.List()...)
	}
	another := elsewhere(s.what)
	if l.asked > 0 && !another {
		s.compare(&f)
		return f
	}
	f.Predicted, f.Power = "0 failed", check.PowerAll(f.N, h)
	if another && f.Broken == "" {
		f.Counter = append(f.Counter, l.first.List()...)
	}
	return f
}

// foundInVain is what attempts show where no server died while others were there.
func (s *resent) foundInVain() check.Finding {
	return check.Finding{
		N: s.vain, Need: manyMet, Counter: s.wrong.List(),
		Test:      "attempts at servers that are all dead",
		Predicted: fmt.Sprintf("%s for each request", units.Plural(s.what.Attempts, "attempt")),
		Measured:  fmt.Sprintf("%s found all servers dead", units.Plural(s.vain, "request")),
	}
}

// foundLosses is how many requests failed.
func (s *resent) foundLosses(h history.History) check.Finding {
	l := &s.losses
	failed, asked := l.failed+l.late.failed()+l.wrong.Total, l.asked+l.hung
	f := check.Finding{
		N: asked, Need: check.NeedAll(h), Broken: noDeaths(h, l.deaths),
		Test: "count of failed requests that were sent while a server was dead",
		Measured: fmt.Sprintf("%s of %s failed in %s",
			units.Number(failed), units.Number(asked), units.Plural(l.deaths, "death")),
	}
	switch {
	case l.hung > 0:
		f.Note = fmt.Sprintf("sent while a server hung, and failed when they had waited for their timeout: %s", l.late)
	case len(l.under) > 0:
		f.Note = fmt.Sprintf("under way when it died, and failed, which is not held against it: %s", l.under)
	}
	return f
}

// addWaits adds what waits and attempts in vain show.
func (s *resent) addWaits(f *check.Finding) {
	if len(s.apart) > 0 {
		f.Note = joined(f.Note, strings.Join(s.apart, "; "))
	}
	if len(s.apart)+s.wrong.Total == 0 && f.Broken == "" {
		f.Broken = s.unseen
	}
	if s.vain > 0 {
		f.Note = joined(f.Note, fmt.Sprintf("attempts for %s counted that found all servers dead",
			units.Plural(s.vain, "request")))
	}
	if s.losses.deaths == 0 && s.waited > 0 { // for a server that nobody stands in for
		f.N, f.Need, f.Broken = s.waited, check.Often, ""
		f.Test = "how long requests waited for a dead server"
		f.Measured = fmt.Sprintf("%s did", units.Plural(s.waited, "request"))
	}
}

// compare compares how many requests failed with how many were meant for dead servers until those were known to be
// dead.
func (s *resent) compare(f *check.Finding) {
	l := &s.losses
	least, most := stats.PoissonLeast(l.least, s.alpha), stats.PoissonMost(l.most, s.alpha)
	f.Predicted = fmt.Sprintf("%s to %s failed", units.Number(least), units.Number(most))
	switch {
	case f.Broken != "":
	case l.least == 0 && l.most == 0:
		f.Broken = check.NoExperiment + ": nothing says how long the dead server goes on being asked"
	case l.failed < least || l.failed > most:
		f.Counter = append(f.Counter, fmt.Sprintf(
			"%s failed, where the servers' share of the requests until they are known to be dead makes %s to %s",
			units.Plural(l.failed, "request"), units.Number(least), units.Number(most)))
	}
}

// joined is a note with more to say.
func joined(note, more string) string { return strings.TrimPrefix(note+"; "+more, "; ") }

// judgeRetried joins what deaths and single answers say.
func judgeRetried(claim plan.Claim, h history.History) check.Finding {
	f := judgeRetries(claim, h)
	q := check.JudgeQuestions(retryQuestions, claim, h)
	if f.Cannot != "" || q.Cannot != "" || q.Need == 0 {
		return f
	}
	if len(q.Counter) > 0 {
		f.Counter = append(f.Counter, q.Counter...)
	}
	if q.N > 0 {
		otherwise := strings.Fields(q.Measured)[0]
		f.Note = joined(f.Note, fmt.Sprintf("answers with errors: %s of %s tried otherwise",
			otherwise, units.Number(q.N)))
	}
	return f
}
