package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

var Active = check.Check{
	Name: plan.CheckActive,
	Doc:  "Health checks take a dead server out and a healthy one back in.",
	Law: "down between (fall-1)*fastinter and that plus inter, plus fall timeouts where it hangs; up between " +
		"(rise-1)*fastinter and that plus downinter; the phase is uniform, so the time is an interval and no number; " +
		"HAProxy's checks are counted while nobody asks anything",
	Claims:       activeClaims,
	Requirements: activeRequirements,
	Judge:        judgeActive,
}

func activeClaims(cfg model.Config) []plan.Claim {
	return check.EachPool(cfg, func(p model.Pool) []plan.Claim {
		var claims []plan.Claim
		var servers [][]model.Server
		at := map[string]int{}
		for _, s := range p.Servers {
			if s.HealthCheck == nil {
				continue
			}
			a := *s.HealthCheck
			a.Pos, a.CheckedBefore = model.Pos{}, 0
			i, same := at[fmt.Sprint(a)] // one promise for all servers that say the same
			if !same {
				i = len(claims)
				at[fmt.Sprint(a)] = i
				claims, servers = append(claims, activeClaim(p, s)), append(servers, nil)
			}
			servers[i] = append(servers[i], s)
			each := activeClaim(p, s) // the last one waits longest where they are checked in turn
			claims[i].Params, claims[i].Text = each.Params, activeText(subjectOf(p, servers[i]), *s.HealthCheck)
		}
		return claims
	})
}

func activeClaim(p model.Pool, s model.Server) plan.Claim {
	soonest, refused, hanging := s.HealthCheck.DetectionTime()
	upSoonest, upLatest := s.HealthCheck.RecoveryTime()
	seconds := func(d time.Duration) plan.Amount { return plan.Amount(units.Seconds(d)) }
	c := plan.Claim{
		ID:    check.ClaimID(plan.CheckActive, p.Name, check.ServerName(s)),
		Check: plan.CheckActive, Subject: p.Name, Detail: check.ServerName(s), Pos: s.HealthCheck.Pos,
		Text: activeText(check.ServerName(s), *s.HealthCheck),
		Params: plan.Params{
			plan.ParamDetectMin: seconds(soonest), plan.ParamDetectMax: seconds(refused), plan.ParamDetectHangMax: seconds(hanging),
			plan.ParamRejoinMin: seconds(upSoonest), plan.ParamRejoinMax: seconds(upLatest),
		},
	}
	if len(s.HealthCheck.Implicit) > 0 {
		c.Assumptions = []string{fmt.Sprintf("the defaults of %s, which nobody wrote: one check in %s, %d failed take "+
			"it out, %d passed bring it back",
			strings.Join(s.HealthCheck.Implicit, ", "), units.Duration(s.HealthCheck.Interval), s.HealthCheck.Fall, s.HealthCheck.Rise)}
	}
	if s.HealthCheck.Expect.Accepts(302) {
		c.Assumptions = append(c.Assumptions, "a redirect, as to a login page, passes for health")
	}
	return c
}

func activeText(who string, a model.HealthCheck) string {
	soonest, refused, hanging := a.DetectionTime()
	upSoonest, upLatest := a.RecoveryTime()
	asks := a.Request.String()
	if expected := a.Expect.String(); expected != "" {
		asks += ", " + expected + " expected"
	}
	checks := fmt.Sprintf("%d failed checks in a row", a.Fall)
	if a.Fall == 1 {
		checks = "one failed check is enough"
	}
	out := fmt.Sprintf("out %s to %s after it dies, at most %s where it hangs (%s)",
		units.Duration(soonest), units.Duration(refused), units.Duration(hanging), checks)
	back := fmt.Sprintf("back %s to %s after it recovers", units.Duration(upSoonest), units.Duration(upLatest))
	return fmt.Sprintf("%s is checked every %s (%s): %s; %s.", who, units.Duration(a.Interval), asks, out, back)
}

// detection is what the deaths of servers have shown of an interval.
type detection struct {
	retryWait          time.Duration   // after a server is known to be dead, a request that had met it may try it once more
	downTimes, upTimes []time.Duration // seconds from death to the last request, and from recovery to the first
	wrong              check.Examples
	outages            int // deaths that were long enough to show it
	tooShort           int // sicknesses too short to be noticed
	passing            int // answers to health checks that were expected, though they tell of no health
}

