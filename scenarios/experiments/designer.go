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
	slowdownDelay = 1200 * time.Millisecond // until servers are known to be slow
	lightRate     = 20                      // requests per second
)

// designer adds phases to a plan.
type designer struct {
	scenario     *scenarios.Scenario
	plan         *plan.Plan
	nextAddress  int           // number of the first unused address
	peers        []string      // additional balancers
	outageBudget time.Duration // limits the total outage time of one phase
}

// addPhases adds the drafts to the plan, one phase after another, with their faults.
func (d *designer) addPhases(all []*draft) error {
	for i, e := range all {
		e.outageBudget, e.earliestStart = d.outageBudget, d.uptime()
		e.scheduleOutages(d.plan.Config, d.plan.Beta)
		e.extendForFaults(d.plan.Config)
		next := []check.SlowServer(nil)
		if i+1 < len(all) {
			next = all[i+1].slow
		}
		d.resetFailureCounts(e)
		if err := d.addPhase(e.phase, e.slow, next, e.checks...); err != nil {
			return err
		}
		d.addFaultsOf(e)
	}
	return nil
}

// addFaultsOf adds the faults of a draft, whose phase is the last one.
func (d *designer) addFaultsOf(e *draft) {
	if len(e.unreachable) > 0 {
		d.addUnreachable(e)
	}
	if len(e.outageGroups) > 0 {
		d.addOutages(e)
	}
	for _, host := range slices.Sorted(maps.Keys(e.moves)) {
		d.addFaults(scenarios.Fault{
			Fault: plan.FaultMove, Target: host, Phase: e.phase.Name, At: firstMoveAt,
			Duration: e.moves[host],
		})
	}
	d.addFaults(slowCheckFaults(e.slowChecks, e.phase.Name)...)
	d.addFaults(allDownFaults(d.plan.Config, e, e.phase.Name)...)
	if e.reloadAt > 0 {
		d.addReload(e.phase.Name, e.reloadAt, time.Second)
	}
}

func (d *designer) addFaults(all ...scenarios.Fault) {
	d.scenario.Faults = append(d.scenario.Faults, all...)
}

// addReload schedules a reload of the unchanged configuration at a time in a phase.
func (d *designer) addReload(phase string, at, duration time.Duration) {
	d.addFaults(scenarios.Fault{
		Fault: plan.FaultReload, Target: scenarios.BalancerSpec(d.plan).Name, Phase: phase, At: at, Duration: duration,
		With: plan.Settings{plan.SettingChange: plan.ChangeNone},
	})
}

func (d *designer) lastPhase() plan.Phase { return d.plan.Phases[len(d.plan.Phases)-1] }

// addPeers adds the balancers beyond the first to a plan's nodes, and returns their names.
func addPeers(p *plan.Plan, balancers int) (names []string) {
	i := slices.IndexFunc(p.Specs, func(spec plan.Spec) bool { return spec.Role == plan.Balancer })
	for n := 2; i >= 0 && n <= balancers; n++ {
		peer := p.Specs[i]
		short := fmt.Sprintf("%s-%d", plan.ShortName(peer.Name), n)
		peer.Name, peer.Role, peer.ContainerHostname = plan.HarnessName(short), plan.Peer, ""
		if scenarios.FindNode(p.Specs, short) < 0 {
			peer.ContainerHostname = short
		}
		p.Specs = append(p.Specs, peer)
		names = append(names, peer.Name)
	}
	return names
}

