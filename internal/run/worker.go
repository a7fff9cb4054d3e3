package run

import (
	"context"
	"crypto/x509"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/load"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/sleep"
)

// workerRequest is a message to the worker: first the phases, then Go to start, Go after each phase in Barriers, and
// optionally Stop.
type workerRequest struct {
	Phases      []plan.Phase
	Barriers    map[int]bool // phases after which the worker waits for Go
	DefaultHost string       // host name in requests that set none
	Balancer    string       // its host name
	Peers       []string     // host names of further balancers
	Ports       []int
	Settle      time.Duration // how long the balancer may return 404 after it listens
	Ledgers     []ledgerAddr
	Key         string       // of the ledgers, and of the gateway on the balancer's host
	WaitFor     []string     // host:port of the backends' dependencies
	Monitor     string       // host:port of Prometheus; empty if none
	Queries     []plan.Query // its rules
	CA          []byte       // of the run, PEM
	Clients     netip.Prefix // source addresses of clients; invalid: only the worker's own
	Go, Stop    bool
}

// ledgerAddr is where a backend serves its ledger.
type ledgerAddr struct{ Server, URL string }

// workerEvent is a message from the worker, in the order of events.
type workerEvent struct {
	Ready        bool          // everything responds
	At           time.Duration // with Ready: time since the run's origin
	Origin       time.Duration // with Ready: the origin on the host's monotonic clock
	PhaseStarted bool          // the next phase begins
	Hits         hitBlock
	Arrivals     []history.Arrival
	Phase        *history.Phase // a phase ended
	Done         bool
	LedgerGaps   []string             // with Done: incomplete ledgers
	RuleResults  []history.RuleResult // with Done: of workerRequest.Queries
	Err          string               // instead of Ready
	NotListening bool                 // with Err: a balancer does not listen
}

// notListeningError is a balancer that does not listen on a configured port.
type notListeningError struct{ error }

const (
	batch          = 256 // hits per event
	ledgerInterval = 200 * time.Millisecond
)

// readyTimeout is how long the stack may take to respond; tests shorten it.
var readyTimeout = 30 * time.Second

// Work runs the worker: it reads requests and writes events until in ends.
func Work(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	requests := gob.NewDecoder(in)
	var o workerRequest
	if err := requests.Decode(&o); err != nil {
		return fmt.Errorf("read the phases: %w", err)
	}
	w := &worker{request: o, out: gob.NewEncoder(out), origin: backends.Now()}
	w.start = time.Now()
	for _, l := range o.Ledgers {
		client := &http.Client{Timeout: 5 * time.Second}
		w.readers = append(w.readers, &backends.Reader{URL: l.URL, Key: o.Key, Client: client})
	}
	err := w.prepare()
	if err == nil {
		err = w.waitReady(ctx)
	}
	if err != nil {
		var deaf notListeningError
		return w.send(workerEvent{Err: err.Error(), NotListening: errors.As(err, &deaf)})
	}
	if err := w.send(workerEvent{Ready: true, At: backends.Now() - w.origin, Origin: w.origin}); err != nil {
		return err
	}
	if err := requests.Decode(&o); err != nil || !o.Go {
		return err
	}
	var listening sync.WaitGroup
	proceed := make(chan struct{}, len(w.request.Phases))
	listening.Go(func() { listen(requests, proceed, cancel) })
	if err := w.run(ctx, proceed); err != nil {
		return err
	}
	listening.Wait() // lbproof disconnects when it has everything
	return nil
}

// listen handles requests until lbproof disconnects: Go continues, Stop and the end of input stop the worker.
func listen(requests *gob.Decoder, proceed chan<- struct{}, stop func()) {
	for {
		var next workerRequest
		err := requests.Decode(&next)
		if err == nil && next.Go {
			proceed <- struct{}{}
			continue
		}
		stop()
		if err != nil {
			return
		}
	}
}

type worker struct {
	request workerRequest
	start   time.Time     // the origin
	origin  time.Duration // the same on the host's monotonic clock
	readers []*backends.Reader

	mu   sync.Mutex
	out  *gob.Encoder
	hits packer
	err  error
}

func (w *worker) send(r workerEvent) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sendLocked(r)
}

