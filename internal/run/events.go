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

// injectAll injects every fault of the plan when it is due and heals it at its end or when ctx ends. It returns the
// measured windows.
func (s *execution) injectAll(ctx context.Context) []history.FaultWindow {
	windows := make([]history.FaultWindow, len(s.plan.Events))
	var injecting sync.WaitGroup
	for i, e := range s.plan.Events {
		injecting.Go(func() {
			windows[i] = history.FaultWindow{Event: e, Err: "traffic ended before it was due"}
			if s.clock.wait(ctx, e.Phase) && sleep.Until(ctx, s.clock.startOf(e.Phase).Add(e.At)) {
				s.barrier.faultStarted(e.Phase)
				windows[i] = s.injectOne(ctx, i, e)
				s.barrier.faultEnded(e.Phase)
			}
		})
	}
	injecting.Wait()
	return windows
}

// phaseClock records when each phase began.
type phaseClock struct {
	mu      sync.Mutex
	starts  []time.Time
	started chan struct{} // closed and replaced at every start
}

func newPhaseClock() *phaseClock { return &phaseClock{started: make(chan struct{})} }

// start records the start of the next phase.
func (c *phaseClock) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.starts = append(c.starts, time.Now())
	close(c.started)
	c.started = make(chan struct{})
}

func (c *phaseClock) startOf(phase int) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.starts[phase]
}

// wait reports false if ctx ends before the phase begins.
func (c *phaseClock) wait(ctx context.Context, phase int) bool {
	for {
		c.mu.Lock()
		begun, news := len(c.starts) > phase, c.started
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

// barrierPhases returns the phases whose faults all end within them. The next phase then waits for these faults, which
// may take longer than planned on a busy machine.
func barrierPhases(p plan.Plan) map[int]bool {
	held, longer := map[int]bool{}, map[int]bool{}
	for _, e := range p.Events {
		if e.Phase < len(p.Phases) {
			held[e.Phase] = true
			longer[e.Phase] = longer[e.Phase] || e.At+e.Duration > p.Phases[e.Phase].EstimatedDuration()
		}
	}
	maps.DeleteFunc(held, func(phase int, _ bool) bool { return longer[phase] })
	return held
}

// phaseBarrier releases the worker after a barrier phase once the phase's faults are over.
type phaseBarrier struct {
	mu      sync.Mutex
	pending map[int]bool // phases not released yet
	active  map[int]int  // faults in force, by phase
	ended   map[int]bool
	release func()
}

func newPhaseBarrier(phases map[int]bool, open func()) *phaseBarrier {
	return &phaseBarrier{pending: phases, active: map[int]int{}, ended: map[int]bool{}, release: open}
}

func (g *phaseBarrier) faultStarted(phase int) { g.update(phase, 1) }

func (g *phaseBarrier) faultEnded(phase int) { g.update(phase, -1) }

// phaseSent records that the worker has sent the phase's last request.
func (g *phaseBarrier) phaseSent(phase int) {
	g.mu.Lock()
	g.ended[phase] = true
	g.mu.Unlock()
	g.update(phase, 0)
}

func (g *phaseBarrier) update(phase, by int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active[phase] += by
	if g.pending[phase] && g.ended[phase] && g.active[phase] == 0 {
		delete(g.pending, phase)
		g.release()
	}
}

// Limits for a fault to take effect and to vanish.
const (
	detectTimeout = 40 * time.Second
	healTimeout   = 40 * time.Second
)

// injectOne injects a fault, waits, and heals it.
func (s *execution) injectOne(ctx context.Context, number int, e plan.Event) history.FaultWindow {
	window := history.FaultWindow{Event: e, RequestedAt: time.Since(s.origin)}
	in, err := s.inject(ctx, number, window)
	if err != nil {
		window.Err = err.Error()
		return window
	}
	window.StartsAfter = max(window.RequestedAt, s.sinceOrigin(in.StartsAfter))
	window.StartsBy = cmp.Or(s.sinceOrigin(in.StartsBy), time.Since(s.origin))
	window.Observed = in.Observed
	s.Progress.Step("in force: " + string(e.Fault) + " on " + e.Target)
	sleep.Until(ctx, time.Now().Add(e.Duration-(time.Since(s.origin)-window.RequestedAt)))
	window.EndsAfter = time.Since(s.origin)
	healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), healTimeout)
	defer cancel()
	to, err := in.Heal(healing)
	if err != nil {
		window.Err = err.Error()
	}
	window.EndsBy = cmp.Or(s.sinceOrigin(to), time.Since(s.origin))
	s.Progress.Step("healed: " + string(e.Fault) + " on " + e.Target)
	err = s.folder.Journal(folder.Entry{Event: number, Action: folder.Healed, At: window.EndsBy, Fault: e})
	if err != nil && window.Err == "" {
		window.Err = err.Error()
	}
	return window
}

