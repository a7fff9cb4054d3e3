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
	Claims: activeClaims,
	Trials: activeTrials,
	Judge:  judgeActive,
}

func activeClaims(cfg model.Config) []plan.Claim {
	return check.EachPool(cfg, func(p model.Pool) []plan.Claim {
		var claims []plan.Claim
		var servers [][]model.Server
		at := map[string]int{}
		for _, s := range p.Servers {
			if s.Active == nil {
				continue
			}
			a := *s.Active
			a.Pos, a.Queued = model.Pos{}, 0
			i, same := at[fmt.Sprint(a)] // one promise for all servers that say the same
			if !same {
				i = len(claims)
				at[fmt.Sprint(a)] = i
				claims, servers = append(claims, activeClaim(p, s)), append(servers, nil)
			}
			servers[i] = append(servers[i], s)
			each := activeClaim(p, s) // the last one waits longest where they are checked in turn
			claims[i].Params, claims[i].Text = each.Params, activeText(eachOf(p, servers[i]), *s.Active)
		}
		return claims
	})
}

func activeClaim(p model.Pool, s model.Server) plan.Claim {
	soonest, refused, hanging := s.Active.Down()
	upSoonest, upLatest := s.Active.Up()
	seconds := func(d time.Duration) plan.Amount { return plan.Amount(units.Seconds(d)) }
	c := plan.Claim{
		ID:    check.ClaimID(plan.CheckActive, p.Name, check.ServerName(s)),
		Check: plan.CheckActive, Subject: p.Name, Pos: s.Active.Pos,
		Text: activeText(check.ServerName(s), *s.Active),
		Params: plan.Params{
			plan.ParamDownLeast: seconds(soonest), plan.ParamDownMost: seconds(refused), plan.ParamDownHanging: seconds(hanging),
			plan.ParamUpLeast: seconds(upSoonest), plan.ParamUpMost: seconds(upLatest),
		},
	}
	if len(s.Active.Implicit) > 0 {
		c.Assumes = []string{fmt.Sprintf("the defaults of %s, which nobody wrote: one check in %s, %d failed take "+
			"it out, %d passed bring it back",
			strings.Join(s.Active.Implicit, ", "), units.Span(s.Active.Interval), s.Active.Fall, s.Active.Rise)}
	}
	if s.Active.Expect.Has(302) {
		c.Assumes = append(c.Assumes, "a redirect, as to a login page, passes for health")
	}
	return c
}

func activeText(who string, a model.Active) string {
	soonest, refused, hanging := a.Down()
	upSoonest, upLatest := a.Up()
	asks := a.Request.String()
	if expected := a.Expect.String(); expected != "" {
		asks += ", " + expected + " expected"
	}
	checks := fmt.Sprintf("%d failed checks in a row", a.Fall)
	if a.Fall == 1 {
		checks = "one failed check is enough"
	}
	out := fmt.Sprintf("out %s to %s after it dies, at most %s where it hangs (%s)",
		units.Span(soonest), units.Span(refused), units.Span(hanging), checks)
	back := fmt.Sprintf("back %s to %s after it recovers", units.Span(upSoonest), units.Span(upLatest))
	return fmt.Sprintf("%s is checked every %s (%s): %s; %s.", who, units.Span(a.Interval), asks, out, back)
}

// detection is what the deaths of servers have shown of an interval.
type detection struct {
	again     time.Duration   // after a server is known to be dead, a request that had met it may try it once more
	out, back []time.Duration // seconds from death to the last request, and from recovery to the first
	wrong     check.Examples
	n         int // deaths that were long enough to show it
	short     int // sicknesses too short to be noticed
	passed    int // answers to health checks that were expected, though they tell of no health
}

