package run

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/faults"
	"github.com/lbproof/lbproof/internal/folder"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/sleep"
	"github.com/lbproof/lbproof/internal/stack"
)

// breakThings puts every event of the plan in force when it is due, and heals it when it is over or when ctx ends. The
// marks say what really happened.
func (s *execution) breakThings(ctx context.Context) []history.Mark {
	marks := make([]history.Mark, len(s.plan.Events))
	var breaking sync.WaitGroup
	for i, e := range s.plan.Events {
		breaking.Go(func() {
			marks[i] = history.Mark{Event: e, Err: "the traffic ended before it was due"}
			if s.clock.wait(ctx, e.Phase) && sleep.Until(ctx, s.clock.began(e.Phase).Add(e.At)) {
				s.gate.enter(e.Phase)
				marks[i] = s.breakOne(ctx, i, e)
				s.gate.leave(e.Phase)
			}
		})
	}
	breaking.Wait()
	return marks
}

// phaseClock says when each phase of traffic began.
type phaseClock struct {
	mu     sync.Mutex
	starts []time.Time
	news   chan struct{} // closed, and made anew, at every start
}

func newPhaseClock() *phaseClock { return &phaseClock{news: make(chan struct{})} }

// start begins the next phase.
func (c *phaseClock) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.starts = append(c.starts, time.Now())
	close(c.news)
	c.news = make(chan struct{})
}

func (c *phaseClock) began(phase int) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.starts[phase]
}

// wait is false where ctx ends before the phase begins.
func (c *phaseClock) wait(ctx context.Context, phase int) bool {
	for {
		c.mu.Lock()
		begun, news := len(c.starts) > phase, c.news
		c.mu.Unlock()
		if begun {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-news:
		}
	}
}

// holds are the phases after which no other begins before their faults are over: those that have all their faults to
// themselves. On a busy machine a fault may take longer than planned, and would reach into what follows.
func holds(p plan.Plan) map[int]bool {
	held, longer := map[int]bool{}, map[int]bool{}
	for _, e := range p.Events {
		if e.Phase < len(p.Phases) {
			held[e.Phase] = true
			longer[e.Phase] = longer[e.Phase] || e.At+e.For > p.Phases[e.Phase].Takes()
		}
	}
	maps.DeleteFunc(held, func(phase int, _ bool) bool { return longer[phase] })
	return held
}

// gate tells the worker to go on after a phase that holds, once the faults that have begun in it are over.
type gate struct {
	mu    sync.Mutex
	holds map[int]bool // those that have ended and gone on are not among them any more
	under map[int]int  // faults under way, by phase
	over  map[int]bool
	open  func()
}

func newGate(phases map[int]bool, open func()) *gate {
	return &gate{holds: phases, under: map[int]int{}, over: map[int]bool{}, open: open}
}

func (g *gate) enter(phase int) { g.change(phase, 1) }

func (g *gate) leave(phase int) { g.change(phase, -1) }

// ended says that the worker has sent the phase's last request.
func (g *gate) ended(phase int) {
	g.mu.Lock()
	g.over[phase] = true
	g.mu.Unlock()
	g.change(phase, 0)
}

func (g *gate) change(phase, by int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.under[phase] += by
	if g.holds[phase] && g.over[phase] && g.under[phase] == 0 {
		delete(g.holds, phase)
		g.open()
	}
}

// Bounds of what a fault may take: the first until it is seen, the second to go.
const (
	seenWithin = 40 * time.Second
	healWithin = 40 * time.Second
)

// breakOne puts a fault in force for its time, and heals it.
func (s *execution) breakOne(ctx context.Context, number int, e plan.Event) history.Mark {
	mark := history.Mark{Event: e, Ordered: time.Since(s.origin)}
	in, err := s.inject(ctx, number, mark)
	if err != nil {
		mark.Err = err.Error()
		return mark
	}
	mark.Before, mark.From = max(mark.Ordered, s.at(in.Before)), cmp.Or(s.at(in.From), time.Since(s.origin))
	mark.Seen = in.Seen
	s.Progress.Step("in force: " + string(e.Fault) + " " + e.Target)
	sleep.Until(ctx, time.Now().Add(e.For-(time.Since(s.origin)-mark.Ordered)))
	mark.Ended = time.Since(s.origin)
	healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), healWithin)
	defer cancel()
	to, err := in.Heal(healing)
	if err != nil {
		mark.Err = err.Error()
	}
	mark.To = cmp.Or(s.at(to), time.Since(s.origin))
	s.Progress.Step("healed: " + string(e.Fault) + " " + e.Target)
	err = s.folder.Journal(folder.Entry{Event: number, Did: folder.Healed, At: mark.To, Fault: e})
	if err != nil && mark.Err == "" {
		mark.Err = err.Error()
	}
	return mark
}

