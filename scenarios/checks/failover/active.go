package failover

import (
	"fmt"
	"slices"
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
	Doc:  "Health checks take a server that is down out of rotation and bring it back once it is healthy.",
	Law: "out of rotation between (fall-1)*fastinter and (fall-1)*fastinter + inter after the outage begins, plus " +
		"fall timeouts if the server hangs; back between (rise-1)*fastinter and (rise-1)*fastinter + downinter after it " +
		"recovers: the phase of the checks is uniform, so that both times are intervals; checks that backends can " +
		"recognize are counted while the server is healthy",
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
			i, same := at[fmt.Sprint(a)] // one claim for all servers with the same settings
			if !same {
				i = len(claims)
				at[fmt.Sprint(a)] = i
				claims, servers = append(claims, activeClaim(p, s)), append(servers, nil)
			}
			servers[i] = append(servers[i], s)
			each := activeClaim(p, s) // the last one waits longest if they are checked one after another
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
			plan.ParamDetectMin: seconds(soonest), plan.ParamDetectMax: seconds(refused),
			plan.ParamDetectHangMax: seconds(hanging),
			plan.ParamRejoinMin:     seconds(upSoonest), plan.ParamRejoinMax: seconds(upLatest),
		},
	}
	if len(s.HealthCheck.Implicit) > 0 {
		c.Assumptions = []string{fmt.Sprintf("the defaults of %s apply: a check every %s, down after %s, up after %s",
			units.Join(s.HealthCheck.Implicit), units.Duration(s.HealthCheck.Interval),
			units.Plural(s.HealthCheck.Fall, "failed check"), units.Plural(s.HealthCheck.Rise, "passed check"))}
	}
	if s.HealthCheck.Expect.Accepts(302) {
		c.Assumptions = append(c.Assumptions, "a redirect (e.g. to a login page) counts as healthy")
	}
	return c
}

func activeText(who string, a model.HealthCheck) string {
	soonest, refused, hanging := a.DetectionTime()
	upSoonest, upLatest := a.RecoveryTime()
	request := a.Request.String()
	if expected := a.Expect.String(); expected != "" {
		request += ", expects " + expected
	}
	checks := fmt.Sprintf("%d failed checks in a row", a.Fall)
	if a.Fall == 1 {
		checks = "one failed check"
	}
	out := fmt.Sprintf("down after %s (%s), at most %s if it hangs",
		units.DurationRange(soonest, refused), checks, units.Duration(hanging))
	back := fmt.Sprintf("up %s after it recovers", units.DurationRange(upSoonest, upLatest))
	return fmt.Sprintf("%s is health-checked every %s (%s): %s; %s.", who, units.Duration(a.Interval), request, out, back)
}

// amountRange formats a range of parameters in seconds.
func amountRange(least, most plan.Amount) string {
	duration := func(a plan.Amount) time.Duration { return time.Duration(float64(a) * float64(time.Second)) }
	return units.DurationRange(duration(least), duration(most))
}

// detection is the evidence of outages on when health checks notice them.
type detection struct {
	retryWait          time.Duration   // how long after ejection a waiting request may retry the server
	downTimes, upTimes []time.Duration // from outage to last request, and from recovery to first request
	wrong              check.Examples
	outages            int // outages that were long enough
	tooShort           int // unhealthy periods too short to be noticed
	passing            int // unhealthy periods with responses that the checks accept
}

func judgeActive(claim plan.Claim, h history.History) check.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	first := slices.IndexFunc(pool.Servers, func(s model.Server) bool {
		return check.ClaimID(plan.CheckActive, pool.Name, check.ServerName(s)) == claim.ID
	})
	if !ok || first < 0 {
		return check.Finding{Untestable: "server not found in the configuration"}
	}
	checks := *pool.Servers[first].HealthCheck
	d := detection{retryWait: sameServerRetryWait(h.Plan.Config, pool)}
	faults := slices.Concat(outage.RefusingFaults, outage.HangingFaults, outage.CheckOnlyFaults)
	for _, e := range outage.FindPartial(h, pool, faults...) {
		if a := e.Server.HealthCheck; a != nil && a.Equivalent(checks) {
			d.addOutage(e)
		}
	}
	if n := countUnknownRequests(h, pool); n >= check.Repetitions {
		d.wrong.Add("the servers got %s from the balancer itself that are not health checks (%s)",
			units.Plural(n, "request"), checks.Request)
	}
	counts := d.countChecks(h, pool, checks)
	f := d.finding(claim, h, counts)
	if f.Inconclusive = whyNoOutage(h, d.outages); d.outages == 0 && isLeftOut(h.Plan, pool) {
		f.Inconclusive += "; use --checks active to allow the time"
	}
	switch {
	case f.Inconclusive != "":
	case counts.isConclusive():
		f.Power = "detects any other check interval, and one check more or fewer until it is down or up"
	default:
		f.Power = fmt.Sprintf("detects intervals %.1f times as wide (power %g)",
			detectableWidth(d.outages, h.Plan.Beta), 1-h.Plan.Beta)
	}
	return f
}

// countChecks counts the health checks of all servers of a pool with the same settings.
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