func judgeActive(claim plan.Claim, h history.History) check.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	first := slices.IndexFunc(pool.Servers, func(s model.Server) bool {
		return check.ClaimID(plan.CheckActive, pool.Name, check.ServerName(s)) == claim.ID
	})
	if !ok || first < 0 {
		return check.Finding{Untestable: "the configuration has no such server"}
	}
	checks := *pool.Servers[first].HealthCheck
	d := detection{retryWait: sameServerRetryWait(h.Plan.Config, pool)}
	for _, e := range outage.FindPartial(h, pool, slices.Concat(outage.RefusingFaults, outage.HangingFaults, outage.CheckOnlyFaults)...) {
		if a := e.Server.HealthCheck; a != nil && a.Equivalent(checks) {
			d.addOutage(e)
		}
	}
	if n := countUnknownRequests(h, pool); n >= check.Repetitions {
		d.wrong.Add("the servers were asked %s by nobody but the balancer itself, for something else than %s",
			units.Plural(n, "time"), checks.Request)
	}
	pace := d.countChecks(h, pool, checks)
	f := d.finding(claim, h, pace)
	if f.Inconclusive = whyNoOutage(h, d.outages); d.outages == 0 && isLeftOut(h.Plan, pool) {
		f.Inconclusive += "; --checks active takes the time"
	}
	switch {
	case f.Inconclusive != "":
	case pace.isConclusive():
		f.Power = "would have caught any other number of checks, and one more or fewer that it takes"
	default:
		f.Power = fmt.Sprintf("would have caught intervals %.1f times as wide with probability %g",
			detectableWidth(d.outages, h.Plan.Beta), 1-h.Plan.Beta)
	}
	return f
}

// countChecks counts the health checks of all servers of a pool that are checked alike.
func (d *detection) countChecks(h history.History, pool model.Pool, checks model.HealthCheck) (all checkCounts) {
	for _, s := range pool.Servers {
		if s.HealthCheck == nil || !s.HealthCheck.Equivalent(checks) {
			continue
		}
		one := countHealthChecks(h, s)
		if one.isWrong() {
			d.wrong.Add("%s got %s", check.ServerName(s), one)
		}
		all = checkCounts{all.counted + one.counted, all.min + one.min, all.max + one.max}
	}
	return all
}

// finding is what deaths and the pace of checks say, but for what is missing.
func (d *detection) finding(claim plan.Claim, h history.History, pace checkCounts) check.Finding {
	p := claim.Params
	f := check.Finding{
		N: d.outages, Need: outagesNeeded(h.Plan.Beta), CounterExamples: d.wrong.List(),
		Test: "times from each death to the last request for the dead server, and from its recovery to the " +
			"first, inside the interval",
		Measured: fmt.Sprintf("out after %s, back after %s", formatRange(d.downTimes), formatRange(d.upTimes)),
		Predicted: fmt.Sprintf("out %g s to %g s, back %g s to %g s",
			p[plan.ParamDetectMin], p[plan.ParamDetectMax], p[plan.ParamRejoinMin], p[plan.ParamRejoinMax]),
	}
	if pace.isConclusive() { // the deaths show how many checks it takes
		f.Need = check.Repetitions
		f.Test += "; and how often servers were checked while they were well"
		f.Measured += "; " + pace.String()
	}
	if d.tooShort > 0 {
		f.Note = fmt.Sprintf("%s failed for too short a time to take it out", units.Number(d.tooShort)+" series of checks")
	}
	if d.passing > 0 {
		f.Note = appendNote(f.Note, fmt.Sprintf("%s series of redirects or late answers passed for health, as configured",
			units.Number(d.passing)))
	}
	return f
}

// sameServerRetryWait is how long a request to a pool waits until it is tried again, where that may be at the same server:
// HAProxy has it wait on where checks find the server dead meanwhile, and tries that once more (back.c,
// back_handle_st_cer).
func sameServerRetryWait(cfg model.Config, pool model.Pool) (wait time.Duration) {
	for _, r := range cfg.Routes {
		t := r.Retry
		if r.Pool != pool.Name || t == nil {
			continue
		}
		if t.Backoff != model.FixedBackoff || t.Attempts < 2 {
			continue
		}
		if atOnce := t.MayChangeServer() && pool.Balance.IsRoundRobin(); !atOnce {
			wait = max(wait, t.Delay)
		}
	}
	return wait
}

// countUnknownRequests is how many requests reached a pool's servers that no client sent and that are none of the health checks
// that the configuration names, which leave no trace.
func countUnknownRequests(h history.History, pool model.Pool) (n int) {
	for a := range h.Arrivals {
		if a.Seq == 0 && slices.ContainsFunc(pool.Servers, func(s model.Server) bool { return s.Host == a.Server }) {
			n++
		}
	}
	return n
}

