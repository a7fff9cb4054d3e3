package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// bystanders are the kinds of promises that any traffic bears on.
var bystanders = []string{"once", "limits", "restarts", "drained", "backup"}

const (
	slowing    = 1200 * time.Millisecond // until servers are known to be slow
	besideRate = 20                      // requests per second meanwhile
)

// Setup is what experiments are designed for.
type Setup struct {
	CPUs      int               // that a balancer sees
	Balancers int               // with the same configuration; 0 is 1. The rate limits of each are asked.
	Checks    []string          // the kinds of promises to decide; empty is all
	Patient   bool              // deaths may take longer, so that those of every pool are enough
	Header    map[string]string // that requests carry, and without which what lbproof cannot read lets none through
}

// Design makes a plan of experiments that the promises of a configuration need. Trials that can share a phase do; what disturbs
// others comes after them, from addresses of its own.
func Design(name string, cfg model.Config, specs []plan.Spec, setup Setup) (plan.Plan, error) {
	only := setup.Checks
	if len(setup.Header) > 0 {
		cfg.Routes = checks.Opened(cfg.Routes)
	}
	s := Scenario{Name: name, File: cfg.Files[0].Name, Checks: only}
	p, err := s.stage(cfg, specs)
	if err != nil {
		return p, err
	}
	p.Carried = setup.Header
	if len(only) > 0 && len(p.Claims) > 0 && !slices.ContainsFunc(p.Claims, p.Decides) {
		return p, fmt.Errorf("%s makes no promise of the kind %s", s.File, strings.Join(only, " or "))
	}
	wanted := slices.DeleteFunc(slices.Clone(p.Claims), func(c plan.Claim) bool { return !p.Decides(c) })
	terms := checks.Terms{Alpha: p.Alpha, Beta: p.Beta, CPUs: setup.CPUs}
	d := designer{scenario: &s, plan: &p, peers: peers(&p, setup.Balancers)}
	all := experiments(cfg, wanted, checks.Trials(cfg, wanted, terms))
	if probes := checks.Probes(cfg, wanted); len(probes) > 0 {
		first := slices.IndexFunc(all, func(e *experiment) bool { return e.kind != checks.Kept }) // which wants new connections
		if first < 0 {
			first = len(all)
		}
		all = slices.Insert(all, first, probing(probes, p.Beta))
	}
	for i, e := range all {
		if e.most = deathsTake; setup.Patient {
			e.most = patientTake
		}
		e.begins = d.up()
		e.die(cfg, p.Beta)
		next := []checks.Slowed(nil)
		if i+1 < len(all) {
			next = all[i+1].slow
		}
		for _, f := range gone(cfg, e, "") {
			lengthen(&e.load, f.At+f.For+firstDeath)
		}
		for _, lasts := range e.move {
			lengthen(&e.load, lasts+2*firstMove)
		}
		for i, f := range ails(e.ail, "") {
			lengthen(&e.load, f.At+f.For+e.ail[i].After)
		}
		d.forget(e)
		if err := d.add(e.load, e.slow, next, e.checks...); err != nil {
			return p, err
		}
		if len(e.vanish) > 0 {
			d.vanish(e)
		}
		if len(e.kill) > 0 {
			d.kill(e)
		}
		for _, host := range slices.Sorted(maps.Keys(e.move)) {
			s.Faults = append(s.Faults, Fault{Fault: "move", Target: host, Phase: e.load.Name, At: firstMove, For: e.move[host]})
		}
		s.Faults = slices.Concat(s.Faults, ails(e.ail, e.load.Name), gone(cfg, e, e.load.Name))
		if e.reload > 0 {
			s.Faults = append(s.Faults, Fault{Fault: "reload", Target: balancer(&p).Name, Phase: e.load.Name, At: e.reload, For: time.Second, With: map[string]string{"change": "none"}})
		}
	}
	for _, l := range p.Phases {
		for i, r := range l.Requests {
			l.Requests[i] = checks.Carrying(r, setup.Header)
		}
	}
	correct(p.Phases)
	for i := range s.Faults {
		s.Faults[i].Designed = true
	}
	return p, s.events(&p)
}

