package run

import (
	"context"
	"encoding/gob"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// testWorker is a worker with the streams to it.
type testWorker struct {
	requests   *gob.Encoder
	events     *gob.Decoder
	disconnect func()
	done       chan error
}

func startWorker(t *testing.T) testWorker {
	t.Helper()
	in, toWorker := io.Pipe()
	fromWorker, out := io.Pipe()
	o := testWorker{requests: gob.NewEncoder(toWorker), events: gob.NewDecoder(fromWorker), disconnect: func() { toWorker.Close() }, done: make(chan error, 1)}
	go func() {
		err := Work(context.Background(), in, out)
		out.Close()
		o.done <- err
	}()
	return o
}

// all reads events until the worker is done.
func (o testWorker) all(t *testing.T) (hits []history.Hit, arrivals []history.Arrival, phases []history.Phase, last workerEvent) {
	t.Helper()
	for {
		var r workerEvent
		require.NoError(t, o.events.Decode(&r))
		require.NoError(t, r.Hits.each(func(h history.Hit) error { hits = append(hits, h); return nil }))
		arrivals = append(arrivals, r.Arrivals...)
		if r.Phase != nil {
			phases = append(phases, *r.Phase)
		}
		if r.Done {
			return hits, arrivals, phases, r
		}
	}
}

// site starts a backend that clients reach without a balancer.
func site(t *testing.T) (host string, port int, ledgers []ledgerAddr) {
	t.Helper()
	s := &backends.Service{Ledger: openLedger(t), Tag: "b1", IDHeader: history.IDHeader, ServerHeader: history.ServerHeader, SizeHeader: history.SizeHeader, ResponseSpecHeader: history.ResponseSpecHeader, RecordHeaders: []string{"Host"}, Log: slog.New(slog.DiscardHandler)}
	api := s.API()
	traffic := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "192.0.2.1:9" // a request from loopback would be a health check
		api.ServeHTTP(w, r)
	}))
	control := httptest.NewServer(s.Control())
	t.Cleanup(func() { traffic.Close(); control.Close() })
	at, err := url.Parse(traffic.URL)
	require.NoError(t, err)
	port, err = strconv.Atoi(at.Port())
	require.NoError(t, err)
	return at.Hostname(), port, []ledgerAddr{{Server: "b1", URL: control.URL}}
}

func TestWorker(t *testing.T) {
	host, port, ledgers := site(t)
	loads := []plan.Phase{
		{Name: "a", Count: 600, Concurrency: 8, Timeout: time.Minute, Requests: []plan.Request{{Method: "GET", Port: port, Path: "/"}}},
		{Name: "b", Count: 50, Concurrency: 8, Rate: 500, Timeout: time.Minute, Requests: []plan.Request{{Method: "GET", Port: port, Path: "/"}}},
	}
	o := startWorker(t)
	require.NoError(t, o.requests.Encode(workerRequest{Phases: loads, Balancer: host, Ports: []int{port}, Ledgers: ledgers}))
	var ready workerEvent
	require.NoError(t, o.events.Decode(&ready))
	require.True(t, ready.Ready, ready.Err)
	require.NoError(t, o.requests.Encode(workerRequest{Go: true}))
	hits, arrivals, phases, last := o.all(t)
	assert.Empty(t, last.LedgerGaps)
	require.Len(t, hits, 650)
	require.Len(t, arrivals, 650)
	require.Len(t, phases, 2)
	assert.Equal(t, 600, phases[0].Hits)
	assert.LessOrEqual(t, phases[0].End, phases[1].Start)
	seen := map[uint64]int{}
	for _, a := range arrivals {
		seen[a.Seq]++
		assert.GreaterOrEqual(t, a.At, phases[0].Start)
		assert.Equal(t, "b1", a.Server)
	}
	for _, h := range hits {
		assert.Equal(t, 1, seen[h.Seq])
		assert.Equal(t, 200, h.Code)
	}
	o.disconnect()
	assert.NoError(t, <-o.done)
}