// whyNoOutage says what is missing where no server died.
func whyNoOutage(h history.History, n int) string {
	switch {
	case n > 0 || check.WhyNodeExited(h) != "":
		return check.WhyNodeExited(h)
	case len(h.Plan.Events) == 0:
		return "no server was put out of action; --scenario failover does"
	}
	return "no server was out of action for long enough, under an open loop, to show it"
}

// isLeftOut says whether experiments let the servers of other pools die, and these not, because that would take too long
// beside all the rest.
func isLeftOut(p plan.Plan, pool model.Pool) bool {
	dies := func(e plan.Event) bool {
		mine := func(s model.Server) bool { return s.Host == e.Target }
		return e.Fault == plan.FaultKill && slices.ContainsFunc(pool.Servers, mine)
	}
	return len(p.Checks) == 0 && !slices.ContainsFunc(p.Events, dies) &&
		slices.ContainsFunc(p.Phases, func(l plan.Phase) bool { return l.Kind == plan.KindOutages && l.About == "" })
}

// addOutage judges one death by health checks.
func (d *detection) addOutage(e *outage.Outage) {
	a := *e.Server.HealthCheck
	soonest, latest, hanging := a.DetectionTime()
	delay, _ := e.Fault.Event.Settings.Delay()
	if e.Hangs || e.OnlyChecksFail && delay > a.Timeout {
		latest = hanging
	}
	near := time.Duration(10 / max(1, e.Rate) * float64(time.Second))
	apart := near <= min(a.Interval, a.FastInterval, a.DownInterval)/2 // requests and checks can be told apart
	if e.LastArrival == 0 || e.Rate == 0 || !apart {
		return
	}
	if e.OnlyChecksFail && delay < a.Timeout && a.Expect.Accepts(e.Fault.Event.Settings.Status()) {
		d.addPassing(e, delay)
		return
	}
	if out := e.LastRequest() - e.Fault.StartsBy; out > latest+d.retryWait+outage.Tolerance {
		d.wrong.Add("%s was still sent requests %.2f s after it had died at %.2f s; %.2f s is promised at most",
			e.Server.Host, out.Seconds(), e.Fault.StartsBy.Seconds(), latest.Seconds())
	}
	if e.OnlyChecksFail && e.Fault.EndsBy-e.Fault.RequestedAt < soonest-outage.Tolerance {
		d.addTooShort(e, soonest)
		return
	}
	if e.Fault.EndsAfter-e.Fault.StartsBy >= latest+d.retryWait+outage.Tolerance {
		d.addDetected(e, soonest, delay)
	}
}

// gotNoRequests reports whether a server got no request for the last part of a fault in which some must have been meant for
// it.
func gotNoRequests(e *outage.Outage) bool {
	return e.RoundRobin && e.LastArrival < e.Fault.EndsAfter-e.MaxRequestGap()-outage.Tolerance
}

// addPassing judges a time in which health checks were answered as they expect, though that tells of no health.
func (d *detection) addPassing(e *outage.Outage, delay time.Duration) {
	if d.passing++; gotNoRequests(e) {
		d.wrong.Add("%s was sent no request after %.2f s, though its health checks were answered %s after %s, which "+
			"is expected within %s",
			e.Server.Host, e.LastArrival.Seconds(), e.Fault.Event.Settings[plan.SettingStatus],
			units.Duration(delay), units.Duration(e.Server.HealthCheck.Timeout))
	}
}

// addTooShort judges a sickness so short that it must not be noticed.
func (d *detection) addTooShort(e *outage.Outage, soonest time.Duration) {
	if d.tooShort++; gotNoRequests(e) {
		d.wrong.Add("%s was sent no request after %.2f s, though its health checks failed for %.2f s only; %.2f s "+
			"is promised at least",
			e.Server.Host, e.LastArrival.Seconds(), (e.Fault.EndsBy - e.Fault.RequestedAt).Seconds(), soonest.Seconds())
	}
}