// finding summarizes the outages and the number of checks; missing evidence is up to the caller.
func (d *detection) finding(claim plan.Claim, h history.History, counts checkCounts) check.Finding {
	p := claim.Params
	f := check.Finding{
		N: d.outages, Need: outagesNeeded(h.Plan.Beta), CounterExamples: d.wrong.List(),
		Test: "times from each outage to the server's last request, and from its recovery to the first, " +
			"within the interval",
		Measured: fmt.Sprintf("out after %s, back after %s", formatRange(d.downTimes), formatRange(d.upTimes)),
		Predicted: fmt.Sprintf("out after %s, back after %s",
			amountRange(p[plan.ParamDetectMin], p[plan.ParamDetectMax]),
			amountRange(p[plan.ParamRejoinMin], p[plan.ParamRejoinMax])),
	}
	if counts.isConclusive() { // the outages determine only the number of checks
		f.Need = check.Repetitions
		f.Test += "; number of health checks of healthy servers"
		f.Measured += "; " + counts.String()
	}
	if d.tooShort > 0 {
		f.Note = fmt.Sprintf("%s series of failed checks too short to take it out", units.Number(d.tooShort))
	}
	if d.passing > 0 {
		f.Note = appendNote(f.Note, fmt.Sprintf("%s series of redirects or late responses counted as healthy, as configured",
			units.Number(d.passing)))
	}
	return f
}

// sameServerRetryWait returns how long a request waits before a retry that may go to the same server: HAProxy lets it
// wait even if checks find the server down meanwhile, and tries that server once more (back.c, back_handle_st_cer).
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

// countUnknownRequests counts the requests that reached a pool's servers although no client sent them. Configured
// health checks are not among the arrivals.
func countUnknownRequests(h history.History, pool model.Pool) (n int) {
	for a := range h.Arrivals {
		if a.Seq == 0 && slices.ContainsFunc(pool.Servers, func(s model.Server) bool { return s.Host == a.Server }) {
			n++
		}
	}
	return n
}

// whyNoOutage explains why there is no evidence if n, the number of outages, is 0.
func whyNoOutage(h history.History, n int) string {
	switch {
	case n > 0 || check.WhyNodeExited(h) != "":
		return check.WhyNodeExited(h)
	case len(h.Plan.Events) == 0:
		return "no outage in this run; --scenario failover has one"
	}
	return "no outage was long enough under open-loop traffic"
}

// isLeftOut reports whether the plan has outages of other pools but not of this one, because they would take too long
// among all the others.
func isLeftOut(p plan.Plan, pool model.Pool) bool {
	isOutage := func(e plan.Event) bool {
		mine := func(s model.Server) bool { return s.Host == e.Target }
		return e.Fault == plan.FaultKill && slices.ContainsFunc(pool.Servers, mine)
	}
	return len(p.Checks) == 0 && !slices.ContainsFunc(p.Events, isOutage) &&
		slices.ContainsFunc(p.Phases, func(l plan.Phase) bool { return l.Kind == plan.KindOutages && l.About == "" })
}