// After a barrier phase, the next one waits for Go.
func TestWorkerBarrier(t *testing.T) {
	host, port, ledgers := site(t)
	load := plan.Phase{Name: "a", Count: 5, Concurrency: 1, Timeout: time.Minute, Requests: []plan.Request{{Method: "GET", Port: port, Path: "/"}}}
	o := startWorker(t)
	require.NoError(t, o.requests.Encode(workerRequest{Phases: []plan.Phase{load, load}, Barriers: map[int]bool{0: true}, Balancer: host, Ports: []int{port}, Ledgers: ledgers}))
	var ready workerEvent
	require.NoError(t, o.events.Decode(&ready))
	require.NoError(t, o.requests.Encode(workerRequest{Go: true}))
	const held = 300 * time.Millisecond
	time.AfterFunc(held, func() { _ = o.requests.Encode(workerRequest{Go: true}) })
	_, _, phases, _ := o.all(t)
	require.Len(t, phases, 2)
	assert.Greater(t, phases[1].Start-phases[0].End, held/2)
	o.disconnect()
	assert.NoError(t, <-o.done)
}

// A barrier is released once, when its phase has ended and its faults are over; a fault that outlasts its phase sets
// none.
func TestPhaseBarrier(t *testing.T) {
	p := plan.Plan{
		Phases: []plan.Phase{{Count: 100, Rate: 10}, {Count: 100, Rate: 10}, {Count: 100, Rate: 10}},
		Events: []plan.Event{
			{Phase: 0, At: time.Second, Duration: 9 * time.Second},
			{Phase: 0, At: time.Second, Duration: time.Second},
			{Phase: 1, At: 5 * time.Second, Duration: 6 * time.Second},
			{Phase: 1, At: time.Second, Duration: time.Second},
		},
	}
	assert.Equal(t, map[int]bool{0: true}, barrierPhases(p))
	opened := 0
	g := newPhaseBarrier(barrierPhases(p), func() { opened++ })
	g.faultStarted(0)
	g.faultStarted(1)
	g.faultStarted(0)
	g.faultEnded(0)
	g.phaseSent(0)
	assert.Equal(t, 0, opened)
	g.faultEnded(0)
	assert.Equal(t, 1, opened)
	g.phaseSent(1)
	g.faultEnded(1)
	g.phaseSent(2)
	g.faultStarted(0)
	g.faultEnded(0)
	assert.Equal(t, 1, opened)
}

func TestWorkerReportsWhatIsNotReady(t *testing.T) {
	old := readyTimeout
	readyTimeout = 200 * time.Millisecond
	defer func() { readyTimeout = old }()
	host, port, _ := site(t)
	o := startWorker(t)
	require.NoError(t, o.requests.Encode(workerRequest{Balancer: host, Ports: []int{port}, Ledgers: []ledgerAddr{{Server: "b9", URL: "http://127.0.0.1:1"}}}))
	var r workerEvent
	require.NoError(t, o.events.Decode(&r))
	assert.False(t, r.Ready)
	assert.Contains(t, r.Err, "b9 is not ready")
	o.disconnect()
	assert.NoError(t, <-o.done)
}

// A worker that receives Stop reports its results; it exits when its input ends.
func TestWorkerStops(t *testing.T) {
	for how, stop := range map[string]func(testWorker){
		"stopped":      func(o testWorker) { _ = o.requests.Encode(workerRequest{Stop: true}) },
		"disconnected": func(o testWorker) { o.disconnect() },
	} {
		host, port, ledgers := site(t)
		o := startWorker(t)
		load := plan.Phase{Count: 1_000_000, Concurrency: 2, Rate: 1000, Timeout: time.Minute, Requests: []plan.Request{{Method: "GET", Port: port, Path: "/"}}}
		require.NoError(t, o.requests.Encode(workerRequest{Phases: []plan.Phase{load}, Balancer: host, Ports: []int{port}, Ledgers: ledgers}))
		var r workerEvent
		require.NoError(t, o.events.Decode(&r))
		require.NoError(t, o.requests.Encode(workerRequest{Go: true}))
		var first workerEvent
		require.NoError(t, o.events.Decode(&first))
		stop(o)
		_, _, _, last := o.all(t)
		assert.Empty(t, last.LedgerGaps)
		if how == "stopped" {
			assert.Empty(t, o.done, "a stopped worker waits until its input ends")
		}
		o.disconnect()
		assert.NoError(t, <-o.done)
	}
}

func TestRetry(t *testing.T) {
	var tries atomic.Int64
	assert.NoError(t, retry(context.Background(), func() error {
		if tries.Add(1) < 3 {
			return io.EOF
		}
		return nil
	}))
	assert.Equal(t, int64(3), tries.Load())
}

func openLedger(t *testing.T) *backends.Ledger {
	t.Helper()
	l, err := backends.OpenLedger("")
	require.NoError(t, err)
	return l
}
