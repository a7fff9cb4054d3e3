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

// draft is a phase under construction.
type draft struct {
	kind          plan.PhaseKind
	about         string // see check.Requirement
	phase         plan.Phase
	slow          []check.SlowServer
	unreachable   []string
	outageGroups  [][]string    // hosts by pool
	outageBudget  time.Duration // total time of all outages
	earliestStart time.Duration // since the balancer started or reloaded
	allDown       []string
	allDownFor    time.Duration // minimum duration
	slowChecks    []check.LateHealthChecks
	moves         map[string]time.Duration
	reloadAt      time.Duration
	checks        []plan.Check
}

// merge adds the requests of a requirement. The requests of all requirements alternate, so each is sent as often as the
// most demanding requirement needs.
func (e *draft) merge(t check.Requirement) {
	switch {
	case t.Phase.Engine == plan.Prober && t.Kind == plan.KindCounters: // its requests are sent in order
		e.phase.Requests, e.phase.Count, e.phase.Detects = t.Phase.Requests, t.Phase.Count, []string{t.Detects}
		return
	case t.Phase.Engine == plan.Prober:
		e.mergeProbes(t)
		return
	case t.Isolated:
		e.mergeIsolated(t)
		return
	case len(t.Outages) > 0, len(t.AllDown) > 0, len(t.LateChecks) > 0, t.MovedHost != "":
		// One is enough for all claims of a pool.
		each := t.Phase.Rate // requests per second to each pool
		if before := len(e.phase.Requests); before > 0 {
			each = min(each, e.phase.Rate/float64(before))
		}
		e.addRequests(t)
		if c := t.Phase.Clients; c.Count > 0 { // one per request, or as many as needed
			e.phase.Clients = plan.Clients{
				Count: max(c.Count, len(e.phase.Requests)), OwnAddresses: true,
				AddressStep: max(c.AddressStep, e.phase.Clients.AddressStep),
			}
		}
		e.phase.Rate = each * float64(len(e.phase.Requests))
		e.phase.Count = len(e.phase.Requests)
		return
	}
	before := max(1, len(e.phase.Requests))
	each := max((e.phase.Count+before-1)/before, (t.Phase.Count+len(t.Phase.Requests)-1)/len(t.Phase.Requests))
	e.phase.Requests = append(e.phase.Requests, t.Phase.Requests...)
	e.phase.Count = each * len(e.phase.Requests)
	e.phase.StopRules = append(e.phase.StopRules, t.Phase.StopRules...)
	e.phase.Detects = append(e.phase.Detects, t.Detects)
}

// maxIsolatedRate is the maximum rate of isolated requirements in one phase, in requests per second.
const maxIsolatedRate = 500

// hasRoomFor reports whether a requirement can share the phase with those in it.
func (e *draft) hasRoomFor(t check.Requirement) bool {
	return !t.Isolated || e.phase.Rate+t.Phase.Rate <= maxIsolatedRate
}

// mergeIsolated adds a requirement with clients of its own: request i belongs to client i modulo their number.
func (e *draft) mergeIsolated(t check.Requirement) {
	if len(e.phase.Requests) > 0 {
		e.phase.Rate += t.Phase.Rate
		e.phase.Clients.Count += t.Phase.Clients.Count
		e.phase.Concurrency = min(e.phase.Concurrency, t.Phase.Concurrency)
	}
	e.phase.Requests = append(e.phase.Requests, t.Phase.Requests...)
	e.phase.Count += t.Phase.Count
	e.phase.Detects = append(e.phase.Detects, t.Detects)
	for values := t.Phase.Keys.Values; len(values) > 1; values = values[1:] { // each client must send more than one key
		if e.phase.Keys.Values = values; stats.GCD(len(values), e.phase.Clients.Count) == 1 {
			return
		}
	}
}

// mergeProbes adds single requests, each once: several claims may need the same.
func (e *draft) mergeProbes(t check.Requirement) {
	before, duration := len(e.phase.Requests), max(e.phase.EstimatedDuration(), t.Phase.EstimatedDuration())
	e.addRequests(t)
	e.phase.Timeout = max(e.phase.Timeout, t.Phase.Timeout)
	e.phase.MaxWait = max(e.phase.MaxWait, t.Phase.MaxWait)
	e.phase.Rate = max(e.phase.Rate, t.Phase.Rate)
	each := max(check.Repetitions, t.Phase.Count/len(t.Phase.Requests), e.phase.Count/max(1, before))
	if e.phase.Count = each * len(e.phase.Requests); e.phase.IsOpenLoop() {
		e.phase.Count = max(e.phase.Count, int(e.phase.Rate*duration.Seconds()))
	}
}