// addPhase writes a phase to the plan. Its clients stay below every rate limit, unless it tests one. If servers are
// slow, a light phase precedes it; another follows, in which they recover, unless the phase is an open loop or the
// next one slows other servers only.
func (d *designer) addPhase(l plan.Phase, slow, next []check.SlowServer, about ...plan.Check) error {
	l.Timeout = cmp.Or(l.Timeout, scenarios.DefaultTimeout)
	l.Checks = append(slices.Clone(about), alwaysChecked...)
	if l.Engine == plan.Prober { // its requests are unusual on purpose
		l.Checks = append(slices.Clone(about), plan.CheckRestarts)
	}
	slices.Sort(l.Checks)
	l.Checks = slices.Compact(l.Checks)
	switch {
	case l.Kind == plan.KindOutages, l.Kind == plan.KindBackups:
		l.Checks = slices.Concat(about, []plan.Check{plan.CheckRestarts, plan.CheckBackup})
	case l.Kind == plan.KindAllDown:
		l.Checks = slices.Concat(about, []plan.Check{plan.CheckRestarts})
	}
	if !slices.Contains(about, plan.CheckLimits) && l.Kind != plan.KindRefusals {
		SpreadClients(d.plan.Config, &l)
	}
	var err error
	if l.Engine != plan.Prober {
		protocol := map[plan.Engine]string{plan.Vegeta: "h2"}[l.Engine]
		if l.Engine, err = (scenarios.Phase{Protocol: protocol}).ChooseEngine(l); err != nil {
			return fmt.Errorf("design phase %s: %w", l.Name, err)
		}
	}
	slowsAgain := func(s check.SlowServer) bool {
		return slices.ContainsFunc(slow, func(o check.SlowServer) bool { return o.Host == s.Host })
	}
	recovers := !l.IsOpenLoop() && (len(next) == 0 || slices.ContainsFunc(next, slowsAgain))
	d.assignAddresses(&l)
	copies := d.repeatOnPeers(l)
	for i, one := range copies {
		if len(slow) > 0 {
			d.addSlowed(one, slow, recovers || i+1 < len(copies))
		} else {
			d.plan.Phases = append(d.plan.Phases, one)
		}
	}
	return nil
}

// uptime returns how long the balancer has run at least, since it started or reloaded, at the end of the phases so
// far.
func (d *designer) uptime() (duration time.Duration) {
	for _, l := range d.plan.Phases {
		switch {
		case d.hasReload(l):
			duration = 0
		case l.IsOpenLoop():
			duration += l.EstimatedDuration()
		}
	}
	return duration
}

// hasReload reports whether the balancer reloads in a phase.
func (d *designer) hasReload(l plan.Phase) bool {
	return slices.ContainsFunc(d.scenario.Faults, func(f scenarios.Fault) bool {
		return f.Fault == plan.FaultReload && f.Phase == l.Name
	})
}

// repeatOnPeers returns a phase and, if it exceeds a limit, a copy for each peer from the same addresses.
func (d *designer) repeatOnPeers(l plan.Phase) []plan.Phase {
	all := []plan.Phase{l}
	if l.Kind != plan.KindOverload {
		return all
	}
	for _, peer := range d.peers {
		l.Name, l.ViaPeer = all[0].Name+" via "+peer, peer
		all = append(all, l)
	}
	return all
}

// addSlowed adds a phase during which servers are slow. Only few requests run while they slow down and recover.
func (d *designer) addSlowed(l plan.Phase, slow []check.SlowServer, recovers bool) {
	d.addLightPhase(l, "servers slow down", slowdownDelay)
	last := l.EstimatedDuration()
	if !l.IsOpenLoop() {
		last = slowdownDelay
	}
	if d.plan.Config.Dialect.ReloadResetsFailures() && l.Kind == plan.KindSaturation {
		last += slowdownDelay // busy machines take longer; resetting failure counts before the next saturation does, too
	}
	for _, s := range slow {
		d.addFaults(scenarios.Fault{
			Fault: plan.FaultSlow, Target: s.Host, Phase: d.lastPhase().Name, Duration: slowdownDelay + last,
			With: plan.Settings{plan.SettingDelay: s.Delay.String()},
		})
	}
	d.plan.Phases = append(d.plan.Phases, l)
	if recovers {
		d.addLightPhase(l, "servers recover", 2*slowdownDelay)
	}
}

