package traffic

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// SumPhases sums up the hits of each phase, in one pass and constant memory.
func SumPhases(h history.History) ([]report.Phase, error) {
	tallies := make([]phaseTally, len(h.Plan.Phases))
	for i := range tallies {
		tallies[i] = newPhaseTally(h.Plan.Phases[i])
	}
	for hit := range h.Hits {
		if hit.Phase < 0 || hit.Phase >= len(tallies) {
			return nil, fmt.Errorf("hit %d belongs to phase %d, of %d", hit.Seq, hit.Phase, len(tallies))
		}
		tallies[hit.Phase].add(hit)
	}
	if err := h.Err(); err != nil {
		return nil, fmt.Errorf("sum up the phases: %w", err)
	}
	var out []report.Phase
	fair := measureFairness(h)
	for i, t := range tallies {
		p := t.summary(h, i)
		p.Usage, p.Fairness = nodeUsage(h, i), fair[i]
		out = append(out, p)
	}
	return out, h.Err()
}

type phaseTally struct {
	planned        plan.Phase
	hits, errors   int
	servers        map[string]int
	latency, lag   *hdrhistogram.Histogram // microseconds
	handshake      *hdrhistogram.Histogram
	first, last    time.Duration
	conns, resumed int
	inFlight       phaseInFlight
	failures       map[string]report.Failure
	breaker        history.BreakingPoint
	dueBySecond    map[int]int // for a phase that may break: hits due in each second
}

// maxLatency is the largest latency that the histograms distinguish.
const maxLatency = time.Hour

func newPhaseTally(l plan.Phase) phaseTally {
	micros := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency.Microseconds(), 3) }
	return phaseTally{
		planned: l, servers: map[string]int{}, failures: map[string]report.Failure{}, dueBySecond: map[int]int{},
		latency: micros(), lag: micros(), handshake: micros(), breaker: history.BreakingPoint{Breaks: l.BreakLimits},
	}
}

func (t *phaseTally) add(hit history.Hit) {
	if t.hits == 0 || hit.Sent < t.first {
		t.first = hit.Sent
	}
	t.hits++
	t.last = max(t.last, hit.Done)
	if hit.Failed() {
		t.errors++
		t.fail(hit)
	}
	t.servers[check.ResponderOf(hit)]++
	_ = t.latency.RecordValue(min(hit.Done-hit.Due, maxLatency).Microseconds())
	_ = t.lag.RecordValue(min(senderLag(hit, t.planned), maxLatency).Microseconds())
	t.conns = max(t.conns, hit.Conn)
	t.inFlight.add(hit)
	if hit.HandshakeTime > 0 {
		_ = t.handshake.RecordValue(min(hit.HandshakeTime, maxLatency).Microseconds())
	}
	if hit.Resumed {
		t.resumed++
	}
	if t.planned.BreakLimits != (plan.BreakLimits{}) {
		t.breaker.Add(hit)
		t.dueBySecond[int(hit.Due/time.Second)]++
	}
}

// senderLag returns how late the load generator sent a hit through its own fault: not because all connections were
// busy, nor because the previous request of a burst was.
func senderLag(hit history.Hit, l plan.Phase) time.Duration {
	switch {
	case hit.InFlight >= l.Concurrency:
		return 0
	case l.BurstLen > 1:
		return max(0, hit.Sent-hit.Due-plan.BurstTimeout)
	}
	return hit.Sent - hit.Due
}

func (t *phaseTally) fail(hit history.Hit) {
	kind := string(hit.Err)
	if kind == "" {
		kind = strconv.Itoa(hit.Code)
	}
	f, known := t.failures[kind]
	if !known {
		f = report.Failure{Kind: kind, First: hit.Sent}
	}
	f.Count++
	f.First = min(f.First, hit.Sent)
	t.failures[kind] = f
}

// breakingRates returns how many requests were due in the second of the break (or in the one before, if it was cut
// short), and the most in any second before those.
func (t *phaseTally) breakingRates() (good, breaking int) {
	for second, n := range t.dueBySecond {
		switch {
		case t.breaker.Broken && second >= t.breaker.Second-1:
			breaking = max(breaking, n)
		default:
			good = max(good, n)
		}
	}
	return good, breaking
}