func judgeActive(claim plan.Claim, h history.History) check.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	first := slices.IndexFunc(pool.Servers, func(s model.Server) bool {
		return check.ClaimID(plan.CheckActive, pool.Name, check.ServerName(s)) == claim.ID
	})
	if !ok || first < 0 {
		return check.Finding{Cannot: "the configuration has no such server"}
	}
	checks := *pool.Servers[first].Active
	d := detection{again: triedAgain(h.Plan.Config, pool)}
	for _, e := range outage.Episodes(h, pool, slices.Concat(outage.Refusing, outage.Hanging, outage.Lying)...) {
		if a := e.Server.Active; a != nil && a.Alike(checks) {
			d.see(e)
		}
	}
	if n := strangers(h, pool); n >= check.Often {
		d.wrong.Add("the servers were asked %s by nobody but the balancer itself, for something else than %s",
			units.Plural(n, "time"), checks.Request)
	}
	pace := d.pace(h, pool, checks)
	f := d.finding(claim, h, pace)
	if f.Broken = noDeaths(h, d.n); d.n == 0 && leftOut(h.Plan, pool) {
		f.Broken += "; --checks active takes the time"
	}
	switch {
	case f.Broken != "":
	case pace.known():
		f.Power = "would have caught any other number of checks, and one more or fewer that it takes"
	default:
		f.Power = fmt.Sprintf("would have caught intervals %.1f times as wide with probability %g",
			swept(d.n, h.Plan.Beta), 1-h.Plan.Beta)
	}
	return f
}

// pace counts the health checks of all servers of a pool that are checked alike.
func (d *detection) pace(h history.History, pool model.Pool, checks model.Active) (all cadence) {
	for _, s := range pool.Servers {
		if s.Active == nil || !s.Active.Alike(checks) {
			continue
		}
		one := cadenceOf(h, s)
		if one.wrong() {
			d.wrong.Add("%s got %s", check.ServerName(s), one)
		}
		all = cadence{all.seen + one.seen, all.least + one.least, all.most + one.most}
	}
	return all
}

// finding is what deaths and the pace of checks say, but for what is missing.
func (d *detection) finding(claim plan.Claim, h history.History, pace cadence) check.Finding {
	p := claim.Params
	f := check.Finding{
		N: d.n, Need: deaths(h.Plan.Beta), Counter: d.wrong.List(),
		Test: "times from each death to the last request for the dead server, and from its recovery to the " +
			"first, inside the interval",
		Measured: fmt.Sprintf("out after %s, back after %s", spread(d.out), spread(d.back)),
		Predicted: fmt.Sprintf("out %g s to %g s, back %g s to %g s",
			p[plan.ParamDownLeast], p[plan.ParamDownMost], p[plan.ParamUpLeast], p[plan.ParamUpMost]),
	}
	if pace.known() { // the deaths show how many checks it takes
		f.Need = check.Often
		f.Test += "; and how often servers were checked while they were well"
		f.Measured += "; " + pace.String()
	}
	if d.short > 0 {
		f.Note = fmt.Sprintf("%s failed for too short a time to take it out", units.Number(d.short)+" series of checks")
	}
	if d.passed > 0 {
		f.Note = joined(f.Note, fmt.Sprintf("%s series of redirects or late answers passed for health, as configured",
			units.Number(d.passed)))
	}
	return f
}

// triedAgain is how long a request to a pool waits until it is tried again, where that may be at the same server:
// HAProxy has it wait on where checks find the server dead meanwhile, and tries that once more (back.c,
// back_handle_st_cer).
func triedAgain(cfg model.Config, pool model.Pool) (wait time.Duration) {
	for _, r := range cfg.Routes {
		t := r.Retry
		if r.Pool != pool.Name || t == nil {
			continue
		}
		if t.Wait != model.FixedWait || t.Attempts < 2 {
			continue
		}
		if atOnce := t.Elsewhere() && pool.Balance.TakesTurns(); !atOnce {
			wait = max(wait, t.Each)
		}
	}
	return wait
}

// strangers is how many requests reached a pool's servers that no client sent and that are none of the health checks
// that the configuration names, which leave no trace.
func strangers(h history.History, pool model.Pool) (n int) {
	for a := range h.Arrivals {
		if a.Seq == 0 && slices.ContainsFunc(pool.Servers, func(s model.Server) bool { return s.Host == a.Server }) {
			n++
		}
	}
	return n
}

