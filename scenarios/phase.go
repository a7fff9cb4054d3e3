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
	Replay   string  `yaml:"replay"` // a file of times, seconds since its first, one a line
	times    []time.Duration
}

// Span is from one rate to another.
type Span struct {
	From float64 `yaml:"from"`
	To   float64 `yaml:"to"`
}

// Step is a time at a rate.
type Step struct {
	Rate float64       `yaml:"rate"`
	For  time.Duration `yaml:"for"`
}

// Spike is a base rate with a time at a peak.
type Spike struct {
	Base float64       `yaml:"base"`
	Peak float64       `yaml:"peak"`
	At   time.Duration `yaml:"at"`
	For  time.Duration `yaml:"for"`
}

// Sine swings between two rates.
type Sine struct {
	Low    float64       `yaml:"low"`
	High   float64       `yaml:"high"`
	Period time.Duration `yaml:"period"`
}

// Bursts are so many requests at once, every so often.
type Bursts struct {
	Size  int           `yaml:"size"`
	Every time.Duration `yaml:"every"`
}

// UnmarshalYAML takes a number for a constant rate.
func (r *Rate) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		return node.Decode(&r.Constant)
	}
	type shapes Rate // without this method
	return node.Decode((*shapes)(r))
}

// open says whether there is a rate.
func (r Rate) open() bool { return r.Constant > 0 || r.shaped() }

func (r Rate) shaped() bool {
	changes := r.Ramp != nil || r.Spike != nil || r.Sine != nil
	uneven := r.Poisson > 0 || r.Bursts != nil
	return changes || uneven || r.timed()
}

// timed says whether the rate says by itself for how long it is.
func (r Rate) timed() bool { return r.Steps != nil || r.Replay != "" }

// readTimes reads the recorded times that a replay sends at.
func readTimes(text []byte) ([]time.Duration, error) {
	var times []time.Duration
	scanner := bufio.NewScanner(bytes.NewReader(text))
	for line := 1; scanner.Scan(); line++ {
		field := strings.TrimSpace(scanner.Text())
		if field == "" || field[0] == '#' {
			continue
		}
		at, err := strconv.ParseFloat(field, 64)
		if err != nil || math.IsNaN(at) || math.IsInf(at, 0) {
			return nil, fmt.Errorf("%d: %q is no time in seconds", line, field)
		}
		times = append(times, time.Duration(at*float64(time.Second)))
		if n := len(times); n > 1 && times[n-1] < times[n-2] {
			return nil, fmt.Errorf("%d: %s is before the time on the line above", line, field)
		}
	}
	if len(times) < 2 || times[0] == times[len(times)-1] {
		return nil, fmt.Errorf("1: a replay needs two times or more, and some time between them")
	}
	first := times[0]
	for i := range times {
		times[i] -= first
	}
	return times, nil
}

// load writes a phase out.
func (s Scenario) load(p Phase, cfg model.Config) (plan.Phase, error) {
	wrong := func(format string, args ...any) (plan.Phase, error) {
		return plan.Phase{}, fmt.Errorf("%s:%d: phase %s: %s", s.File, p.Line, p.Name, fmt.Sprintf(format, args...))
	}
	l := p.bare()
	l.Seed = s.Seed
	for _, r := range mixed(p.Send) {
		aimed := aim(cfg, plan.Request{
			Method: cmp.Or(r.Method, "GET"), Port: r.Port, Path: r.Path,
			Header: r.Headers, Body: model.Bytes(r.Body),
		})
		if p.Verify && !aimed.TLS {
			return wrong("verify is for TLS, and %s goes to port %d, which does not speak it", aimed.Path, aimed.Port)
		}
		if p.Verify {
			certified(cfg, &aimed)
		}
		l.Requests = append(l.Requests, aimed)
	}
	l.Breaks.Latency = p.Breaks.P99
	if p.Breaks.Errors != "" {
		percent, _ := strconv.ParseFloat(strings.TrimSuffix(p.Breaks.Errors, "%"), 64) // the schema has seen to it
		l.Breaks.Errors = percent / 100
	}
	if p.Rate.open() {
		if err := p.Rate.shape(&l, p.For); err != nil {
			return wrong("%s", err)
		}
	}
	var err error
	if l.Engine, err = p.ChooseEngine(l); err == nil {
		err = p.possible(l)
	}
	if err != nil {
		return wrong("%s", err)
	}
	return l, nil
}

// bare is the phase without its requests, rate and engine.
func (p Phase) bare() plan.Phase {
	l := plan.Phase{
		Name: p.Name, Count: p.Requests, Concurrency: cmp.Or(p.Concurrency, DefaultInFlight),
		Think: p.Think, Timeout: cmp.Or(p.Timeout, DefaultTimeout),
		Fresh: p.Fresh, FullHandshakes: p.Full, Verify: p.Verify, Precise: p.Precise,
		Clients: plan.Clients{Count: p.Clients.Count, Addresses: p.Clients.Addresses, Cookies: p.Clients.Cookies},
		Keys:    plan.Keys{Header: p.Keys.Header, Cookie: p.Keys.Cookie, Values: p.Keys.Values, Zipf: p.Keys.Zipf},
	}
	for i := range p.Keys.Count {
		l.Keys.Values = append(l.Keys.Values, fmt.Sprintf("key-%d", i+1))
	}
	return l
}

// certified has a request that names no host ask for one that the certificate is for.
func certified(cfg model.Config, r *plan.Request) {
	if r.Header["Host"] != "" {
		return
	}
	host := plan.AnyHost
	if route, ok := cfg.Route(r.Port, "", r.Path); ok && len(route.Hosts) > 0 {
		host = route.Hosts[0]
	}
	r.Header = maps.Clone(r.Header)
	if r.Header == nil {
		r.Header = map[string]string{}
	}
	r.Header["Host"] = host
}

