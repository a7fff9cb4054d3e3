package experiments

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// experiment is a phase in the making.
type experiment struct {
	kind   plan.Kind
	about  string // see check.Trial
	load   plan.Phase
	slow   []check.Slowed
	vanish []string
	kill   [][]string    // those of a pool
	most   time.Duration // that all deaths may take
	begins time.Duration // at the soonest, since the balancer runs
	gone   []string
	lasts  time.Duration // that those are dead, at least
	ail    []check.Ailment
	move   map[string]time.Duration
	reload time.Duration
	checks []plan.Check
}

// join has a trial take part: requests of all take turns, so that each gets as many as the one that needs most.
func (e *experiment) join(t check.Trial) {
	switch {
	case t.Load.Engine == plan.Prober && t.Kind == plan.KindCounters: // which are sent in their order
		e.load.Requests, e.load.Count, e.load.Shows = t.Load.Requests, t.Load.Count, []string{t.Shows}
		return
	case t.Load.Engine == plan.Prober:
		e.ask(t)
		return
	case t.Apart:
		e.apart(t)
		return
	case len(t.Kill) > 0, len(t.Gone) > 0, len(t.Ail) > 0, t.Move != "": // claims of the same pool need no more than one
		each := t.Load.Rate // requests per second to each pool
		if before := len(e.load.Requests); before > 0 {
			each = min(each, e.load.Rate/float64(before))
		}
		e.once(t)
		if c := t.Load.Clients; c.Count > 0 { // one for each request, or as many as it needs
			e.load.Clients = plan.Clients{
				Count: max(c.Count, len(e.load.Requests)), Addresses: true, Apart: max(c.Apart, e.load.Clients.Apart),
			}
		}
		e.load.Rate = each * float64(len(e.load.Requests))
		e.load.Count = len(e.load.Requests)
		return
	}
	before := max(1, len(e.load.Requests))
	each := max((e.load.Count+before-1)/before, (t.Load.Count+len(t.Load.Requests)-1)/len(t.Load.Requests))
	e.load.Requests = append(e.load.Requests, t.Load.Requests...)
	e.load.Count = each * len(e.load.Requests)
	e.load.Draws = append(e.load.Draws, t.Load.Draws...)
	e.load.Shows = append(e.load.Shows, t.Shows)
}

// mostApart is how many requests per second trials send that have clients of their own, in one phase.
const mostApart = 500

// hasRoom says whether a trial can share the phase with those that are in it.
func (e *experiment) hasRoom(t check.Trial) bool {
	return !t.Apart || e.load.Rate+t.Load.Rate <= mostApart
}

// apart has a trial take part beside others, by clients of its own: request i is that of the client i modulo their
// number.
func (e *experiment) apart(t check.Trial) {
	if len(e.load.Requests) > 0 {
		e.load.Rate += t.Load.Rate
		e.load.Clients.Count += t.Load.Clients.Count
		e.load.Concurrency = min(e.load.Concurrency, t.Load.Concurrency)
	}
	e.load.Requests = append(e.load.Requests, t.Load.Requests...)
	e.load.Count += t.Load.Count
	e.load.Shows = append(e.load.Shows, t.Shows)
	for values := t.Load.Keys.Values; len(values) > 1; values = values[1:] { // each client is to send more than one
		if e.load.Keys.Values = values; stats.GCD(len(values), e.load.Clients.Count) == 1 {
			return
		}
	}
}

// ask adds questions, each once: several claims may be about the same.
func (e *experiment) ask(t check.Trial) {
	before, lasts := len(e.load.Requests), max(e.load.Takes(), t.Load.Takes())
	e.once(t)
	e.load.Timeout = max(e.load.Timeout, t.Load.Timeout)
	e.load.Waits = max(e.load.Waits, t.Load.Waits)
	e.load.Rate = max(e.load.Rate, t.Load.Rate)
	each := max(check.Often, t.Load.Count/len(t.Load.Requests), e.load.Count/max(1, before))
	if e.load.Count = each * len(e.load.Requests); e.load.Open() {
		e.load.Count = max(e.load.Count, int(e.load.Rate*lasts.Seconds()))
	}
}