// addRequests adds the requests of a requirement that are still missing.
func (e *draft) addRequests(t check.Requirement) {
	for _, r := range t.Phase.Requests {
		same := func(o plan.Request) bool {
			o.Claim = r.Claim
			return o.Path == r.Path && o.Header["Host"] == r.Header["Host"] && reflect.DeepEqual(o, r)
		}
		if !slices.ContainsFunc(e.phase.Requests, same) {
			e.phase.Requests = append(e.phase.Requests, r)
		}
	}
	if !slices.Contains(e.phase.Detects, t.Detects) {
		e.phase.Detects = append(e.phase.Detects, t.Detects)
	}
}

// scheduleOutages extends the phase until all servers are up again, with enough clients.
func (e *draft) scheduleOutages(cfg model.Config, beta float64) {
	all := e.outages(cfg)
	downTime := time.Duration(0) // total outage time of a pool, the shortest
	for _, f := range all {
		if mine := time.Duration(cmp.Or(f.Times, 1)) * f.Duration; downTime == 0 || mine < downTime {
			downTime = mine
		}
	}
	if burst := burstLen(cfg, e.phase.Requests); len(all) > 0 && burst > 1 && cfg.Dialect.PinsConnections {
		e.addLocalRequest(cfg, all)
		e.sendInBursts(burst, 1.2*float64(stats.SamplesToDetect(0.01, 1-beta))/downTime.Seconds())
		all = e.outages(cfg)
	}
	for _, f := range all {
		scenarios.ExtendPhase(&e.phase, f.RecoveredAt(cfg, f.Target))
	}
	if burst := max(1, e.phase.BurstLen) * len(e.phase.Requests); len(all) > 0 {
		e.phase.Count -= e.phase.Count % burst
	}
}

// addLocalRequest adds a request that reaches no pool if otherwise all requests could reach one of the servers, so
// that its outage can begin while it gets none.
func (e *draft) addLocalRequest(cfg model.Config, outages []scenarios.Fault) {
	reachesAll := func(f scenarios.Fault) bool {
		return !slices.ContainsFunc(e.phase.Requests, func(r plan.Request) bool { return !goesToHost(cfg, r, f.Target) })
	}
	if local, ok := check.LocalRequest(cfg); ok && slices.ContainsFunc(outages, reachesAll) {
		e.phase.Requests = append(e.phase.Requests, local)
	}
}

// extendForFaults extends the phase until its other faults are over, and known to be.
func (e *draft) extendForFaults(cfg model.Config) {
	for _, f := range allDownFaults(cfg, e, "") {
		scenarios.ExtendPhase(&e.phase, f.At+f.Duration+firstOutageAt)
	}
	for _, duration := range e.moves {
		scenarios.ExtendPhase(&e.phase, duration+2*firstMoveAt)
	}
	for i, f := range slowCheckFaults(e.slowChecks, "") {
		scenarios.ExtendPhase(&e.phase, f.At+f.Duration+e.slowChecks[i].RecoverWithin)
	}
}

// sendInBursts makes each client send bursts on one connection, so that each nginx worker gets enough requests to count
// failures. Bursts must not overtake each other: the rate is as high as each pool needs (least, requests per second),
// and never so high that a burst waits long.
func (e *draft) sendInBursts(burst int, least float64) {
	each := max(least, minPoolRate*float64(burst))
	e.phase.Rate = min(e.phase.Rate, max(burstRate, each*float64(len(e.phase.Requests))))
	e.phase.BurstLen = burst
	e.phase.Clients.Count = max(e.phase.Clients.Count, burstClients)
}

// burstCycle returns the time until bursts start over with the first request; 0 without bursts.
func (e *draft) burstCycle() time.Duration {
	return time.Duration(len(e.phase.Requests)) * e.burstTime()
}

// burstTime returns how long it takes to send one burst; 0 without bursts.
func (e *draft) burstTime() time.Duration {
	if e.phase.BurstLen == 0 {
		return 0
	}
	return time.Duration(float64(e.phase.BurstLen) / e.phase.Rate * float64(time.Second))
}