// possible says what of a phase contradicts itself.
func (p Phase) possible(l plan.Phase) error {
	switch {
	case l.Count < 1 && p.For > 0 && !p.Rate.open():
		return fmt.Errorf("for goes with rate; a closed loop needs requests")
	case l.Count < 1:
		return fmt.Errorf("it needs requests, or with a rate for how long")
	case l.Count > maxRequests:
		return fmt.Errorf("%d requests are more than the %d that a phase may have", l.Count, maxRequests)
	case p.Think > 0 && p.Rate.open():
		return fmt.Errorf("think is for closed loops; an open loop sends when requests are due")
	case l.Keys.Zipf != 0 && len(l.Keys.Values) < 2:
		return fmt.Errorf("zipf needs two keys or more")
	case (l.Keys.Header != "" || l.Keys.Cookie != "") != (len(l.Keys.Values) > 0):
		return fmt.Errorf("keys need a header or cookie, and values or their count")
	}
	return nil
}

const maxRequests = 100_000_000

// ChooseEngine chooses what sends a load, or says why what is asked for cannot.
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
		return "", fmt.Errorf("the engine epoll sends plain text only, and the configuration wants TLS")
	case p.Protocol == "h2" && !encrypted:
		return "", fmt.Errorf("h2 is spoken over TLS, and the configuration's listener has none")
	case (p.Protocol == "websocket") != (picked == plan.WebSocket), p.Protocol == "h2" && picked != plan.Vegeta:
		return "", fmt.Errorf("the engine %s does not speak %s", picked, cmp.Or(p.Protocol, "HTTP/1.1"))
	case (picked == plan.Vegeta || picked == plan.WebSocket) && plain:
		return "", fmt.Errorf("the engine %s knows one client without cookies: leave out clients, and keys in cookies",
			picked)
	case picked == plan.WebSocket && l.Open():
		return "", fmt.Errorf("websocket is a closed loop: connections with concurrency, a message of each every think")
	case picked == plan.Vegeta && l.Think > 0:
		return "", fmt.Errorf("the engine vegeta does not think")
	case l.Precise && !l.Open():
		return "", fmt.Errorf("precise is for open loops: a closed loop has no due times")
	case l.Precise && picked == plan.Vegeta:
		return "", fmt.Errorf("the engine vegeta is not precise")
	case l.Fresh && picked == plan.WebSocket:
		return "", fmt.Errorf("websocket holds its connections open: leave out fresh-connections")
	}
	return picked, nil
}

// mixed puts requests in an order in which each has its share, as evenly as smooth weighted round robin makes it.
func mixed(send []Request) []Request {
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

// shape makes the rate the load's own, and counts the requests that fit into a time.
func (r Rate) shape(l *plan.Phase, d time.Duration) error {
	within := d.Seconds()
	counted := l.Count > 0
	if !counted && d == 0 && !r.timed() {
		return fmt.Errorf("it needs requests, or for how long")
	}
	if counted && d > 0 {
		return fmt.Errorf("requests and for exclude each other")
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
			return fmt.Errorf("sine: low is above high")
		}
		l.Shape = plan.Shape{Kind: plan.Sine, From: r.Sine.Low, To: r.Sine.High, Every: r.Sine.Period}
		mean((r.Sine.Low + r.Sine.High) / 2)
	case r.Bursts != nil:
		r.Bursts.shape(l, d)
	case r.Replay != "":
		return r.replay(l, d)
	case r.Steps != nil || r.Spike != nil:
		return r.steps(l, d)
	default:
		mean(r.Constant)
	}
	return nil
}

// shape makes the bursts the load's own.
func (b Bursts) shape(l *plan.Phase, d time.Duration) {
	l.Shape = plan.Shape{Kind: plan.Bursts, Size: b.Size, Every: b.Every}
	l.Rate = float64(b.Size) / b.Every.Seconds()
	if l.Count < 1 {
		l.Count = b.Size * int((d+b.Every-1)/b.Every)
	}
}

// replay is the shape of a replay, which sends at recorded times.
func (r Rate) replay(l *plan.Phase, d time.Duration) error {
	if l.Count > 0 || d > 0 {
		return fmt.Errorf("replay sends at each of its times: leave out requests and for")
	}
	l.Shape = plan.Shape{Kind: plan.Replay, Times: r.times}
	l.Count = len(r.times)
	l.Rate = float64(l.Count) / r.times[l.Count-1].Seconds()
	return nil
}

// steps is the shape of steps and of a spike.
func (r Rate) steps(l *plan.Phase, d time.Duration) error {
	steps := r.Steps
	if s := r.Spike; s != nil {
		if d < s.At+s.For {
			return fmt.Errorf("spike: the phase ends (for: %s) before the spike does (%s)", d, s.At+s.For)
		}
		steps = []Step{{s.Base, s.At}, {s.Peak, s.For}, {s.Base, d - s.At - s.For}}
	} else if d > 0 || l.Count > 0 {
		return fmt.Errorf("steps say themselves how long they take: leave out requests and for")
	}
	l.Shape.Kind = plan.Steps
	total, took := 0.0, 0.0
	for _, s := range steps {
		if s.For > 0 {
			l.Shape.Steps = append(l.Shape.Steps, plan.Step(s))
			total += s.Rate * s.For.Seconds()
			took += s.For.Seconds()
		}
	}
	l.Count, l.Rate = int(math.Round(total)), total/took
	return nil
}
