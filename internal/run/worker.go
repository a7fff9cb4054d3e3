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

// order is what the harness tells its worker: first what to send and to whom, then Go, Go again after each phase in
// Holds, and perhaps Stop.
type order struct {
	Loads    []plan.Phase
	Holds    map[int]bool // phases after which no other begins before the harness says so
	Asks     string       // the host that requests ask for which name none
	Balancer string       // its host name
	Peers    []string     // of the balancer, their host names
	Ports    []int
	Settle   time.Duration // how long the balancer may answer 404 after it listens
	Ledgers  []ledger
	Key      string       // of the ledgers, and of the gateway to the balancer's own host
	Needed   []string     // host:port of what the backends need
	Monitor  string       // host:port of Prometheus; empty where there is none
	Queries  []plan.Query // its rules
	Trust    []byte       // certificate of the run's authority, PEM
	Clients  netip.Prefix // addresses that the worker may send from; invalid where it has only its own
	Go, Stop bool
}

// ledger is where a backend hands out its arrivals.
type ledger struct{ Server, URL string }

// message is what the worker tells the harness, in the order in which it happens.
type message struct {
	Ready    bool          // everything answers
	At       time.Duration // with Ready: since the run's origin
	Origin   time.Duration // with Ready: the run's, on the host's monotonic clock
	Begins   bool          // the next phase does
	Hits     hitBlock
	Arrivals []history.Arrival
	Phase    *history.Phase // one phase ended
	Done     bool
	Lost     []string          // with Done: ledgers with rows missing
	Queried  []history.Queried // with Done: of order.Queries
	Err      string            // instead of Ready
	Deaf     bool              // with Err: a balancer does not listen
}

// deafError is a balancer that does not listen on a port that the configuration promises.
type deafError struct{ error }

const (
	batch     = 256 // hits in one report
	pollEvery = 200 * time.Millisecond
)

// readyWithin is how long the stack may take to answer; tests shorten it.
var readyWithin = 30 * time.Second

// Work is the worker's whole life: orders come in, reports go out. It ends when in does.
func Work(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	orders := gob.NewDecoder(in)
	var o order
	if err := orders.Decode(&o); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	w := &worker{order: o, out: gob.NewEncoder(out), origin: backends.Now()}
	w.began = time.Now()
	for _, l := range o.Ledgers {
		client := &http.Client{Timeout: 5 * time.Second}
		w.readers = append(w.readers, &backends.Reader{URL: l.URL, Key: o.Key, Client: client})
	}
	err := w.prepare()
	if err == nil {
		err = w.waitReady(ctx)
	}
	if err != nil {
		var deaf deafError
		return w.send(message{Err: err.Error(), Deaf: errors.As(err, &deaf)})
	}
	if err := w.send(message{Ready: true, At: backends.Now() - w.origin, Origin: w.origin}); err != nil {
		return err
	}
	if err := orders.Decode(&o); err != nil || !o.Go {
		return err
	}
	var listening sync.WaitGroup
	goOn := make(chan struct{}, len(w.order.Loads))
	listening.Go(func() { listen(orders, goOn, cancel) })
	if err := w.run(ctx, goOn); err != nil {
		return err
	}
	listening.Wait() // the harness hangs up when it has everything
	return nil
}

// listen hears the harness until it hangs up: each Go lets the worker go on, and Stop, which may come, or the end stops
// it.
func listen(orders *gob.Decoder, goOn chan<- struct{}, stop func()) {
	for {
		var next order
		err := orders.Decode(&next)
		if err == nil && next.Go {
			goOn <- struct{}{}
			continue
		}
		stop()
		if err != nil {
			return
		}
	}
}

type worker struct {
	order   order
	began   time.Time     // the origin
	origin  time.Duration // the same, on the host's monotonic clock
	readers []*backends.Reader

	mu   sync.Mutex
	out  *gob.Encoder
	hits packer
	err  error
}

func (w *worker) send(r message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sendLocked(r)
}

func (w *worker) sendLocked(r message) error {
	if w.err == nil {
		if err := w.out.Encode(r); err != nil {
			w.err = fmt.Errorf("tell the harness: %w", err)
		}
	}
	return w.err
}

// emit keeps a hit until there is a batch.
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
		_ = w.sendLocked(message{Hits: w.hits.take()}) // kept in w.err
	}
}

// balancers are the host names of all of them.
func (w *worker) balancers() []string { return append([]string{w.order.Balancer}, w.order.Peers...) }

// waitReady returns when the balancer accepts connections on every port, every backend answers, and what they need
// listens.
func (w *worker) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	var waiting sync.WaitGroup
	listeners := slices.Clone(w.order.Needed)
	for _, port := range w.order.Ports {
		for _, host := range w.balancers() {
			listeners = append(listeners, net.JoinHostPort(host, strconv.Itoa(port)))
		}
	}
	failed := make([]error, len(listeners)+len(w.readers))
	for i, at := range listeners {
		waiting.Go(func() {
			switch err := dial(ctx, at); {
			case err == nil:
			case i < len(w.order.Needed):
				failed[i] = fmt.Errorf("what the backends need does not listen: %w", err)
			default:
				failed[i] = deafError{fmt.Errorf("the balancer does not listen: %w", err)}
			}
		})
	}
	for i, r := range w.readers {
		waiting.Go(func() {
			if err := until(ctx, func() error { return ready(ctx, r) }); err != nil {
				failed[len(listeners)+i] = fmt.Errorf("%s is not ready: %w", w.order.Ledgers[i].Server, err)
			}
		})
	}
	waiting.Wait()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("wait for the stack: %w", err)
	}
	w.settle(ctx)
	return nil
}

// lateCopies is how long after an answer a copy of its request may arrive elsewhere.
const lateCopies = 50 * time.Millisecond