// addUnreachable makes servers unreachable from the start of the last phase on.
func (d *designer) addUnreachable(e *draft) {
	slices.Sort(e.unreachable)
	last := d.lastPhase()
	for _, host := range slices.Compact(e.unreachable) {
		d.addFaults(scenarios.Fault{
			Fault: plan.FaultBlackhole, Target: host, Phase: last.Name,
			Duration: last.EstimatedDuration(),
		})
	}
}

// How nginx's failure counts are reset: it reloads during a phase of a few requests.
const (
	resetPhaseTime = 2 * time.Second
	reloadTime     = resetPhaseTime / 8

	outageGap = 3 * time.Second // between outages of a server; nginx is slow on a busy machine
)

// resetFailureCounts adds a phase with a reload, which clears the failures of earlier phases, so that the balancer uses
// all servers in this one.
func (d *designer) resetFailureCounts(e *draft) {
	request, ok := check.BackendRequest(d.plan.Config)
	if !d.plan.Config.Dialect.ReloadResetsFailures() || !ok || !d.dependsOnFailureCounts(e) {
		return
	}
	relevant := []plan.Check{plan.CheckRestarts}
	if e.kind == plan.KindSaturation {
		relevant = append(relevant, plan.CheckConns) // to show that there were none to count
	}
	light := plan.Phase{
		Name: e.kind.Title(e.about), Timeout: scenarios.DefaultTimeout, Requests: []plan.Request{request}, Checks: relevant,
	}
	d.addLightPhase(light, "reset failure counts", resetPhaseTime)
	d.addReload(d.lastPhase().Name, reloadTime, reloadTime)
}

// dependsOnFailureCounts reports whether earlier failures would change what a draft shows.
func (d *designer) dependsOnFailureCounts(e *draft) bool {
	switch e.kind {
	case plan.KindSaturation, plan.KindFailures, plan.KindUnreachable, plan.KindBackups, plan.KindAllDown:
		return true
	}
	return len(e.outageGroups) > 0 && e.countsFailures(d.plan.Config)
}

// addOutages takes servers down and up again in the last phase.
func (d *designer) addOutages(e *draft) {
	last := d.lastPhase()
	d.addFaults(e.outages(d.plan.Config)...)
	if e.countsFailures(d.plan.Config) {
		d.resetBetweenOutages(last.Name, e.burstCycle())
	}
}

// resetBetweenOutages resets nginx's failure counts between two outages, if the outages of all pools coincide to
// within a duration: otherwise a worker that got its requests late would remember failures at the next outage.
func (d *designer) resetBetweenOutages(phase string, within time.Duration) {
	var times []time.Duration // of the first outage of each
	for _, f := range d.scenario.Faults {
		if f.Phase != phase || f.Fault != plan.FaultKill {
			continue
		}
		f = f.Adapted(d.plan.Config, f.Target)
		var mine []time.Duration
		for _, e := range f.Occurrences(plan.Event{}) {
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
		d.addReload(phase, at-outageGap, reloadTime)
	}
}

// addLightPhase adds a phase of a few requests before or after another one.
func (d *designer) addLightPhase(l plan.Phase, what string, duration time.Duration) {
	light := plan.Phase{
		Name: l.Name + ": " + what, Engine: plan.Goroutines, Concurrency: scenarios.DefaultMaxInFlight,
		Rate: lightRate, Count: int(lightRate * duration.Seconds()),
		Timeout: l.Timeout, Requests: l.Requests, Checks: l.Checks, ViaPeer: l.ViaPeer,
	}
	SpreadClients(d.plan.Config, &light)
	d.assignAddresses(&light)
	d.plan.Phases = append(d.plan.Phases, light)
}

// assignAddresses gives the clients of a phase addresses that no other phase uses.
func (d *designer) assignAddresses(l *plan.Phase) {
	if l.Clients.OwnAddresses {
		l.Clients.FirstAddress = d.nextAddress
		d.nextAddress = l.Clients.LastAddress() + 1
	}
}
