package scenarios

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Rate is the rate of an open loop: a number of requests per second, or one of the shapes.
type Rate struct {
	Constant float64 `yaml:"-"`
	Poisson  float64 `yaml:"poisson"`
	Ramp     *Span   `yaml:"ramp"`
	Steps    []Step  `yaml:"steps"`
	Spike    *Spike  `yaml:"spike"`
	Sine     *Sine   `yaml:"sine"`
	Bursts   *Bursts `yaml:"bursts"`
	Replay   string  `yaml:"replay"` // file with a time in seconds per line
	times    []time.Duration
}

// Span is a linear change of the rate.
type Span struct {
	From float64 `yaml:"from"`
	To   float64 `yaml:"to"`
}

// Step is a stretch with a constant rate.
type Step struct {
	Rate     float64       `yaml:"rate"`
	Duration time.Duration `yaml:"for"`
}

// Spike is a base rate with a temporary peak.
type Spike struct {
	Base     float64       `yaml:"base"`
	Peak     float64       `yaml:"peak"`
	At       time.Duration `yaml:"at"`
	Duration time.Duration `yaml:"for"`
}

// Sine oscillates between two rates.
type Sine struct {
	Low    float64       `yaml:"low"`
	High   float64       `yaml:"high"`
	Period time.Duration `yaml:"period"`
}

// Bursts are Size requests at once, every Every.
type Bursts struct {
	Size  int           `yaml:"size"`
	Every time.Duration `yaml:"every"`
}

// UnmarshalYAML reads a number as a constant rate.
func (r *Rate) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return node.Decode(&r.Constant)
	}
	type shapes Rate // without this method
	return node.Decode((*shapes)(r))
}

// isOpenLoop reports whether there is a rate.
func (r Rate) isOpenLoop() bool { return r.Constant > 0 || r.hasShape() }

func (r Rate) hasShape() bool {
	changes := r.Ramp != nil || r.Spike != nil || r.Sine != nil
	uneven := r.Poisson > 0 || r.Bursts != nil
	return changes || uneven || r.hasOwnDuration()
}

// hasOwnDuration reports whether the shape determines the duration.
func (r Rate) hasOwnDuration() bool { return r.Steps != nil || r.Replay != "" }

// readReplayTimes reads the times of a replay, relative to the first.
func readReplayTimes(text []byte) ([]time.Duration, error) {
	var times []time.Duration
	scanner := bufio.NewScanner(bytes.NewReader(text))
	for line := 1; scanner.Scan(); line++ {
		field := strings.TrimSpace(scanner.Text())
		if field == "" || field[0] == '#' {
			continue
		}
		at, err := strconv.ParseFloat(field, 64)
		if err != nil || math.IsNaN(at) || math.IsInf(at, 0) {
			return nil, fmt.Errorf("%d: %q is not a time; write seconds, e.g. 0.25", line, field)
		}
		times = append(times, time.Duration(at*float64(time.Second)))
		if n := len(times); n > 1 && times[n-1] < times[n-2] {
			return nil, fmt.Errorf("%d: %s is before the previous time; sort the lines", line, field)
		}
	}
	if len(times) < 2 || times[0] == times[len(times)-1] {
		return nil, fmt.Errorf("1: too few times; a replay needs at least two different ones")
	}
	first := times[0]
	for i := range times {
		times[i] -= first
	}
	return times, nil
}

// phase returns the plan of a phase.
func (s Scenario) phase(p Phase, cfg model.Config) (plan.Phase, error) {
	wrong := func(format string, args ...any) (plan.Phase, error) {
		return plan.Phase{}, fmt.Errorf("%s:%d: phase %q: %s", s.File, p.Line, p.Name, fmt.Sprintf(format, args...))
	}
	l := p.withoutTraffic()
	l.Seed = s.Seed
	for _, r := range interleave(p.Send) {
		aimed := aimAtBackend(cfg, plan.Request{
			Method: cmp.Or(r.Method, "GET"), Port: r.Port, Path: r.Path,
			Header: r.Headers, Body: model.Bytes(r.Body),
		})
		if p.Verify && !aimed.TLS {
			return wrong("verify needs TLS; %s goes to port %d, which has none", aimed.Path, aimed.Port)
		}
		if p.Verify {
			setCertifiedHost(cfg, &aimed)
		}
		l.Requests = append(l.Requests, aimed)
	}
	l.BreakLimits.P99 = p.BreakLimits.P99
	if p.BreakLimits.Errors != "" {
		percent, _ := strconv.ParseFloat(strings.TrimSuffix(p.BreakLimits.Errors, "%"), 64) // the schema guarantees it
		l.BreakLimits.ErrorShare = percent / 100
	}
	if p.Rate.isOpenLoop() {
		if err := p.Rate.applyTo(&l, p.Duration); err != nil {
			return wrong("%s", err)
		}
	}
	var err error
	if l.Engine, err = p.ChooseEngine(l); err == nil {
		err = p.checkConsistent(l)
	}
	if err != nil {
		return wrong("%s", err)
	}
	return l, nil
}