// noDeaths says what is missing where no server died.
func noDeaths(h history.History, n int) string {
	switch {
	case n > 0 || check.NodeDied(h) != "":
		return check.NodeDied(h)
	case len(h.Plan.Events) == 0:
		return "no server was put out of action; --scenario failover does"
	}
	return "no server was out of action for long enough, under an open loop, to show it"
}

// leftOut says whether experiments let the servers of other pools die, and these not, because that would take too long
// beside all the rest.
func leftOut(p plan.Plan, pool model.Pool) bool {
	dies := func(e plan.Event) bool {
		mine := func(s model.Server) bool { return s.Host == e.Target }
		return e.Fault == plan.FaultKill && slices.ContainsFunc(pool.Servers, mine)
	}
	return len(p.Checks) == 0 && !slices.ContainsFunc(p.Events, dies) &&
		slices.ContainsFunc(p.Phases, func(l plan.Phase) bool { return l.Kind == plan.KindDeaths && l.About == "" })
}

// see judges one death by health checks.
func (d *detection) see(e *outage.Episode) {
	a := *e.Server.Active
	soonest, latest, hanging := a.Down()
	delay, _ := e.Mark.Event.With.Delay()
	if e.Hangs || e.Lies && delay > a.Timeout {
		latest = hanging
	}
	near := time.Duration(10 / max(1, e.Rate) * float64(time.Second))
	apart := near <= min(a.Interval, a.Fast, a.Slow)/2 // requests and checks can be told apart
	if e.Served == 0 || e.Rate == 0 || !apart {
		return
	}
	if e.Lies && delay < a.Timeout && a.Expect.Has(e.Mark.Event.With.Status()) {
		d.seePassed(e, delay)
		return
	}
	if out := e.Last() - e.Mark.From; out > latest+d.again+outage.Slack {
		d.wrong.Add("%s was still sent requests %.2f s after it had died at %.2f s; %.2f s is promised at most",
			e.Server.Host, out.Seconds(), e.Mark.From.Seconds(), latest.Seconds())
	}
	if e.Lies && e.Mark.To-e.Mark.Ordered < soonest-outage.Slack {
		d.seeShort(e, soonest)
		return
	}
	if e.Mark.Ended-e.Mark.From >= latest+d.again+outage.Slack {
		d.seeLong(e, soonest, delay)
	}
}

// leftOff reports whether a server got no request for the last part of a fault in which some must have been meant for
// it.
func leftOff(e *outage.Episode) bool { return e.Turns && e.Served < e.Mark.Ended-e.Pick()-outage.Slack }

// seePassed judges a time in which health checks were answered as they expect, though that tells of no health.
func (d *detection) seePassed(e *outage.Episode, delay time.Duration) {
	if d.passed++; leftOff(e) {
		d.wrong.Add("%s was sent no request after %.2f s, though its health checks were answered %s after %s, which "+
			"is expected within %s",
			e.Server.Host, e.Served.Seconds(), e.Mark.Event.With[plan.SettingStatus],
			units.Span(delay), units.Span(e.Server.Active.Timeout))
	}
}

// seeShort judges a sickness so short that it must not be noticed.
func (d *detection) seeShort(e *outage.Episode, soonest time.Duration) {
	if d.short++; leftOff(e) {
		d.wrong.Add("%s was sent no request after %.2f s, though its health checks failed for %.2f s only; %.2f s "+
			"is promised at least",
			e.Server.Host, e.Served.Seconds(), (e.Mark.To - e.Mark.Ordered).Seconds(), soonest.Seconds())
	}
}

// seeLong judges a death so long that the server must have been out at its end.
func (d *detection) seeLong(e *outage.Episode, soonest, delay time.Duration) {
	last := e.Last()
	if !e.Turns && last-e.Alive < soonest { // it need not have been asked since
		return
	}
	d.n++
	if delay == 0 { // which takes its time until it is known
		d.out = append(d.out, max(0, last-e.Alive))
	}
	if out := last + e.Pick() + outage.Slack - e.Alive; out < soonest {
		d.wrong.Add("%s was sent no request later than %.2f s after it had died at %.2f s; %.2f s is promised at least",
			e.Server.Host, (last - e.Alive).Seconds(), e.Alive.Seconds(), soonest.Seconds())
	}
	d.returned(e, *e.Server.Active)
}