// betweenBursts returns a time, not before at, just after a burst to the pools of a server, while bursts to others
// are sent: a request in flight when the server goes down would be a failure that only nginx sees. Without bursts to
// others it returns at.
func (e *draft) betweenBursts(cfg model.Config, host string, at time.Duration) time.Duration {
	mine := func(i int) bool { return goesToHost(cfg, e.phase.Requests[i%len(e.phase.Requests)], host) }
	burst := e.burstTime()
	if burst == 0 {
		return at
	}
	first := int(at / burst)
	for i := first + 1; i <= first+len(e.phase.Requests); i++ {
		if mine(i-1) && !mine(i) {
			return time.Duration(i)*burst + burst/8
		}
	}
	return at
}

// countsFailures reports whether the phase reaches the failure count of each nginx worker.
func (e *draft) countsFailures(cfg model.Config) bool {
	return e.phase.BurstLen > 0 || hasKeyedFailureCount(cfg, e.phase.Requests)
}

// outages returns the outages of the servers. Pools that would take too long to be conclusive are left out if others
// are not.
func (e *draft) outages(cfg model.Config) (all []scenarios.Fault) {
	var few []scenarios.Fault
	for _, group := range e.outageGroups {
		mine, times := e.groupOutages(cfg, group), 0
		for _, f := range mine {
			times += cmp.Or(f.Times, 1)
		}
		if times < fixedOutages {
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

// groupOutages returns the outages of a pool's servers, in turn. None begins before the server's first health check:
// HAProxy ejects a server after a single failed check until one has succeeded (check.c: "up, but will fall down at
// first failure").
func (e *draft) groupOutages(cfg model.Config, hosts []string) (all []scenarios.Fault) {
	duration, every := e.outageTiming(cfg, hosts)
	checked, need := e.checkTiming(cfg, hosts)
	most := max(1, int(e.outageBudget/every)) // per server
	if most*len(hosts) < need {               // too few to decide that; a few are enough for the rest
		need = min(need, fixedOutages)
	}
	for i, host := range hosts {
		turn := time.Duration(i) * every / time.Duration(len(hosts))
		all = append(all, scenarios.Fault{
			Fault: plan.FaultKill, Target: host, Phase: e.phase.Name, Duration: duration, Every: every, Adapt: true,
			Times: min(most, (need+len(hosts)-1-i)/len(hosts)), // as many as needed in total
			At:    e.betweenBursts(cfg, host, firstOutageAt+checked+turn),
		})
	}
	return all
}

// outageTiming returns how long each outage lasts, and the time between the starts of a server's outages.
func (e *draft) outageTiming(cfg model.Config, hosts []string) (duration, every time.Duration) {
	soonest := earliestRetry(cfg, hosts)
	duration, between := max(minOutage, soonest-outageSpacing), time.Duration(0)
	if soonest > 0 {
		between = outageGap + e.burstCycle()
	}
	for _, host := range hosts {
		f := scenarios.Fault{Duration: duration, Every: duration + outageSpacing, Adapt: true}
		every = max(every, f.Adapted(cfg, host).Every+between)
	}
	if cycle := e.burstCycle(); cycle > 0 {
		every = (every + cycle - 1) / cycle * cycle
	}
	return duration, every
}

// earliestRetry returns how soon the first of the servers is retried after its ejection by failures that add up in a
// window, whether it is up by then or not; 0 if no server is ejected that way.
func earliestRetry(cfg model.Config, hosts []string) (soonest time.Duration) {
	for _, p := range cfg.Pools {
		for _, s := range p.Servers {
			if s.Ejection == nil || s.Ejection.Rule != model.FailuresInWindow || !slices.Contains(hosts, s.Host) {
				continue
			}
			if soonest == 0 || s.Ejection.Duration < soonest {
				soonest = s.Ejection.Duration
			}
		}
	}
	return soonest
}

// checkTiming returns the time from the start of the phase until each server has had a health check, and how many
// outages show how long checks take to detect one.
func (e *draft) checkTiming(cfg model.Config, hosts []string) (by time.Duration, need int) {
	need = fixedOutages
	if e.outageBudget == extendedOutageBudget {
		need += spareOutages
	}
	for _, p := range cfg.Pools {
		for _, s := range p.Servers {
			if s.HealthCheck == nil || !slices.Contains(hosts, s.Host) {
				continue
			}
			if by = max(by, s.HealthCheck.Interval-e.earliestStart); !check.HasCountableChecks(*s.HealthCheck) {
				need = randomOutages
			}
		}
	}
	return by, need
}