func (w *worker) sendLocked(r workerEvent) error {
	if w.err == nil {
		if err := w.out.Encode(r); err != nil {
			w.err = fmt.Errorf("send event: %w", err)
		}
	}
	return w.err
}

// emit collects hits and sends them in batches.
func (w *worker) emit(h history.Hit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hits.add(h)
	if w.hits.n >= batch {
		w.flushLocked()
	}
}

func (w *worker) flushLocked() {
	if w.hits.n > 0 {
		_ = w.sendLocked(workerEvent{Hits: w.hits.take()}) // the error is kept in w.err
	}
}

// balancers returns the host names of all balancers.
func (w *worker) balancers() []string {
	return append([]string{w.request.Balancer}, w.request.Peers...)
}

// waitReady returns when the balancer accepts connections on every port, every backend responds, and their dependencies
// listen.
func (w *worker) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var waiting sync.WaitGroup
	listeners := slices.Clone(w.request.WaitFor)
	for _, port := range w.request.Ports {
		for _, host := range w.balancers() {
			listeners = append(listeners, net.JoinHostPort(host, strconv.Itoa(port)))
		}
	}
	failed := make([]error, len(listeners)+len(w.readers))
	for i, at := range listeners {
		waiting.Go(func() {
			switch err := dialUntilOpen(ctx, at); {
			case err == nil:
			case i < len(w.request.WaitFor):
				failed[i] = fmt.Errorf("a dependency of the backends does not listen: %w", err)
			default:
				failed[i] = notListeningError{fmt.Errorf("the balancer does not listen: %w", err)}
			}
		})
	}
	for i, r := range w.readers {
		waiting.Go(func() {
			if err := retry(ctx, func() error { return ready(ctx, r) }); err != nil {
				failed[len(listeners)+i] = fmt.Errorf("%s is not ready: %w", w.request.Ledgers[i].Server, err)
			}
		})
	}
	waiting.Wait()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("wait for the stack: %w", err)
	}
	w.awaitRoutes(ctx)
	return nil
}

// mirrorDelay is how long after a response a mirrored copy of its request may still arrive.
const mirrorDelay = 50 * time.Millisecond

// awaitRoutes waits while a balancer that loads its routes after it listens returns 404 to the first request, up to its
// limit; a configuration that it never loads is for the run to show.
func (w *worker) awaitRoutes(ctx context.Context) {
	if w.request.Settle == 0 || len(w.request.Phases) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.request.Settle)
	defer cancel()
	first := w.request.Phases[0]
	first.Engine, first.Count, first.Rate, first.Concurrency = plan.Goroutines, 1, 0, 1
	first.Clients, first.Keys = plan.Clients{}, plan.Keys{}
	for _, host := range w.balancers() {
		_ = retry(ctx, func() error {
			code := 0
			p := load.Phase{Phase: first, DefaultHost: w.request.DefaultHost, Addr: host, Origin: w.start}
			load.EngineFor(first).Send(ctx, p, func(h history.Hit) { code = h.Code })
			if code == http.StatusNotFound || code == 0 {
				return errors.New("no response yet")
			}
			return nil
		})
	}
	time.Sleep(mirrorDelay)
	for _, r := range w.readers { // arrivals so far belong to no hit; one page holds them
		_, _ = r.Next(ctx)
	}
}