// probing is the experiment for promises about every request.
func probing(probes []plan.Request, beta float64) *experiment {
	return &experiment{
		load: plan.Phase{
			Name: "probes", Count: stats.NeedToSee(0.01, 1-beta) * len(probes), Concurrency: probesInFlight, Requests: probes,
			Shows: []string{fmt.Sprintf("a promise about every request that %.0f %% of them break, with probability %g", 1., 1-beta)},
		},
		checks: []string{"answered", "headers", "endpoint", "weights"},
	}
}

// correct has phases of draws end only when what they know will stand the correction for so many tests.
func correct(loads []plan.Phase) {
	tested := 0 // by p-values
	for _, l := range loads {
		tested += len(l.Draws)
		if strings.HasPrefix(l.Name, checks.Busy) && len(l.Shows) > 0 {
			tested++
		}
	}
	for _, l := range loads {
		for i := range l.Draws {
			l.Draws[i].Alpha /= float64(max(1, tested))
		}
	}
}

// experiment is a phase in the making.
type experiment struct {
	kind   string
	load   plan.Phase
	slow   []checks.Slowed
	vanish []string
	kill   [][]string    // those of a pool
	most   time.Duration // that all deaths may take
	begins time.Duration // at the soonest, since the balancer runs
	gone   []string
	lasts  time.Duration // that those are dead, at least
	ail    []checks.Ailment
	move   map[string]time.Duration
	reload time.Duration
	checks []string
}

