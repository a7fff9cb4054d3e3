package experiments

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

const (
	slowing    = 1200 * time.Millisecond // until servers are known to be slow
	besideRate = 20                      // requests per second meanwhile
)

// designer adds phases to a plan.
type designer struct {
	scenario *scenarios.Scenario
	plan     *plan.Plan
	free     int           // the next address that no phase has
	peers    []string      // of the balancer
	most     time.Duration // that all deaths of one phase may take
}

// perform adds experiments to the plan, one phase after another, with their faults.
func (d *designer) perform(all []*experiment) error {
	for i, e := range all {
		e.most, e.begins = d.most, d.up()
		e.die(d.plan.Config, d.plan.Beta)
		e.outlast(d.plan.Config)
		next := []check.Slowed(nil)
		if i+1 < len(all) {
			next = all[i+1].slow
		}
		d.forget(e)
		if err := d.add(e.load, e.slow, next, e.checks...); err != nil {
			return err
		}
		d.harm(e)
	}
	return nil
}

// harm adds the faults of an experiment, whose phase is the last one.
func (d *designer) harm(e *experiment) {
	if len(e.vanish) > 0 {
		d.vanish(e)
	}
	if len(e.kill) > 0 {
		d.kill(e)
	}
	for _, host := range slices.Sorted(maps.Keys(e.move)) {
		d.fault(scenarios.Fault{Fault: plan.FaultMove, Target: host, Phase: e.load.Name, At: firstMove, For: e.move[host]})
	}
	d.fault(ails(e.ail, e.load.Name)...)
	d.fault(gone(d.plan.Config, e, e.load.Name)...)
	if e.reload > 0 {
		d.reload(e.load.Name, e.reload, time.Second)
	}
}

// fault adds faults.
func (d *designer) fault(all ...scenarios.Fault) {
	d.scenario.Faults = append(d.scenario.Faults, all...)
}

// reload has the balancer take over its configuration, as it is, at a time in a phase.
func (d *designer) reload(phase string, at, lasts time.Duration) {
	d.fault(scenarios.Fault{
		Fault: plan.FaultReload, Target: scenarios.Balancer(d.plan).Name, Phase: phase, At: at, For: lasts,
		With: plan.Settings{plan.SettingChange: plan.ChangeNone},
	})
}

// last is the last phase so far.
func (d *designer) last() plan.Phase { return d.plan.Phases[len(d.plan.Phases)-1] }

// peers adds the balancers beyond the first to a plan's nodes, and names them.
func peers(p *plan.Plan, balancers int) (names []string) {
	i := slices.IndexFunc(p.Specs, func(spec plan.Spec) bool { return spec.Role == plan.Balancer })
	for n := 2; i >= 0 && n <= balancers; n++ {
		peer := p.Specs[i]
		short := fmt.Sprintf("%s-%d", plan.Short(peer.Name), n)
		peer.Name, peer.Role, peer.Hostname = plan.OwnName(short), plan.Peer, ""
		if scenarios.Called(p.Specs, short) < 0 {
			peer.Hostname = short
		}
		p.Specs = append(p.Specs, peer)
		names = append(names, peer.Name)
	}
	return names
}

// add writes a phase out: from clients that no limit refuses, unless the phase is about one, and while servers are
// slow, if it is to find them so. next are those of the phase after it: where they are others, these recover meanwhile.
func (d *designer) add(l plan.Phase, slow, next []check.Slowed, about ...plan.Check) error {
	l.Timeout = cmp.Or(l.Timeout, scenarios.DefaultTimeout)
	l.Checks = append(slices.Clone(about), bystanders...)
	if l.Engine == plan.Prober { // whose requests are made to be odd
		l.Checks = append(slices.Clone(about), plan.CheckRestarts)
	}
	slices.Sort(l.Checks)
	l.Checks = slices.Compact(l.Checks)
	switch {
	case l.Kind == plan.KindDeaths, l.Kind == plan.KindBackups:
		l.Checks = slices.Concat(about, []plan.Check{plan.CheckRestarts, plan.CheckBackup})
	case l.Kind == plan.KindNobodyLeft:
		l.Checks = slices.Concat(about, []plan.Check{plan.CheckRestarts})
	}
	if !slices.Contains(about, plan.CheckLimits) && l.Kind != plan.KindRefusals {
		Spare(d.plan.Config, &l)
	}
	var err error
	if l.Engine != plan.Prober {
		protocol := map[plan.Engine]string{plan.Vegeta: "h2"}[l.Engine]
		if l.Engine, err = (scenarios.Phase{Protocol: protocol}).ChooseEngine(l); err != nil {
			return fmt.Errorf("design the phase %s: %w", l.Name, err)
		}
	}
	again := func(s check.Slowed) bool {
		return slices.ContainsFunc(slow, func(o check.Slowed) bool { return o.Host == s.Host })
	}
	recovers := !l.Open() && (len(next) == 0 || slices.ContainsFunc(next, again))
	d.address(&l)
	through := d.through(l)
	for i, one := range through {
		if len(slow) > 0 {
			d.slowed(one, slow, recovers || i+1 < len(through))
		} else {
			d.plan.Phases = append(d.plan.Phases, one)
		}
	}
	return nil
}

// up is for how long the balancer has run at least, since it started or took its configuration over, when the phases so
// far are over.
func (d *designer) up() (lasts time.Duration) {
	for _, l := range d.plan.Phases {
		switch {
		case d.reloads(l):
			lasts = 0
		case l.Open():
			lasts += l.Takes()
		}
	}
	return lasts
}