// once adds the requests of a trial that are not there yet.
func (e *experiment) once(t check.Trial) {
	for _, r := range t.Load.Requests {
		same := func(o plan.Request) bool {
			o.Claim = r.Claim
			return o.Path == r.Path && o.Header["Host"] == r.Header["Host"] && reflect.DeepEqual(o, r)
		}
		if !slices.ContainsFunc(e.load.Requests, same) {
			e.load.Requests = append(e.load.Requests, r)
		}
	}
	if !slices.Contains(e.load.Shows, t.Shows) {
		e.load.Shows = append(e.load.Shows, t.Shows)
	}
}

// die has the phase last until all servers that die are back, and clients enough send it.
func (e *experiment) die(cfg model.Config, beta float64) {
	all := e.deaths(cfg)
	dead := time.Duration(0) // all deaths of a pool together, the shortest
	for _, f := range all {
		if mine := time.Duration(cmp.Or(f.Times, 1)) * f.For; dead == 0 || mine < dead {
			dead = mine
		}
	}
	if row := InRow(cfg, e.load.Requests); len(all) > 0 && row > 1 && cfg.Dialect.Sticks {
		e.askAside(cfg, all)
		e.inRows(row, 1.2*float64(stats.NeedToSee(0.01, 1-beta))/dead.Seconds())
		all = e.deaths(cfg)
	}
	for _, f := range all {
		scenarios.Lengthen(&e.load, f.Lasts(cfg, f.Target))
	}
	if row := max(1, e.load.InRow) * len(e.load.Requests); len(all) > 0 {
		e.load.Count -= e.load.Count % row
	}
}

// askAside adds a request that no pool gets, where one of the servers would be asked by all, so that it can die while
// nobody asks it.
func (e *experiment) askAside(cfg model.Config, deaths []scenarios.Fault) {
	asksAll := func(f scenarios.Fault) bool {
		return !slices.ContainsFunc(e.load.Requests, func(r plan.Request) bool { return !asks(cfg, r, f.Target) })
	}
	if aside, ok := check.Aside(cfg); ok && slices.ContainsFunc(deaths, asksAll) {
		e.load.Requests = append(e.load.Requests, aside)
	}
}

// outlast has the phase last until its other faults are over, too, and known to be.
func (e *experiment) outlast(cfg model.Config) {
	for _, f := range gone(cfg, e, "") {
		scenarios.Lengthen(&e.load, f.At+f.For+firstDeath)
	}
	for _, lasts := range e.move {
		scenarios.Lengthen(&e.load, lasts+2*firstMove)
	}
	for i, f := range ails(e.ail, "") {
		scenarios.Lengthen(&e.load, f.At+f.For+e.ail[i].After)
	}
}

// inRows has clients that a limit by address lets send a few requests at once send them one after another, on one
// connection, so that each asks one worker of nginx often enough to see what that makes of a dead server. They must not
// overtake each other: no more are sent per second than it takes to ask each pool as often as it needs (least, per
// second), and so that none waits long.
func (e *experiment) inRows(row int, least float64) {
	each := max(least, LeastTurns*float64(row))
	e.load.Rate = min(e.load.Rate, max(rowsRate, each*float64(len(e.load.Requests))))
	e.load.InRow = row
	e.load.Clients.Count = max(e.load.Clients.Count, rowClients)
}

// cycle is how long it takes until requests in rows begin anew with the first row; 0 where there are no rows.
func (e *experiment) cycle() time.Duration {
	return time.Duration(len(e.load.Requests)) * e.row()
}

// row is how long one row is being sent; 0 where there are none.
func (e *experiment) row() time.Duration {
	if e.load.InRow == 0 {
		return 0
	}
	return time.Duration(float64(e.load.InRow) / e.load.Rate * float64(time.Second))
}

// betweenRows is a time, not before a given one, at which a row to the pools of a server has just been sent, and
// others' are being sent: a request that a server has taken when it dies is a failure that nginx counts and nobody else
// sees. Where there are no rows of others it is the given time.
func (e *experiment) betweenRows(cfg model.Config, host string, at time.Duration) time.Duration {
	mine := func(i int) bool { return asks(cfg, e.load.Requests[i%len(e.load.Requests)], host) }
	row := e.row()
	if row == 0 {
		return at
	}
	first := int(at / row)
	for i := first + 1; i <= first+len(e.load.Requests); i++ {
		if mine(i-1) && !mine(i) {
			return time.Duration(i)*row + row/8
		}
	}
	return at
}