// experiments puts trials of the same kind into one phase, and the phases in order.
func experiments(cfg model.Config, claims []plan.Claim, trials map[string][]checks.Trial) []*experiment {
	var all []*experiment
	together := dyingTogether(cfg)
	for _, claim := range claims {
		for _, t := range trials[claim.ID] {
			i := slices.IndexFunc(all, func(e *experiment) bool { return e.kind == t.Kind && e.hasRoom(t) })
			if i < 0 {
				i = len(all)
				all = append(all, &experiment{kind: t.Kind, load: t.Load, slow: t.Slow, reload: t.Reload, move: map[string]time.Duration{}})
				all[i].load.Name, all[i].load.Requests = t.Kind, nil
				all[i].load.Draws, all[i].load.Count = nil, 0
				if parts := count(all[:i], t.Kind); parts > 0 { // which had no room
					all[i].load.Name += fmt.Sprintf(", part %d", parts+1)
				}
			}
			e := all[i]
			e.vanish = append(e.vanish, t.Vanish...)
			e.gone, e.lasts = append(e.gone, t.Gone...), max(e.lasts, t.Lasts)
			if !slices.ContainsFunc(t.Ail, func(a checks.Ailment) bool { return slices.Contains(e.ail, a) }) {
				e.ail = append(e.ail, t.Ail...)
			}
			known := func(host string) bool {
				return slices.ContainsFunc(e.kill, func(o []string) bool { return slices.Contains(o, host) || together.share(host, o) })
			}
			if len(t.Kill) > 0 && !slices.ContainsFunc(t.Kill, known) {
				e.kill = append(e.kill, t.Kill)
			}
			if t.Move != "" {
				e.move[t.Move] = max(e.move[t.Move], t.Moved)
			}
			e.join(t)
			if !slices.Contains(e.checks, claim.Check) {
				e.checks = append(e.checks, claim.Check)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *experiment) int {
		return cmp.Or(checks.Order(a.kind)-checks.Order(b.kind), min(len(a.slow), 1)-min(len(b.slow), 1))
	})
	return all
}

// count is how many experiments are of a kind.
func count(all []*experiment, kind string) (n int) {
	for _, e := range all {
		if e.kind == kind {
			n++
		}
	}
	return n
}

// pools are the numbers of those that have a server, by its host.
type pools map[string][]int

// dyingTogether are the pools whose deaths come all at once, which are nginx's.
func dyingTogether(cfg model.Config) pools {
	of := pools{}
	if cfg.Balancer != "nginx" {
		return of
	}
	for i, p := range cfg.Pools {
		for _, s := range p.Servers {
			of[s.Host] = append(of[s.Host], i)
		}
	}
	return of
}

// share says whether one of the pools has a server and one of others.
func (of pools) share(host string, others []string) bool {
	mine := of[host]
	return len(mine) > 0 && slices.ContainsFunc(others, func(other string) bool {
		return slices.ContainsFunc(of[other], func(i int) bool { return slices.Contains(mine, i) })
	})
}

// join has a trial take part: requests of all take turns, so that each gets as many as the one that needs most.
func (e *experiment) join(t checks.Trial) {
	switch {
	case t.Load.Engine == plan.Prober && strings.HasPrefix(t.Kind, checks.Counted): // which are sent in their order
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
			e.load.Clients = plan.Clients{Count: max(c.Count, len(e.load.Requests)), Addresses: true, Apart: max(c.Apart, e.load.Clients.Apart)}
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
func (e *experiment) hasRoom(t checks.Trial) bool {
	return !t.Apart || e.load.Rate+t.Load.Rate <= mostApart
}

// apart has a trial take part beside others, by clients of its own: request i is that of the client i modulo their number.
func (e *experiment) apart(t checks.Trial) {
	if len(e.load.Requests) > 0 {
		e.load.Rate += t.Load.Rate
		e.load.Clients.Count += t.Load.Clients.Count
		e.load.Concurrency = min(e.load.Concurrency, t.Load.Concurrency)
	}
	e.load.Requests = append(e.load.Requests, t.Load.Requests...)
	e.load.Count += t.Load.Count
	e.load.Shows = append(e.load.Shows, t.Shows)
	for values := t.Load.Keys.Values; len(values) > 1; values = values[1:] { // each client is to send more than one
		if e.load.Keys.Values = values; gcd(len(values), e.load.Clients.Count) == 1 {
			return
		}
	}
}

func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

// ask adds questions, each once: several claims may be about the same.
func (e *experiment) ask(t checks.Trial) {
	before, lasts := len(e.load.Requests), max(e.load.Takes(), t.Load.Takes())
	e.once(t)
	e.load.Timeout, e.load.Waits, e.load.Rate = max(e.load.Timeout, t.Load.Timeout), max(e.load.Waits, t.Load.Waits), max(e.load.Rate, t.Load.Rate)
	each := max(checks.Often, t.Load.Count/len(t.Load.Requests), e.load.Count/max(1, before))
	if e.load.Count = each * len(e.load.Requests); e.load.Open() {
		e.load.Count = max(e.load.Count, int(e.load.Rate*lasts.Seconds()))
	}
}

// once adds the requests of a trial that are not there yet.
func (e *experiment) once(t checks.Trial) {
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

// designer adds phases to a plan.
type designer struct {
	scenario *Scenario
	plan     *plan.Plan
	free     int      // the next address that no phase has
	peers    []string // of the balancer
}

// peers adds the balancers beyond the first to a plan's nodes, and names them.
func peers(p *plan.Plan, balancers int) (names []string) {
	i := slices.IndexFunc(p.Specs, func(spec plan.Spec) bool { return spec.Role == plan.Balancer })
	for n := 2; i >= 0 && n <= balancers; n++ {
		peer := p.Specs[i]
		short := fmt.Sprintf("%s-%d", plan.Short(peer.Name), n)
		peer.Name, peer.Role, peer.Hostname = plan.OwnName(short), plan.Peer, ""
		if called(p.Specs, short) < 0 {
			peer.Hostname = short
		}
		p.Specs = append(p.Specs, peer)
		names = append(names, peer.Name)
	}
	return names
}

// add writes a phase out: from clients that no limit refuses, unless the phase is about one, and while servers are slow, if it is to
// find them so. next are those of the phase after it: where they are others, these recover meanwhile.
func (d *designer) add(l plan.Phase, slow, next []checks.Slowed, about ...string) error {
	l.Timeout = or(l.Timeout, defaultTimeout)
	l.Checks = append(slices.Clone(about), bystanders...)
	if l.Engine == plan.Prober { // whose requests are made to be odd
		l.Checks = append(slices.Clone(about), "restarts")
	}
	slices.Sort(l.Checks)
	l.Checks = slices.Compact(l.Checks)
	switch {
	case checks.Order(l.Name) == checks.Order(checks.Deaths), l.Name == checks.Backups:
		l.Checks = slices.Concat(about, []string{"restarts", "backup"})
	case l.Name == checks.Forsaken:
		l.Checks = slices.Concat(about, []string{"restarts"})
	}
	if !slices.Contains(about, "limits") && l.Name != checks.Refused {
		checks.Spare(d.plan.Config, &l)
	}
	var err error
	if l.Engine != plan.Prober {
		protocol := map[plan.Engine]string{plan.Vegeta: "h2"}[l.Engine]
		if l.Engine, err = (Phase{Protocol: protocol}).engine(l); err != nil {
			return fmt.Errorf("design the phase %s: %w", l.Name, err)
		}
	}
	again := func(s checks.Slowed) bool {
		return slices.ContainsFunc(slow, func(o checks.Slowed) bool { return o.Host == s.Host })
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

// up is for how long the balancer has run at least, since it started or took its configuration over, when the phases so far are over.
func (d *designer) up() (lasts time.Duration) {
	for _, l := range d.plan.Phases {
		switch {
		case slices.ContainsFunc(d.scenario.Faults, func(f Fault) bool { return f.Fault == "reload" && f.Phase == l.Name }):
			lasts = 0
		case l.Open():
			lasts += l.Takes()
		}
	}
	return lasts
}

// die has the phase last until all servers that die are back, and clients enough send it.
func (e *experiment) die(cfg model.Config, beta float64) {
	all := e.deaths(cfg)
	dead := time.Duration(0) // all deaths of a pool together, the shortest
	for _, f := range all {
		if mine := time.Duration(or(f.Times, 1)) * f.For; dead == 0 || mine < dead {
			dead = mine
		}
	}
	if row := checks.InRow(cfg, e.load.Requests); len(all) > 0 && row > 1 && cfg.Balancer == "nginx" {
		asksOthers := func(host string) bool {
			return slices.ContainsFunc(e.load.Requests, func(r plan.Request) bool { return !asks(cfg, r, host) })
		}
		if aside, ok := checks.Aside(cfg); ok && slices.ContainsFunc(all, func(f Fault) bool { return !asksOthers(f.Target) }) {
			e.load.Requests = append(e.load.Requests, aside) // so that servers can die while nobody asks them
		}
		e.inRows(row, 1.2*float64(stats.NeedToSee(0.01, 1-beta))/dead.Seconds())
		all = e.deaths(cfg)
	}
	for _, f := range all {
		lengthen(&e.load, f.lasts(cfg, f.Target))
	}
	if row := max(1, e.load.InRow) * len(e.load.Requests); len(all) > 0 {
		e.load.Count -= e.load.Count % row
	}
}

// inRows has clients that a limit by address lets send a few requests at once send them one after another, on one connection, so
// that each asks one worker of nginx often enough to see what that makes of a dead server. They must not overtake each other: no more
// are sent per second than it takes to ask each pool as often as it needs (least, per second), and so that none waits long.
func (e *experiment) inRows(row int, least float64) {
	each := max(least, checks.LeastTurns*float64(row))
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

// betweenRows is a time, not before a given one, at which a row to the pools of a server has just been sent, and others' are being sent: a
// request that a server has taken when it dies is a failure that nginx counts and nobody else sees. Where there are no rows of others it is
// the given time.
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

// asks says whether a request goes to a pool that has a server.
func asks(cfg model.Config, r plan.Request, host string) bool {
	path, _, _ := strings.Cut(r.Path, "?")
	route, _ := cfg.Route(r.Port, r.Header["Host"], path)
	pool, _ := cfg.Pool(route.Pool)
	return slices.ContainsFunc(pool.Servers, func(s model.Server) bool { return s.Host == host })
}

// rowsRate is how many requests in rows are sent per second, at least.
const rowsRate = 30.

// rowClients is how many clients send rows, at least, so that every worker has some.
const rowClients = 32

// through is a phase, and the same through each peer from the same addresses, if it asks more than a limit allows.
func (d *designer) through(l plan.Phase) []plan.Phase {
	all := []plan.Phase{l}
	if checks.Order(l.Name) != checks.Order(checks.Overload) {
		return all
	}
	for _, peer := range d.peers {
		l.Name, l.Via = all[0].Name+" through "+peer, peer
		all = append(all, l)
	}
	return all
}

// slowed has servers become slow, which few requests find out, for as long as a phase lasts, and recover after it.
func (d *designer) slowed(l plan.Phase, slow []checks.Slowed, recovers bool) {
	d.beside(l, "its servers become slow", slowing)
	last := l.Takes()
	if !l.Open() {
		last = slowing
	}
	if d.plan.Config.Balancer == "nginx" && strings.HasPrefix(l.Name, checks.Crowd+" ") {
		last += slowing // on a busy machine; before the next crowd failures are forgotten, which takes longer
	}
	for _, s := range slow {
		d.scenario.Faults = append(d.scenario.Faults, Fault{
			Fault: "slow", Target: s.Host, Phase: d.plan.Phases[len(d.plan.Phases)-1].Name, For: slowing + last, With: map[string]string{"delay": s.Delay.String()},
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
	last := d.plan.Phases[len(d.plan.Phases)-1]
	for _, host := range slices.Compact(e.vanish) {
		d.scenario.Faults = append(d.scenario.Faults, Fault{Fault: "blackhole", Target: host, Phase: last.Name, For: last.Takes()})
	}
}

// How nginx is made to forget failures: it takes its configuration over in a phase of a few requests.
const (
	forgetting = 2 * time.Second
	takesOver  = forgetting / 8

	betweenDeaths = 3 * time.Second // of a server; on a busy machine nginx takes its time
)

// forget has nginx forget the failures that earlier phases had it count, so that it asks all servers in this one.
func (d *designer) forget(e *experiment) {
	request, ok := checks.Plain(d.plan.Config)
	crowd := strings.HasPrefix(e.kind, checks.Crowd+" ")
	counted := crowd || slices.Contains([]string{checks.Spoilt, checks.Vanished, checks.Backups, checks.Forsaken}, e.kind) || len(e.kill) > 0 && e.counts(d.plan.Config)
	if d.plan.Config.Balancer != "nginx" || !ok || !counted {
		return
	}
	bearsOn := []string{"restarts"}
	if crowd {
		bearsOn = append(bearsOn, "conns") // which is told that there were none to count
	}
	d.beside(plan.Phase{Name: e.kind, Timeout: defaultTimeout, Requests: []plan.Request{request}, Checks: bearsOn}, "failures are forgotten", forgetting)
	d.scenario.Faults = append(d.scenario.Faults, Fault{
		Fault: "reload", Target: balancer(d.plan).Name, Phase: d.plan.Phases[len(d.plan.Phases)-1].Name, At: takesOver, For: takesOver, With: map[string]string{"change": "none"},
	})
}

// firstMove is when servers move, since their phase began.
const firstMove = time.Second

// How servers die: when first, for how long at least, how far from the next death, how many deaths show something that happens at
// random times and at fixed ones, and how long they may take in all.
const (
	firstDeath   = time.Second
	deathLasts   = 5 * time.Second
	deathsApart  = time.Second
	randomDeaths = 10
	fixedDeaths  = checks.Often
	deathsTake   = 160 * time.Second
	patientTake  = 300 * time.Second
	spareDeaths  = 2 // where they may take so long, for some that show nothing
)

// kill has servers die and come back in the last phase.
func (d *designer) kill(e *experiment) {
	last := d.plan.Phases[len(d.plan.Phases)-1]
	d.scenario.Faults = append(d.scenario.Faults, e.deaths(d.plan.Config)...)
	if e.counts(d.plan.Config) {
		d.forgetBetween(last.Name, e.cycle())
	}
}

// counts says whether the experiment meets the count of failures that each worker of nginx has.
func (e *experiment) counts(cfg model.Config) bool {
	return e.load.InRow > 0 || checks.KeyedCount(cfg, e.load.Requests)
}

// deaths are those of an experiment's servers. Those of a pool that would take too long to be of use are left out, where others die.
func (e *experiment) deaths(cfg model.Config) (all []Fault) {
	var few []Fault
	for _, together := range e.kill {
		mine, times := e.deathsOf(cfg, together), 0
		for _, f := range mine {
			times += or(f.Times, 1)
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

// forgetBetween has nginx forget failures between two deaths, where those of all pools come at the same times, or within one: a worker that was
// asked late would remember them at the next one.
func (d *designer) forgetBetween(phase string, within time.Duration) {
	var times []time.Duration // of the first of each
	for _, f := range d.scenario.Faults {
		if f.Phase != phase || f.Fault != "kill" {
			continue
		}
		f = f.adapted(d.plan.Config, f.Target)
		var mine []time.Duration
		for _, e := range f.repeated(plan.Event{}) {
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
		d.scenario.Faults = append(d.scenario.Faults, Fault{
			Fault: "reload", Target: balancer(d.plan).Name, Phase: phase, At: at - betweenDeaths, For: takesOver, With: map[string]string{"change": "none"},
		})
	}
}

// gone has servers die all at once, after their first health check (see deathsOf).
func gone(cfg model.Config, e *experiment, phase string) (faults []Fault) {
	hosts := slices.Compact(slices.Sorted(slices.Values(e.gone)))
	at := firstDeath
	for _, p := range cfg.Pools {
		for _, s := range p.Servers {
			if s.Active != nil && slices.Contains(hosts, s.Host) {
				at = max(at, firstDeath+s.Active.Interval)
			}
		}
	}
	for _, host := range hosts {
		lasts := max(e.lasts, Fault{For: deathLasts}.adapted(cfg, host).For)
		faults = append(faults, Fault{Fault: "kill", Target: host, Phase: phase, At: at, For: lasts})
	}
	return faults
}

// ails has the health checks of servers answered late: of each server one time after another, with time to be back between.
func ails(all []checks.Ailment, phase string) (faults []Fault) {
	next := map[string]time.Duration{}
	for _, a := range all {
		at := max(firstDeath, next[a.Host])
		faults = append(faults, Fault{
			Fault: "sick", Target: a.Host, Phase: phase, At: at, For: a.Lasts, With: map[string]string{"status": "200", "delay": a.Delay.String()},
		})
		next[a.Host] = at + a.Lasts + a.After
	}
	return faults
}

// deathsOf are those of a pool's servers, by turns. None dies before its first health check: HAProxy takes a server out by a single failed one
// until one has succeeded (check.c: "up, but will fall down at first failure").
func (e *experiment) deathsOf(cfg model.Config, hosts []string) []Fault {
	every, need, checked := time.Duration(0), fixedDeaths, time.Duration(0)
	if e.most == patientTake {
		need += spareDeaths
	}
	soonest := time.Duration(0)
	for _, p := range cfg.Pools { // nginx comes back to a server after fail_timeout, whether it lives again by then or not
		for _, s := range p.Servers {
			if s.Passive != nil && s.Passive.Law == "nginx" && slices.Contains(hosts, s.Host) && (soonest == 0 || s.Passive.Out < soonest) {
				soonest = s.Passive.Out
			}
		}
	}
	lasts, between := max(deathLasts, soonest-deathsApart), time.Duration(0)
	if soonest > 0 {
		between = betweenDeaths + e.cycle()
	}
	for _, host := range hosts {
		f := Fault{For: lasts, Every: lasts + deathsApart, Adapt: true}
		every = max(every, f.adapted(cfg, host).Every+between)
		for _, p := range cfg.Pools {
			for _, s := range p.Servers {
				if s.Host != host || s.Active == nil {
					continue
				}
				if checked = max(checked, s.Active.Interval-e.begins); !checks.Paced(cfg, *s.Active) {
					need = randomDeaths
				}
			}
		}
	}
	if cycle := e.cycle(); cycle > 0 {
		every = (every + cycle - 1) / cycle * cycle
	}
	most := max(1, int(e.most/every)) // of one server
	if most*len(hosts) < need {       // too few to decide that; a few show the rest
		need = min(need, fixedDeaths)
	}
	var all []Fault
	for i, host := range hosts {
		times := min(most, (need+len(hosts)-1-i)/len(hosts)) // as many as it needs in all
		all = append(all, Fault{
			Fault: "kill", Target: host, Phase: e.load.Name, For: lasts, Every: every, Times: times, Adapt: true,
			At: e.betweenRows(cfg, host, firstDeath+checked+time.Duration(i)*every/time.Duration(len(hosts))),
		})
	}
	return all
}

// beside is a phase of a few requests before or after another one.
func (d *designer) beside(l plan.Phase, what string, lasts time.Duration) {
	few := plan.Phase{
		Name: l.Name + ": " + what, Engine: plan.Goroutines, Rate: besideRate, Count: int(besideRate * lasts.Seconds()), Concurrency: defaultInFlight,
		Timeout: l.Timeout, Requests: l.Requests, Checks: l.Checks, Via: l.Via,
	}
	checks.Spare(d.plan.Config, &few)
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