// inject injects the fault of an event. The journal records it first.
func (s *execution) inject(ctx context.Context, number int, window history.FaultWindow) (*faults.Active, error) {
	e := window.Event
	fault, err := faults.Find(e.Fault)
	if err != nil {
		return nil, err
	}
	site, err := s.site(e, fault)
	if err != nil {
		return nil, err
	}
	s.Progress.Step("injecting " + string(e.Fault) + " on " + e.Target)
	entry := folder.Entry{Event: number, Action: folder.Injected, At: window.RequestedAt, Fault: e}
	if err := s.folder.Journal(entry); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, detectTimeout)
	defer cancel()
	return faults.Inject(limited, fault, site)
}

// sinceOrigin converts a time of the host's monotonic clock to the run's clock.
func (s *execution) sinceOrigin(monotonic time.Duration) time.Duration {
	if monotonic == 0 {
		return 0
	}
	return monotonic - time.Duration(s.monotonic.Load())
}

// site returns where an event applies.
func (s *execution) site(e plan.Event, fault faults.Fault) (site faults.Site, err error) {
	site = faults.Site{
		Duration: e.Duration, UndoAfter: detectTimeout + e.Duration + healTimeout,
		Args: faults.Args(e.Settings), Config: s.plan.Config,
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
	if site.Node.Spec.Role == plan.Dependency { // used by all backends
		for _, spec := range s.plan.Specs {
			if spec.Role != plan.Backend || spec.Name == e.Peer {
				continue
			}
			other, err := s.stack.Member(spec.Name)
			if err != nil {
				return site, err
			}
			site.OtherPeers = append(site.OtherPeers, other)
		}
	}
	s.addTLS(&site, fault)
	return site, nil
}

// addTLS fills in the TLS settings of the target, and a balancer's port.
func (s *execution) addTLS(site *faults.Site, fault faults.Fault) {
	spec := site.Node.Spec
	needs := spec.Needs
	if spec.Role == plan.Balancer {
		needs = s.plan.Config.Needs
		listeners := s.plan.Config.Listeners
		i := slices.IndexFunc(listeners, func(l model.Listener) bool { return l.TLS == fault.NeedsTLS })
		l := listeners[max(0, i)]
		site.Port, site.TLS = l.Port, l.TLS
	} else if len(spec.TLSPorts) > 0 && (fault.NeedsTLS || slices.Contains(spec.TLSPorts, site.Port)) {
		site.Port, site.TLS = spec.TLSPorts[0], true
	}
	site.Host = plan.CertificateHost
	for _, n := range needs {
		if n.Kind == model.NeedCertificate && len(n.Hosts) > 0 && n.Hosts[0] != "" {
			site.Host = strings.Replace(n.Hosts[0], "*", "any", 1)
			break
		}
	}
	site.RenewCerts = func(flaw string) ([]model.File, error) {
		return s.authority.Certificates(needs, stack.CertificateFlaw(flaw))
	}
	site.CA, _ = s.authority.PEM() // has been passed to the worker before
}

// recordAttempts records connection attempts to a backend, except from its own host.
func (s *execution) recordAttempts(node string, all []agent.Attempt) {
	for _, a := range all {
		if a.From.Addr().IsLoopback() || s.monotonic.Load() == 0 {
			continue
		}
		s.folder.Attempt(history.Attempt{
			At: s.sinceOrigin(a.At), Node: node, SourceAddr: a.From.Addr().String(),
			SourcePort: int(a.From.Port()), Port: int(a.Port),
		})
	}
}

// faultErrors returns an error for the faults that were not in force as planned.
func faultErrors(windows []history.FaultWindow) error {
	var text []string
	for _, m := range windows {
		if m.Err != "" {
			text = append(text, fmt.Sprintf("fault %s on %s: not in force as planned: %s",
				m.Event.Fault, m.Event.Target, m.Err))
		}
	}
	if len(text) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(text, "; "))
}