// settle waits while a balancer that reads its routes after it listens answers 404 to the first request of the load,
// for as long as it may: a configuration that it never takes over is what the run is to show.
func (w *worker) settle(ctx context.Context) {
	if w.order.Settle == 0 || len(w.order.Loads) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.order.Settle)
	defer cancel()
	first := w.order.Loads[0]
	first.Engine, first.Count, first.Rate, first.Concurrency = plan.Goroutines, 1, 0, 1
	first.Clients, first.Keys = plan.Clients{}, plan.Keys{}
	for _, host := range w.balancers() {
		_ = until(ctx, func() error {
			code := 0
			p := load.Phase{Phase: first, Host: w.order.Asks, At: host, Origin: w.began}
			load.For(first).Send(ctx, p, func(h history.Hit) { code = h.Code })
			if code == http.StatusNotFound || code == 0 {
				return errors.New("not there yet")
			}
			return nil
		})
	}
	time.Sleep(lateCopies)
	for _, r := range w.readers { // what has arrived so far belongs to no hit, and one page has it
		_, _ = r.Next(ctx)
	}
}

func dial(ctx context.Context, addr string) error {
	return until(ctx, func() error {
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

// until tries again, a hundred times a second, until it succeeds or ctx ends; then the last failure is the error.
func until(ctx context.Context, try func() error) error {
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

// run sends every phase, follows the ledgers meanwhile, and says when all is told.
func (w *worker) run(ctx context.Context, goOn <-chan struct{}) error {
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	var follow sync.WaitGroup
	follow.Go(func() { w.follow(following) })
	first := uint64(1)
	for i, l := range w.order.Loads {
		if ctx.Err() != nil {
			break
		}
		w.phase(ctx, i, first, l)
		first += uint64(l.Count)
		if w.order.Holds[i] {
			select {
			case <-ctx.Done():
			case <-goOn:
			}
		}
	}
	stop()
	follow.Wait()
	lost := w.collect(context.WithoutCancel(ctx))
	queried, err := w.queried(context.WithoutCancel(ctx))
	if err != nil {
		lost = append(lost, err.Error())
	}
	return w.send(message{Done: true, Lost: lost, Queried: queried})
}

// phase sends the phase of this number, whose first request has the number first, and tells how it went.
func (w *worker) phase(ctx context.Context, number int, first uint64, l plan.Phase) {
	_ = w.send(message{Begins: true}) // kept in w.err
	stats := history.Phase{Start: backends.Now() - w.origin, CPU: -cpu()}
	limit, draws := history.BreakingPoint{Breaks: l.Breaks}, newDrawing(l)
	var enough atomic.Bool
	p := w.traffic(l)
	p.Number, p.First, p.Enough = number, first, enough.Load
	load.For(l).Send(ctx, p, func(h history.Hit) {
		stats.Hits++
		stats.LastSent = max(stats.LastSent, h.Sent)
		if h.Flight >= l.Concurrency {
			stats.Capped++
		}
		limit.See(h)
		draws.see(h)
		if limit.Broken || draws.known {
			enough.Store(true)
		}
		w.emit(h)
	})
	stats.End, stats.CPU = backends.Now()-w.origin, stats.CPU+cpu()
	stats.Broke, stats.Known = limit.Broken, draws.known
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flushLocked()
	_ = w.sendLocked(message{Phase: &stats})
}

// traffic is a phase's load, but for its place in the run.
func (w *worker) traffic(l plan.Phase) load.Phase {
	authority := x509.NewCertPool()
	authority.AppendCertsFromPEM(w.order.Trust)
	p := load.Phase{
		Phase: l, Host: w.order.Asks, At: w.order.Balancer, Origin: w.began, Authority: authority,
		Gateway: load.Gateway{Port: agent.GatewayPort, Knock: agent.Knock(w.order.Key)},
		Address: func(client int) netip.Addr { return l.Clients.Address(w.order.Clients, client) },
	}
	if l.Verify {
		p.Trust = authority
	}
	if l.Via != "" {
		p.At = plan.HostOf(l.Via)
	}
	return p
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// follow reads the ledgers and passes on what is batched, until ctx ends.
func (w *worker) follow(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
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
			_ = w.read(ctx, i) // a backend that is down for a moment is asked again
		}
	}
}

// read passes on what is new in a ledger, and returns when it is at its end.
func (w *worker) read(ctx context.Context, i int) error {
	for {
		rows, err := w.readers[i].Next(ctx)
		if err == nil && len(rows) > 0 {
			err = w.arrived(i, rows)
		}
		if err != nil || len(rows) == 0 {
			return err
		}
	}
}

func (w *worker) arrived(i int, rows []backends.Arrival) error {
	r := message{Arrivals: make([]history.Arrival, len(rows))}
	for n, row := range rows {
		r.Arrivals[n] = history.Arrival{
			Seq: row.ID, At: row.At - w.origin, Server: w.order.Ledgers[i].Server, Header: row.Header,
		}
	}
	return w.send(r)
}

// lastWords is how long a backend has to hand out the end of its ledger.
const lastWords = 10 * time.Second

// collect reads every ledger to its end, and says which have rows missing.
func (w *worker) collect(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	missing := make([]string, len(w.readers))
	var reading sync.WaitGroup
	for i, r := range w.readers {
		reading.Go(func() {
			if err := until(ctx, func() error { return w.read(ctx, i) }); err != nil {
				missing[i] = fmt.Sprintf("%s: %v", w.order.Ledgers[i].Server, err)
			} else if r.Lost != "" {
				missing[i] = w.order.Ledgers[i].Server + ": " + r.Lost
			}
		})
	}
	reading.Wait()
	return slices.DeleteFunc(missing, func(s string) bool { return s == "" })
}