// counts says whether the experiment meets the count of failures that each worker of nginx has.
func (e *experiment) counts(cfg model.Config) bool {
	return e.load.InRow > 0 || KeyedCount(cfg, e.load.Requests)
}

// deaths are those of an experiment's servers. Those of a pool that would take too long to be of use are left out,
// where others die.
func (e *experiment) deaths(cfg model.Config) (all []scenarios.Fault) {
	var few []scenarios.Fault
	for _, together := range e.kill {
		mine, times := e.deathsOf(cfg, together), 0
		for _, f := range mine {
			times += cmp.Or(f.Times, 1)
		}
		if times < fixedDeaths {
			few = append(few, mine...)
			continue
		}
		all = append(all, mine...)
	}
	if len(all) == 0 {
		return few
	}
	return all
}

// deathsOf are those of a pool's servers, by turns. None dies before its first health check: HAProxy takes a server out
// by a single failed one until one has succeeded (check.c: "up, but will fall down at first failure").
func (e *experiment) deathsOf(cfg model.Config, hosts []string) (all []scenarios.Fault) {
	lasts, every := e.rhythm(cfg, hosts)
	checked, need := e.checked(cfg, hosts)
	most := max(1, int(e.most/every)) // of one server
	if most*len(hosts) < need {       // too few to decide that; a few show the rest
		need = min(need, fixedDeaths)
	}
	for i, host := range hosts {
		turn := time.Duration(i) * every / time.Duration(len(hosts))
		all = append(all, scenarios.Fault{
			Fault: plan.FaultKill, Target: host, Phase: e.load.Name, For: lasts, Every: every, Adapt: true,
			Times: min(most, (need+len(hosts)-1-i)/len(hosts)), // as many as it needs in all
			At:    e.betweenRows(cfg, host, firstDeath+checked+turn),
		})
	}
	return all
}

// rhythm is how long each of the servers is dead, and how far apart the beginnings of its deaths are.
func (e *experiment) rhythm(cfg model.Config, hosts []string) (lasts, every time.Duration) {
	soonest := triedAfter(cfg, hosts)
	lasts, between := max(deathLasts, soonest-deathsApart), time.Duration(0)
	if soonest > 0 {
		between = betweenDeaths + e.cycle()
	}
	for _, host := range hosts {
		f := scenarios.Fault{For: lasts, Every: lasts + deathsApart, Adapt: true}
		every = max(every, f.Adapted(cfg, host).Every+between)
	}
	if cycle := e.cycle(); cycle > 0 {
		every = (every + cycle - 1) / cycle * cycle
	}
	return lasts, every
}

// triedAfter is how soon the first of the servers is tried again after it was taken out by failures that add up in a
// window: whether it lives again by then or not. It is 0 where none is taken out like that.
func triedAfter(cfg model.Config, hosts []string) (soonest time.Duration) {
	for _, p := range cfg.Pools {
		for _, s := range p.Servers {
			if s.Ejection == nil || s.Ejection.Law != model.FailuresInWindow || !slices.Contains(hosts, s.Host) {
				continue
			}
			if soonest == 0 || s.Ejection.Out < soonest {
				soonest = s.Ejection.Out
			}
		}
	}
	return soonest
}

// checked is how long it takes, since the phase began, until each of the servers has had a health check, and how many
// deaths show how long checks take to find one.
func (e *experiment) checked(cfg model.Config, hosts []string) (by time.Duration, need int) {
	need = fixedDeaths
	if e.most == patientTake {
		need += spareDeaths
	}
	for _, p := range cfg.Pools {
		for _, s := range p.Servers {
			if s.Active == nil || !slices.Contains(hosts, s.Host) {
				continue
			}
			if by = max(by, s.Active.Interval-e.begins); !check.Paced(*s.Active) {
				need = randomDeaths
			}
		}
	}
	return by, need
}