// inject puts the fault of an event in force. It is entered in the journal before it is ordered.
func (s *execution) inject(ctx context.Context, number int, mark history.Mark) (*faults.InForce, error) {
	e := mark.Event
	fault, err := faults.Find(e.Fault)
	if err != nil {
		return nil, err
	}
	site, err := s.site(e, fault)
	if err != nil {
		return nil, err
	}
	s.Progress.Step("fault: " + string(e.Fault) + " " + e.Target)
	entry := folder.Entry{Event: number, Did: folder.Ordered, At: mark.Ordered, Fault: e}
	if err := s.folder.Journal(entry); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, seenWithin)
	defer cancel()
	return faults.Inject(limited, fault, site)
}

// at is a time of the host's monotonic clock on the run's.
func (s *execution) at(monotonic time.Duration) time.Duration {
	if monotonic == 0 {
		return 0
	}
	return monotonic - time.Duration(s.monotonic.Load())
}

// site is where an event happens.
func (s *execution) site(e plan.Event, fault faults.Fault) (site faults.Site, err error) {
	site = faults.Site{
		For: e.For, Expires: seenWithin + e.For + healWithin,
		Args: faults.Args(e.With), Config: s.plan.Config,
	}
	for _, part := range []struct {
		name   string
		member **stack.Member
	}{{e.Target, &site.Node}, {e.Peer, &site.Peer}, {plan.WorkerName, &site.Worker}} {
		if *part.member, err = s.stack.Member(part.name); err != nil {
			return site, err
		}
	}
	if spec := site.Node.Spec; len(spec.Ports) > 0 {
		site.Port = spec.Ports[0]
	}
	if site.Node.Spec.Role == plan.Dependency { // whom all backends ask
		for _, spec := range s.plan.Specs {
			if spec.Role != plan.Backend || spec.Name == e.Peer {
				continue
			}
			other, err := s.stack.Member(spec.Name)
			if err != nil {
				return site, err
			}
			site.Others = append(site.Others, other)
		}
	}
	s.secure(&site, fault)
	return site, nil
}

// secure adds what is to be known of a node that speaks TLS, and finds a balancer's port.
func (s *execution) secure(site *faults.Site, fault faults.Fault) {
	spec := site.Node.Spec
	needs := spec.Needs
	if spec.Role == plan.Balancer {
		needs = s.plan.Config.Needs
		listeners := s.plan.Config.Listeners
		l := listeners[max(0, slices.IndexFunc(listeners, func(l model.Listener) bool { return l.TLS == fault.Secure }))]
		site.Port, site.TLS = l.Port, l.TLS
	} else if len(spec.TLS) > 0 && (fault.Secure || slices.Contains(spec.TLS, site.Port)) {
		site.Port, site.TLS = spec.TLS[0], true
	}
	site.Host = plan.AnyHost
	for _, n := range needs {
		if n.Kind == model.NeedCertificate && len(n.Hosts) > 0 && n.Hosts[0] != "" {
			site.Host = strings.Replace(n.Hosts[0], "*", "any", 1)
			break
		}
	}
	site.Renew = func(flaw string) ([]model.File, error) { return s.authority.Certificates(needs, stack.Flaw(flaw)) }
	site.Trust, _ = s.authority.PEM() // which the worker has been given already
}

// attempted keeps who tried to connect to a backend, but for the host's own checks.
func (s *execution) attempted(node string, all []agent.Attempt) {
	for _, a := range all {
		if a.From.Addr().IsLoopback() || s.monotonic.Load() == 0 {
			continue
		}
		s.folder.Attempt(history.Attempt{
			At: s.at(a.At), Node: node, From: a.From.Addr().String(),
			Source: int(a.From.Port()), Port: int(a.Port),
		})
	}
}

// notInForce says which faults were not there as planned; empty where all were.
func notInForce(marks []history.Mark) error {
	var text []string
	for _, m := range marks {
		if m.Err != "" {
			text = append(text, fmt.Sprintf("the fault %s of %s was not in force as planned: %s",
				m.Event.Fault, m.Event.Target, m.Err))
		}
	}
	if len(text) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(text, "; "))
}