func dialUntilOpen(ctx context.Context, addr string) error {
	return retry(ctx, func() error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func ready(ctx context.Context, r *backends.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/ready", nil)
	if err != nil {
		return err
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// retry calls try every 10 ms until it succeeds or ctx ends; then it returns the last error.
func retry(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		if !sleep.For(ctx, 10*time.Millisecond) {
			return err
		}
	}
}

// run sends every phase, follows the ledgers meanwhile, and reports when everything is collected.
func (w *worker) run(ctx context.Context, proceed <-chan struct{}) error {
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	var follow sync.WaitGroup
	follow.Go(func() { w.follow(following) })
	first := uint64(1)
	for i, l := range w.request.Phases {
		if ctx.Err() != nil {
			break
		}
		w.phase(ctx, i, first, l)
		first += uint64(l.Count)
		if w.request.Barriers[i] {
			select {
			case <-ctx.Done():
			case <-proceed:
			}
		}
	}
	stop()
	follow.Wait()
	lost := w.collect(context.WithoutCancel(ctx))
	queried, err := w.ruleResults(context.WithoutCancel(ctx))
	if err != nil {
		lost = append(lost, err.Error())
	}
	return w.send(workerEvent{Done: true, LedgerGaps: lost, RuleResults: queried})
}

// phase sends a phase, whose first request has the number first, and reports the result.
func (w *worker) phase(ctx context.Context, number int, first uint64, l plan.Phase) {
	_ = w.send(workerEvent{PhaseStarted: true}) // the error is kept in w.err
	stats := history.Phase{Start: backends.Now() - w.origin, CPU: -cpu()}
	limit, draws := history.BreakingPoint{Breaks: l.BreakLimits}, newSequentialStop(l)
	var enough atomic.Bool
	p := w.loadPhase(l)
	p.Number, p.FirstSeq, p.ShouldStop = number, first, enough.Load
	load.EngineFor(l).Send(ctx, p, func(h history.Hit) {
		stats.Hits++
		stats.LastSent = max(stats.LastSent, h.Sent)
		if h.InFlight >= l.Concurrency {
			stats.AtMaxInFlight++
		}
		limit.Add(h)
		draws.add(h)
		if limit.Broken || draws.decided {
			enough.Store(true)
		}
		w.emit(h)
	})
	stats.End, stats.CPU = backends.Now()-w.origin, stats.CPU+cpu()
	stats.Broken, stats.DecidedEarly = limit.Broken, draws.decided
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushLocked()
	_ = w.sendLocked(workerEvent{Phase: &stats})
}

// loadPhase returns a phase for the load generator, without its position in the run.
func (w *worker) loadPhase(l plan.Phase) load.Phase {
	authority := x509.NewCertPool()
	authority.AppendCertsFromPEM(w.request.CA)
	p := load.Phase{
		Phase: l, DefaultHost: w.request.DefaultHost, Addr: w.request.Balancer, Origin: w.start, RunCA: authority,
		Gateway:    load.Gateway{Port: agent.GatewayPort, Preamble: agent.Preamble(w.request.Key)},
		ClientAddr: func(client int) netip.Addr { return l.Clients.Address(w.request.Clients, client) },
	}
	if l.Verify {
		p.RootCAs = authority
	}
	if l.ViaPeer != "" {
		p.Addr = plan.HostName(l.ViaPeer)
	}
	return p
}

// cpu returns the CPU time of this process.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// follow reads the ledgers and sends batched hits until ctx ends.
func (w *worker) follow(ctx context.Context) {
	tick := time.NewTicker(ledgerInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.mu.Lock()
		w.flushLocked()
		w.mu.Unlock()
		for i := range w.readers {
			_ = w.read(ctx, i) // a backend that is down is polled again
		}
	}
}

// read sends the new arrivals of a ledger, up to its current end.
func (w *worker) read(ctx context.Context, i int) error {
	for {
		rows, err := w.readers[i].Next(ctx)
		if err == nil && len(rows) > 0 {
			err = w.sendArrivals(i, rows)
		}
		if err != nil || len(rows) == 0 {
			return err
		}
	}
}

func (w *worker) sendArrivals(i int, rows []backends.Arrival) error {
	r := workerEvent{Arrivals: make([]history.Arrival, len(rows))}
	for n, row := range rows {
		r.Arrivals[n] = history.Arrival{
			Seq: row.ID, At: row.At - w.origin, Server: w.request.Ledgers[i].Server, Header: row.Header,
		}
	}
	return w.send(r)
}

// collectTimeout is how long a backend has to serve the rest of its ledger.
const collectTimeout = 10 * time.Second

// collect reads every ledger to its end and returns the incomplete ones.
func (w *worker) collect(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, collectTimeout)
	defer cancel()
	missing := make([]string, len(w.readers))
	var reading sync.WaitGroup
	for i, r := range w.readers {
		reading.Go(func() {
			if err := retry(ctx, func() error { return w.read(ctx, i) }); err != nil {
				missing[i] = fmt.Sprintf("%s: %v", w.request.Ledgers[i].Server, err)
			} else if r.Lost != "" {
				missing[i] = w.request.Ledgers[i].Server + ": " + r.Lost
			}
		})
	}
	reading.Wait()
	return slices.DeleteFunc(missing, func(s string) bool { return s == "" })
}