// withoutTraffic returns the phase without its requests, rate and engine.
func (p Phase) withoutTraffic() plan.Phase {
	l := plan.Phase{
		Name: p.Name, Count: p.Requests, Concurrency: cmp.Or(p.Concurrency, DefaultMaxInFlight),
		ThinkTime: p.ThinkTime, Timeout: cmp.Or(p.Timeout, DefaultTimeout),
		NewConnections: p.NewConnections, FullHandshakes: p.FullHandshakes, Verify: p.Verify, PreciseTiming: p.PreciseTiming,
		Clients: plan.Clients{Count: p.Clients.Count, OwnAddresses: p.Clients.Addresses, Cookies: p.Clients.Cookies},
		Keys:    plan.Keys{Header: p.Keys.Header, Cookie: p.Keys.Cookie, Values: p.Keys.Values, Zipf: p.Keys.Zipf},
	}
	for i := range p.Keys.Count {
		l.Keys.Values = append(l.Keys.Values, fmt.Sprintf("key-%d", i+1))
	}
	return l
}

// setCertifiedHost adds a Host that the certificate is valid for, unless the request has one.
func setCertifiedHost(cfg model.Config, r *plan.Request) {
	if r.Header["Host"] != "" {
		return
	}
	host := plan.CertificateHost
	if route, ok := cfg.Route(r.Port, "", r.Path); ok && len(route.Hosts) > 0 {
		host = route.Hosts[0]
	}
	r.Header = maps.Clone(r.Header)
	if r.Header == nil {
		r.Header = map[string]string{}
	}
	r.Header["Host"] = host
}

// checkConsistent reports contradictions between the fields of a phase.
func (p Phase) checkConsistent(l plan.Phase) error {
	switch {
	case l.Count < 1 && p.Duration > 0 && !p.Rate.isOpenLoop():
		return fmt.Errorf("for needs a rate; a closed loop needs requests instead")
	case l.Count < 1:
		return fmt.Errorf("add requests or, with a rate, for (e.g. for: 10s)")
	case l.Count > maxRequests:
		return fmt.Errorf("%d requests exceed the limit of %d", l.Count, maxRequests)
	case p.ThinkTime > 0 && p.Rate.isOpenLoop():
		return fmt.Errorf("think applies to closed loops; remove it or rate")
	case l.Keys.Zipf != 0 && len(l.Keys.Values) < 2:
		return fmt.Errorf("zipf needs at least two keys")
	case (l.Keys.Header != "" || l.Keys.Cookie != "") != (len(l.Keys.Values) > 0):
		return fmt.Errorf("keys need a header or a cookie, and values or count")
	}
	return nil
}

const maxRequests = 100_000_000

// ChooseEngine returns the load generator for a phase, or an error if the requested one cannot send it.
func (p Phase) ChooseEngine(l plan.Phase) (plan.Engine, error) {
	encrypted := slices.ContainsFunc(l.Requests, func(r plan.Request) bool { return r.TLS })
	plain := l.Clients != plan.Clients{} || l.Keys.Cookie != ""
	picked := plan.Goroutines
	switch {
	case p.Protocol == "websocket":
		picked = plan.WebSocket
	case p.Protocol == "h2":
		picked = plan.Vegeta
	case !encrypted:
		picked = plan.Epoll
	}
	picked = cmp.Or(p.Engine, picked)
	switch {
	case picked == plan.Epoll && encrypted:
		return "", fmt.Errorf("engine epoll does not support TLS; use goroutines")
	case p.Protocol == "h2" && !encrypted:
		return "", fmt.Errorf("protocol h2 needs TLS; the listener has none")
	case (p.Protocol == "websocket") != (picked == plan.WebSocket), p.Protocol == "h2" && picked != plan.Vegeta:
		return "", fmt.Errorf("engine %s does not support %s; remove engine", picked, cmp.Or(p.Protocol, "HTTP/1.1"))
	case (picked == plan.Vegeta || picked == plan.WebSocket) && plain:
		return "", fmt.Errorf("engine %s supports a single client without cookies; remove clients and keys in cookies",
			picked)
	case picked == plan.WebSocket && l.IsOpenLoop():
		return "", fmt.Errorf("websocket needs a closed loop; use concurrency and think instead of rate")
	case picked == plan.Vegeta && l.ThinkTime > 0:
		return "", fmt.Errorf("engine vegeta does not support think; remove it")
	case l.PreciseTiming && !l.IsOpenLoop():
		return "", fmt.Errorf("precise needs an open loop; add rate or remove it")
	case l.PreciseTiming && picked == plan.Vegeta:
		return "", fmt.Errorf("engine vegeta does not support precise; remove it")
	case l.NewConnections && picked == plan.WebSocket:
		return "", fmt.Errorf("websocket keeps its connections open; remove fresh-connections")
	}
	return picked, nil
}