// addOutage judges one outage by the server's health checks.
func (d *detection) addOutage(e *outage.Outage) {
	a := *e.Server.HealthCheck
	soonest, latest, hanging := a.DetectionTime()
	delay, _ := e.Fault.Event.Settings.Delay()
	if e.Hangs || e.OnlyChecksFail && delay > a.Timeout {
		latest = hanging
	}
	requestGap := time.Duration(10 / max(1, e.Rate) * float64(time.Second))
	distinguishable := requestGap <= min(a.Interval, a.FastInterval, a.DownInterval)/2 // from health checks
	if e.LastArrival == 0 || e.Rate == 0 || !distinguishable {
		return
	}
	if e.OnlyChecksFail && delay < a.Timeout && a.Expect.Accepts(e.Fault.Event.Settings.Status()) {
		d.addPassing(e, delay)
		return
	}
	if out := e.LastRequest() - e.Fault.StartsBy; out > latest+d.retryWait+outage.Tolerance {
		d.wrong.Add("%s still got requests %.2f s after its outage began at %.2f s (max %.2f s)",
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

// gotNoRequests reports whether a server got no requests at the end of a fault although some were due.
func gotNoRequests(e *outage.Outage) bool {
	return e.RoundRobin && e.LastArrival < e.Fault.EndsAfter-e.MaxRequestGap()-outage.Tolerance
}

// addPassing judges a period in which an unhealthy server responded as its health checks expect.
func (d *detection) addPassing(e *outage.Outage, delay time.Duration) {
	if d.passing++; gotNoRequests(e) {
		d.wrong.Add("%s got no requests after %.2f s although its health checks got status %s after %s (timeout %s)",
			e.Server.Host, e.LastArrival.Seconds(), e.Fault.Event.Settings[plan.SettingStatus],
			units.Duration(delay), units.Duration(e.Server.HealthCheck.Timeout))
	}
}

// addTooShort judges an unhealthy period that is too short to be noticed.
func (d *detection) addTooShort(e *outage.Outage, soonest time.Duration) {
	if d.tooShort++; gotNoRequests(e) {
		d.wrong.Add("%s got no requests after %.2f s although its health checks failed for only %.2f s (min %.2f s)",
			e.Server.Host, e.LastArrival.Seconds(), (e.Fault.EndsBy - e.Fault.RequestedAt).Seconds(), soonest.Seconds())
	}
}

// addDetected judges an outage that is so long that the server must be out of rotation at its end.
func (d *detection) addDetected(e *outage.Outage, soonest, delay time.Duration) {
	last := e.LastRequest()
	if !e.RoundRobin && last-e.LastAlive < soonest { // it need not have got a request since
		return
	}
	d.outages++
	if delay == 0 { // late responses take their time until they count
		d.downTimes = append(d.downTimes, max(0, last-e.LastAlive))
	}
	if out := last + e.MaxRequestGap() + outage.Tolerance - e.LastAlive; out < soonest {
		d.wrong.Add("%s got its last request %.2f s after its outage began at %.2f s (min %.2f s)",
			e.Server.Host, (last - e.LastAlive).Seconds(), e.LastAlive.Seconds(), soonest.Seconds())
	}
	d.checkReturn(e, *e.Server.HealthCheck)
}

// checkReturn judges when the server got its first request after the outage.
func (d *detection) checkReturn(e *outage.Outage, a model.HealthCheck) {
	soonest, latest := a.RecoveryTime()
	within := latest + outage.Tolerance + e.MaxRequestGap()
	if !e.RoundRobin && !e.LeastConn {
		within = e.End // it is unknown when the next request to it is due
	}
	host, recovered := e.Server.Host, e.Fault.EndsBy.Seconds()
	switch {
	case e.ReturnedAt == 0 && e.End-e.Fault.EndsBy > within:
		d.wrong.Add("%s got no requests for %.2f s after it was back at %.2f s (max %.2f s)",
			host, (e.End - e.Fault.EndsBy).Seconds(), recovered, latest.Seconds())
	case e.ReturnedAt == 0:
	case e.ReturnedAt-e.Fault.EndsBy > within:
		d.wrong.Add("%s got its first request %.2f s after it was back at %.2f s (max %.2f s)",
			host, (e.ReturnedAt - e.Fault.EndsBy).Seconds(), recovered, latest.Seconds())
	case e.ReturnedAt-e.Fault.EndsAfter < soonest-outage.Tolerance:
		d.wrong.Add("%s got a request %.2f s after its recovery at %.2f s (min %.2f s)",
			host, (e.ReturnedAt - e.Fault.EndsAfter).Seconds(), e.Fault.EndsAfter.Seconds(), soonest.Seconds())
	}
	if e.ReturnedAt > 0 {
		d.upTimes = append(d.upTimes, max(0, e.ReturnedAt-e.Fault.EndsBy))
	}
}

func activeRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	const detects = "servers that health checks take out or bring back at the wrong time"
	all := outageRequirements(cfg, claim.Subject, detects, func(s model.Server) bool { return s.HealthCheck != nil })
	if len(all) == 0 {
		return nil
	}
	pool, _ := cfg.Pool(claim.Subject)
	return append(all, lateCheckRequirements(pool, all[0])...)
}

// Delays of responses to health checks that are in time and too late, as fractions of the timeout, and the longest
// total time of late responses.
const (
	inTimeFraction = 0.75
	lateFraction   = 1.3
	maxLateChecks  = time.Minute
)

// lateCheckRequirements delays the responses to a server's health checks: first within their timeout, until they would
// have taken it out if they failed, and then beyond it, until the server must be out.
func lateCheckRequirements(pool model.Pool, base check.Requirement) []check.Requirement {
	i := slices.IndexFunc(pool.Servers, func(s model.Server) bool { return s.Host == base.Outages[0] })
	a := *pool.Servers[i].HealthCheck
	_, _, out := a.DetectionTime()
	_, back := a.RecoveryTime()
	part := func(of float64) time.Duration {
		return time.Duration(of * float64(a.Timeout)).Round(time.Millisecond)
	}
	own := a.TimeoutScope == model.TimeoutOfCheck && a.Timeout < a.Interval // otherwise the timeout does not matter
	if !own || !a.Expect.Accepts(200) || 2*out+back > maxLateChecks {
		return nil
	}
	t := check.Requirement{
		Kind: plan.KindSlowHealthChecks, Phase: base.Phase,
		Detects: fmt.Sprintf("health checks of %s with another timeout than %s",
			pool.Name, units.Duration(a.Timeout)),
	}
	other := base.Outages[0] // preferably another server in rotation
	for _, s := range check.Rotation(pool) {
		if s.HealthCheck != nil && s.Host != base.Outages[0] && s.HealthCheck.Equivalent(a) {
			other = s.Host
		}
	}
	t.LateChecks = []check.LateHealthChecks{
		{Host: other, Delay: part(inTimeFraction), For: out + time.Second, RecoverWithin: back + 2*time.Second},
		{Host: base.Outages[0], Delay: part(lateFraction), For: out + time.Second, RecoverWithin: back + 2*time.Second},
	}
	return []check.Requirement{t}
}