// returned judges when the server got its first request after it had come back.
func (d *detection) returned(e *outage.Episode, a model.Active) {
	soonest, latest := a.Up()
	within := latest + outage.Slack + e.Pick()
	if !e.Turns && !e.Eager {
		within = e.Next // it is asked when its turn comes, and nobody knows when
	}
	host, recovered := e.Server.Host, e.Mark.To.Seconds()
	switch {
	case e.Back == 0 && e.Next-e.Mark.To > within:
		d.wrong.Add("%s was sent no request for %.2f s after it had come back at %.2f s; %.2f s is promised at most",
			host, (e.Next - e.Mark.To).Seconds(), recovered, latest.Seconds())
	case e.Back == 0:
	case e.Back-e.Mark.To > within:
		d.wrong.Add("%s was sent its first request %.2f s after it had come back at %.2f s; %.2f s is promised at most",
			host, (e.Back - e.Mark.To).Seconds(), recovered, latest.Seconds())
	case e.Back-e.Mark.Ended < soonest-outage.Slack:
		d.wrong.Add("%s was sent a request %.2f s after its recovery at %.2f s; %.2f s is promised at least",
			host, (e.Back - e.Mark.Ended).Seconds(), e.Mark.Ended.Seconds(), soonest.Seconds())
	}
	if e.Back > 0 {
		d.back = append(d.back, max(0, e.Back-e.Mark.To))
	}
}

func activeTrials(cfg model.Config, claim plan.Claim, _ check.Terms) []check.Trial {
	const shows = "when health checks find a server dead, and well again"
	all := deathTrials(cfg, claim.Subject, shows, func(s model.Server) bool { return s.Active != nil })
	if len(all) == 0 {
		return nil
	}
	pool, _ := cfg.Pool(claim.Subject)
	return append(all, ailing(pool, all[0])...)
}

// How late answers to health checks are that are in time, and that are not, as parts of what the configuration gives
// them; and how long the servers may ail in all.
const (
	inTime   = 0.75
	tooLate  = 1.3
	mostAils = time.Minute
)

// ailing has the health checks of a server that dies answered within their timeout, for as long as so many must have
// failed otherwise that it is out, and then later than that, until it must be out.
func ailing(pool model.Pool, death check.Trial) []check.Trial {
	i := slices.IndexFunc(pool.Servers, func(s model.Server) bool { return s.Host == death.Kill[0] })
	a := *pool.Servers[i].Active
	_, _, out := a.Down()
	_, back := a.Up()
	part := func(of float64) time.Duration {
		return time.Duration(of * float64(a.Timeout)).Round(time.Millisecond)
	}
	own := a.Times == model.TimesCheck && a.Timeout < a.Interval // otherwise the timeout says nothing of its own
	if !own || !a.Expect.Has(200) || 2*out+back > mostAils {
		return nil
	}
	t := check.Trial{
		Kind: plan.KindSlowChecks, Load: death.Load,
		Shows: fmt.Sprintf("a health check of %s that waits for less than %s, or for longer",
			pool.Name, units.Span(a.Timeout)),
	}
	other := death.Kill[0] // which is in rotation all the time: another server's answers may be late meanwhile
	for _, s := range check.Rotation(pool) {
		if s.Active != nil && s.Host != death.Kill[0] && s.Active.Alike(a) {
			other = s.Host
		}
	}
	t.Ail = []check.Ailment{
		{Host: other, Delay: part(inTime), Lasts: out + time.Second, After: back + 2*time.Second},
		{Host: death.Kill[0], Delay: part(tooLate), Lasts: out + time.Second, After: back + 2*time.Second},
	}
	return []check.Trial{t}
}