// interleave orders requests by their shares, as evenly as smooth weighted round robin does.
func interleave(send []Request) []Request {
	total := 0
	for _, r := range send {
		total += cmp.Or(r.Share, 1)
	}
	var out []Request
	current := make([]int, len(send))
	for range total {
		best := 0
		for i, r := range send {
			if current[i] += cmp.Or(r.Share, 1); current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		out = append(out, send[best])
	}
	return out
}

// applyTo sets the rate of a phase, and the number of requests within d unless it is set.
func (r Rate) applyTo(l *plan.Phase, d time.Duration) error {
	within := d.Seconds()
	counted := l.Count > 0
	if !counted && d == 0 && !r.hasOwnDuration() {
		return fmt.Errorf("add requests or for (e.g. for: 10s)")
	}
	if counted && d > 0 {
		return fmt.Errorf("requests and for exclude each other; remove one")
	}
	mean := func(rate float64) {
		if l.Rate = rate; !counted {
			l.Count = int(math.Round(rate * within))
		}
	}
	switch {
	case r.Poisson > 0:
		l.Shape.Kind = plan.Poisson
		mean(r.Poisson)
	case r.Ramp != nil:
		l.Shape = plan.Shape{Kind: plan.Ramp, From: r.Ramp.From, To: r.Ramp.To}
		mean((r.Ramp.From + r.Ramp.To) / 2)
	case r.Sine != nil:
		if r.Sine.Low > r.Sine.High {
			return fmt.Errorf("sine: low is above high; swap them")
		}
		l.Shape = plan.Shape{Kind: plan.Sine, From: r.Sine.Low, To: r.Sine.High, Period: r.Sine.Period}
		mean((r.Sine.Low + r.Sine.High) / 2)
	case r.Bursts != nil:
		r.Bursts.applyTo(l, d)
	case r.Replay != "":
		return r.applyReplay(l, d)
	case r.Steps != nil || r.Spike != nil:
		return r.applySteps(l, d)
	default:
		mean(r.Constant)
	}
	return nil
}

// applyTo sets the bursts of a phase.
func (b Bursts) applyTo(l *plan.Phase, d time.Duration) {
	l.Shape = plan.Shape{Kind: plan.Bursts, BurstSize: b.Size, Period: b.Every}
	l.Rate = float64(b.Size) / b.Every.Seconds()
	if l.Count < 1 {
		l.Count = b.Size * int((d+b.Every-1)/b.Every)
	}
}

// applyReplay sets the recorded times of a phase.
func (r Rate) applyReplay(l *plan.Phase, d time.Duration) error {
	if l.Count > 0 || d > 0 {
		return fmt.Errorf("replay determines the requests; remove requests and for")
	}
	l.Shape = plan.Shape{Kind: plan.Replay, Times: r.times}
	l.Count = len(r.times)
	l.Rate = float64(l.Count) / r.times[l.Count-1].Seconds()
	return nil
}

// applySteps sets the steps of a phase, or those of a spike.
func (r Rate) applySteps(l *plan.Phase, d time.Duration) error {
	steps := r.Steps
	if s := r.Spike; s != nil {
		if d < s.At+s.Duration {
			return fmt.Errorf("spike: ends at %s, after the phase (for: %s); extend for", s.At+s.Duration, d)
		}
		steps = []Step{{s.Base, s.At}, {s.Peak, s.Duration}, {s.Base, d - s.At - s.Duration}}
	} else if d > 0 || l.Count > 0 {
		return fmt.Errorf("steps determine the duration; remove requests and for")
	}
	l.Shape.Kind = plan.Steps
	total, took := 0.0, 0.0
	for _, s := range steps {
		if s.Duration > 0 {
			l.Shape.Steps = append(l.Shape.Steps, plan.Step(s))
			total += s.Rate * s.Duration.Seconds()
			took += s.Duration.Seconds()
		}
	}
	l.Count, l.Rate = int(math.Round(total)), total/took
	return nil
}