// addDetected judges a death so long that the server must have been out at its end.
func (d *detection) addDetected(e *outage.Outage, soonest, delay time.Duration) {
	last := e.LastRequest()
	if !e.RoundRobin && last-e.LastAlive < soonest { // it need not have been asked since
		return
	}
	d.outages++
	if delay == 0 { // which takes its time until it is known
		d.downTimes = append(d.downTimes, max(0, last-e.LastAlive))
	}
	if out := last + e.MaxRequestGap() + outage.Tolerance - e.LastAlive; out < soonest {
		d.wrong.Add("%s was sent no request later than %.2f s after it had died at %.2f s; %.2f s is promised at least",
			e.Server.Host, (last - e.LastAlive).Seconds(), e.LastAlive.Seconds(), soonest.Seconds())
	}
	d.checkReturn(e, *e.Server.HealthCheck)
}

// checkReturn judges when the server got its first request after it had come back.
func (d *detection) checkReturn(e *outage.Outage, a model.HealthCheck) {
	soonest, latest := a.RecoveryTime()
	within := latest + outage.Tolerance + e.MaxRequestGap()
	if !e.RoundRobin && !e.LeastConn {
		within = e.End // it is asked when its turn comes, and nobody knows when
	}
	host, recovered := e.Server.Host, e.Fault.EndsBy.Seconds()
	switch {
	case e.ReturnedAt == 0 && e.End-e.Fault.EndsBy > within:
		d.wrong.Add("%s was sent no request for %.2f s after it had come back at %.2f s; %.2f s is promised at most",
			host, (e.End - e.Fault.EndsBy).Seconds(), recovered, latest.Seconds())
	case e.ReturnedAt == 0:
	case e.ReturnedAt-e.Fault.EndsBy > within:
		d.wrong.Add("%s was sent its first request %.2f s after it had come back at %.2f s; %.2f s is promised at most",
			host, (e.ReturnedAt - e.Fault.EndsBy).Seconds(), recovered, latest.Seconds())
	case e.ReturnedAt-e.Fault.EndsAfter < soonest-outage.Tolerance:
		d.wrong.Add("%s was sent a request %.2f s after its recovery at %.2f s; %.2f s is promised at least",
			host, (e.ReturnedAt - e.Fault.EndsAfter).Seconds(), e.Fault.EndsAfter.Seconds(), soonest.Seconds())
	}
	if e.ReturnedAt > 0 {
		d.upTimes = append(d.upTimes, max(0, e.ReturnedAt-e.Fault.EndsBy))
	}
}

func activeRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	const shows = "when health checks find a server dead, and well again"
	all := outageRequirements(cfg, claim.Subject, shows, func(s model.Server) bool { return s.HealthCheck != nil })
	if len(all) == 0 {
		return nil
	}
	pool, _ := cfg.Pool(claim.Subject)
	return append(all, lateCheckRequirements(pool, all[0])...)
}

// How late answers to health checks are that are in time, and that are not, as parts of what the configuration gives
// them; and how long the servers may ail in all.
const (
	inTimeFraction = 0.75
	lateFraction   = 1.3
	maxLateChecks  = time.Minute
)

// lateCheckRequirements has the health checks of a server that dies answered within their timeout, for as long as so many must have
// failed otherwise that it is out, and then later than that, until it must be out.
func lateCheckRequirements(pool model.Pool, death check.Requirement) []check.Requirement {
	i := slices.IndexFunc(pool.Servers, func(s model.Server) bool { return s.Host == death.Outages[0] })
	a := *pool.Servers[i].HealthCheck
	_, _, out := a.DetectionTime()
	_, back := a.RecoveryTime()
	part := func(of float64) time.Duration {
		return time.Duration(of * float64(a.Timeout)).Round(time.Millisecond)
	}
	own := a.TimeoutScope == model.TimeoutOfCheck && a.Timeout < a.Interval // otherwise the timeout says nothing of its own
	if !own || !a.Expect.Accepts(200) || 2*out+back > maxLateChecks {
		return nil
	}
	t := check.Requirement{
		Kind: plan.KindSlowHealthChecks, Phase: death.Phase,
		Detects: fmt.Sprintf("a health check of %s that waits for less than %s, or for longer",
			pool.Name, units.Duration(a.Timeout)),
	}
	other := death.Outages[0] // which is in rotation all the time: another server's answers may be late meanwhile
	for _, s := range check.Rotation(pool) {
		if s.HealthCheck != nil && s.Host != death.Outages[0] && s.HealthCheck.Equivalent(a) {
			other = s.Host
		}
	}
	t.LateChecks = []check.LateHealthChecks{
		{Host: other, Delay: part(inTimeFraction), For: out + time.Second, RecoverWithin: back + 2*time.Second},
		{Host: death.Outages[0], Delay: part(lateFraction), For: out + time.Second, RecoverWithin: back + 2*time.Second},
	}
	return []check.Requirement{t}
}