func (t *phaseTally) summary(h history.History, i int) report.Phase {
	micro := func(v int64) time.Duration { return time.Duration(v) * time.Microsecond }
	p := report.Phase{
		Name: t.planned.Name, Engine: t.planned.Engine, Hits: t.hits, Errors: t.errors,
		Servers: t.servers, Offered: t.planned.Rate,
		P50: micro(t.latency.ValueAtQuantile(50)), P99: micro(t.latency.ValueAtQuantile(99)), Max: micro(t.latency.Max()),
		LagP99: micro(t.lag.ValueAtQuantile(99)), Connections: t.conns,
		Handshakes: int(t.handshake.TotalCount()), Resumed: t.resumed,
		HandshakeP50: micro(t.handshake.ValueAtQuantile(50)), HandshakeP99: micro(t.handshake.ValueAtQuantile(99)),
	}
	if t.conns > 0 {
		p.RequestsPerConnection = float64(t.hits) / float64(t.conns)
	}
	if took := (t.last - t.first).Seconds(); took > 0 {
		p.Achieved = float64(t.hits) / took
	}
	if i < len(h.Env.Phases) {
		if took := (h.Env.Phases[i].End - h.Env.Phases[i].Start).Seconds(); took > 0 {
			p.CPU = h.Env.Phases[i].CPU.Seconds() / took
		}
	}
	if t.planned.Engine == plan.WebSocket {
		p.Reopened = max(0, t.conns-min(t.planned.Concurrency, t.planned.Count))
	}
	for _, f := range t.failures {
		p.Failures = append(p.Failures, f)
	}
	slices.SortFunc(p.Failures, func(a, b report.Failure) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Kind, b.Kind))
	})
	p.MaxGoodRate, p.BreakingRate = t.breakingRates()
	p.MaxInFlight, p.MaxInFlightOK = t.inFlight.peak, t.inFlight.succeeded.peak()
	p.FirstFailureInFlight = t.inFlight.all.minMarked()
	return p
}

// nodeUsage returns what each container used during a phase, from the last sample before it to the first after it.
func nodeUsage(h history.History, phase int) []report.Usage {
	if h.Samples == nil || phase >= len(h.Env.Phases) {
		return nil
	}
	var out []report.Usage
	for name, r := range samplesDuring(h, h.Env.Phases[phase]) {
		if r.to.At <= r.from.At {
			continue
		}
		u := r.usage(name)
		for _, spec := range h.Plan.Specs {
			if spec.Name == name {
				u.Limit = spec.CPUs
			}
		}
		out = append(out, u)
	}
	slices.SortFunc(out, func(a, b report.Usage) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// sampleRange is the first and the last sample of a node during a phase, and its largest memory.
type sampleRange struct {
	from, to history.Sample
	memory   int64
}

// samplesDuring returns the samples of each node during a phase, by its name.
func samplesDuring(h history.History, phase history.Phase) map[string]*sampleRange {
	ranges := map[string]*sampleRange{}
	for s := range h.Samples {
		r, known := ranges[s.Node]
		switch {
		case s.At <= phase.Start || !known:
			ranges[s.Node] = &sampleRange{from: s, to: s, memory: s.Memory}
		case r.to.At < phase.End:
			r.to, r.memory = s, max(r.memory, s.Memory)
		}
	}
	return ranges
}

func (r sampleRange) usage(node string) report.Usage {
	duration := (r.to.At - r.from.At).Seconds()
	return report.Usage{
		Node: node, CPU: max(0, r.to.CPU-r.from.CPU).Seconds() / duration,
		Throttled: min(1, max(0, r.to.Throttled-r.from.Throttled).Seconds()/duration), // the kernel sums over CPUs
		Memory:    r.memory,
		Received:  max(0, r.to.Received-r.from.Received),
		Sent:      max(0, r.to.Sent-r.from.Sent),
		Restarts:  r.to.Restarts - r.from.Restarts,
		Window:    r.to.At - r.from.At,
	}
}

// explainThrottling names the containers whose CPU limits slowed a phase down, or returns "".
func explainThrottling(h history.History, phase int) string {
	text := ""
	for _, u := range nodeUsage(h, phase) {
		if u.Limit > 0 && u.Throttled >= report.ThrottledShare {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%s was throttled %.0f %% of the time at its limit of %g cores",
				u.Node, 100*u.Throttled, u.Limit)
		}
	}
	return text
}