// reloads reports whether the balancer takes its configuration over in a phase.
func (d *designer) reloads(l plan.Phase) bool {
	return slices.ContainsFunc(d.scenario.Faults, func(f scenarios.Fault) bool {
		return f.Fault == plan.FaultReload && f.Phase == l.Name
	})
}

// through is a phase, and the same through each peer from the same addresses, if it asks more than a limit allows.
func (d *designer) through(l plan.Phase) []plan.Phase {
	all := []plan.Phase{l}
	if l.Kind != plan.KindOverload {
		return all
	}
	for _, peer := range d.peers {
		l.Name, l.Via = all[0].Name+" through "+peer, peer
		all = append(all, l)
	}
	return all
}

// slowed has servers become slow, which few requests find out, for as long as a phase lasts, and recover after it.
func (d *designer) slowed(l plan.Phase, slow []check.Slowed, recovers bool) {
	d.beside(l, "its servers become slow", slowing)
	last := l.Takes()
	if !l.Open() {
		last = slowing
	}
	if d.plan.Config.Dialect.ForgetsFailures() && l.Kind == plan.KindCrowd {
		last += slowing // on a busy machine; before the next crowd failures are forgotten, which takes longer
	}
	for _, s := range slow {
		d.fault(scenarios.Fault{
			Fault: plan.FaultSlow, Target: s.Host, Phase: d.last().Name, For: slowing + last,
			With: plan.Settings{plan.SettingDelay: s.Delay.String()},
		})
	}
	d.plan.Phases = append(d.plan.Phases, l)
	if recovers {
		d.beside(l, "its servers recover", 2*slowing)
	}
}

// vanish has servers vanish from the beginning of the last phase on.
func (d *designer) vanish(e *experiment) {
	slices.Sort(e.vanish)
	last := d.last()
	for _, host := range slices.Compact(e.vanish) {
		d.fault(scenarios.Fault{Fault: plan.FaultBlackhole, Target: host, Phase: last.Name, For: last.Takes()})
	}
}

// How nginx is made to forget failures: it takes its configuration over in a phase of a few requests.
const (
	forgetting = 2 * time.Second
	takesOver  = forgetting / 8

	betweenDeaths = 3 * time.Second // of a server; on a busy machine nginx takes its time
)

// forget has the balancer forget the failures that earlier phases had it count, so that it asks all servers in this
// one.
func (d *designer) forget(e *experiment) {
	request, ok := check.Plain(d.plan.Config)
	if !d.plan.Config.Dialect.ForgetsFailures() || !ok || !d.counted(e) {
		return
	}
	bearsOn := []plan.Check{plan.CheckRestarts}
	if e.kind == plan.KindCrowd {
		bearsOn = append(bearsOn, plan.CheckConns) // which is told that there were none to count
	}
	few := plan.Phase{
		Name: e.kind.Title(e.about), Timeout: scenarios.DefaultTimeout, Requests: []plan.Request{request}, Checks: bearsOn,
	}
	d.beside(few, "failures are forgotten", forgetting)
	d.reload(d.last().Name, takesOver, takesOver)
}

// counted reports whether failures that were counted before would change what an experiment shows.
func (d *designer) counted(e *experiment) bool {
	switch e.kind {
	case plan.KindCrowd, plan.KindFailures, plan.KindVanished, plan.KindBackups, plan.KindNobodyLeft:
		return true
	}
	return len(e.kill) > 0 && e.counts(d.plan.Config)
}

// kill has servers die and come back in the last phase.
func (d *designer) kill(e *experiment) {
	last := d.last()
	d.fault(e.deaths(d.plan.Config)...)
	if e.counts(d.plan.Config) {
		d.forgetBetween(last.Name, e.cycle())
	}
}

// forgetBetween has nginx forget failures between two deaths, where those of all pools come at the same times, or
// within one: a worker that was asked late would remember them at the next one.
func (d *designer) forgetBetween(phase string, within time.Duration) {
	var times []time.Duration // of the first of each
	for _, f := range d.scenario.Faults {
		if f.Phase != phase || f.Fault != plan.FaultKill {
			continue
		}
		f = f.Adapted(d.plan.Config, f.Target)
		var mine []time.Duration
		for _, e := range f.Repeated(plan.Event{}) {
			mine = append(mine, e.At)
		}
		if times == nil {
			times = mine
		}
		if len(times) != len(mine) {
			return
		}
		for i, at := range mine {
			if (at - times[i]).Abs() > within {
				return
			}
			times[i] = min(times[i], at)
		}
	}
	for _, at := range times[min(1, len(times)):] {
		d.reload(phase, at-betweenDeaths, takesOver)
	}
}

// beside is a phase of a few requests before or after another one.
func (d *designer) beside(l plan.Phase, what string, lasts time.Duration) {
	few := plan.Phase{
		Name: l.Name + ": " + what, Engine: plan.Goroutines, Concurrency: scenarios.DefaultInFlight,
		Rate: besideRate, Count: int(besideRate * lasts.Seconds()),
		Timeout: l.Timeout, Requests: l.Requests, Checks: l.Checks, Via: l.Via,
	}
	Spare(d.plan.Config, &few)
	d.address(&few)
	d.plan.Phases = append(d.plan.Phases, few)
}

// address gives clients of a phase addresses that no other phase has.
func (d *designer) address(l *plan.Phase) {
	if l.Clients.Addresses {
		l.Clients.First = d.free
		d.free = l.Clients.Last() + 1
	}
}
