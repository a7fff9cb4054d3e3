package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// engines are the engines for plain HTTP. The rules of an engine are tested on each.
var engines = []plan.Engine{plan.Goroutines, plan.Epoll, plan.Vegeta, plan.Prober}

// each runs a test on every engine.
func each(t *testing.T, test func(t *testing.T, engine plan.Engine)) {
	for _, e := range engines {
		t.Run(string(e), func(t *testing.T) { test(t, e) })
	}
}

// send runs a phase against a handler and returns the hits in sending order.
func send(t *testing.T, ctx context.Context, l plan.Phase, handler http.HandlerFunc) []history.Hit {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	return sendTo(t, ctx, l, server.URL)
}

// sendTo runs a phase against a server.
func sendTo(t *testing.T, ctx context.Context, l plan.Phase, where string) []history.Hit {
	t.Helper()
	at, err := url.Parse(where)
	require.NoError(t, err)
	port, err := strconv.Atoi(at.Port())
	require.NoError(t, err)
	for i := range l.Requests {
		l.Requests[i].Port = port
	}
	var hits []history.Hit
	EngineFor(l).Send(ctx, Phase{Phase: l, Number: 3, FirstSeq: 100, DefaultHost: at.Hostname(), Origin: time.Now()}, func(h history.Hit) { hits = append(hits, h) })
	slices.SortFunc(hits, func(a, b history.Hit) int { return int(a.Seq) - int(b.Seq) })
	return hits
}

func get(path string) []plan.Request { return []plan.Request{{Method: "GET", Path: path}} }

func TestClosedLoop(t *testing.T) {
	each(t, func(t *testing.T, engine plan.Engine) {
		var inFlight, most atomic.Int64
		var mu sync.Mutex
		paths := map[string]string{}
		requests := []plan.Request{{Method: "POST", Path: "/a", Body: model.Bytes("one"), Header: map[string]string{"X-Kind": "a"}}, {Method: "GET", Path: "/b"}}
		hits := send(t, t.Context(), plan.Phase{Engine: engine, Count: 200, Concurrency: 8, Timeout: time.Minute, Requests: requests}, func(w http.ResponseWriter, r *http.Request) {
			most.Store(max(most.Load(), inFlight.Add(1)))
			defer inFlight.Add(-1)
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			paths[r.Header.Get(history.IDHeader)] = r.Method + r.URL.Path + r.Header.Get("X-Kind") + string(body)
			mu.Unlock()
			w.Header().Set(history.ServerHeader, "b1")
			fmt.Fprint(w, "hello")
		})
		require.Len(t, hits, 200)
		assert.LessOrEqual(t, most.Load(), int64(8))
		for i, h := range hits {
			assert.Equal(t, uint64(100+i), h.Seq)
			assert.Equal(t, i, h.Index)
			assert.Equal(t, 3, h.Phase)
			assert.Equal(t, h.Due, h.Sent)
			assert.Less(t, h.Sent, h.Done)
			assert.Positive(t, h.Conn)
			assert.True(t, h.InFlight >= 1 && h.InFlight <= 8)
			want := history.Hit{Seq: h.Seq, Phase: 3, Index: i, Due: h.Due, Sent: h.Sent, Done: h.Done, Code: 200, Server: "b1", Size: 5, Checksum: history.Checksum([]byte("hello"))}
			want.Conn, want.InFlight, want.ConnectTime, want.Header = h.Conn, h.InFlight, h.ConnectTime, h.Header
			assert.Equal(t, want, h)
			assert.Equal(t, []string{"POST/aaone", "GET/b"}[i%2], paths[strconv.Itoa(100+i)])
		}
	})
}

// While the server stalls, latency counts from the due time.
func TestLatencyCountsFromDue(t *testing.T) {
	each(t, func(t *testing.T, engine plan.Engine) {
		const stall = 300 * time.Millisecond
		var once sync.Once
		var gate sync.RWMutex
		l := plan.Phase{Engine: engine, Count: 200, Concurrency: 4, Rate: 400, Timeout: time.Minute, Requests: get("/")}
		hits := send(t, t.Context(), l, func(http.ResponseWriter, *http.Request) {
			once.Do(func() {
				gate.Lock()
				time.AfterFunc(stall, gate.Unlock)
			})
			gate.RLock()
			defer gate.RUnlock()
		})
		require.Len(t, hits, 200)
		late := 0
		for i, h := range hits {
			if i > 0 {
				assert.InDelta(t, 2500*time.Microsecond, h.Due-hits[i-1].Due, float64(time.Microsecond))
			}
			if h.Done-h.Due > 50*time.Millisecond {
				late++
			}
		}
		assert.GreaterOrEqual(t, late, 80, "latency from the send time would show only four late responses")
	})
}

// Within a burst each request waits for the previous response and uses the same connection, but does not wait forever.
func TestBursts(t *testing.T) {
	for _, engine := range []plan.Engine{plan.Goroutines, plan.Epoll} {
		f := func(first time.Duration) []history.Hit {
			var asked atomic.Int64
			l := plan.Phase{
				Engine: engine, Count: 20, Concurrency: 64, Rate: 500, Timeout: time.Minute, Requests: get("/"), BurstLen: 5, Clients: plan.Clients{Count: 4},
			}
			return send(t, t.Context(), l, func(http.ResponseWriter, *http.Request) {
				if time.Sleep(4 * time.Millisecond); asked.Add(1) == 1 {
					time.Sleep(first)
				}
			})
		}
		t.Run(string(engine), func(t *testing.T) {
			hits := f(0)
			require.Len(t, hits, 20)
			for i, h := range hits {
				if i%5 == 0 {
					continue
				}
				if before := hits[i-1]; h.Sent-h.Due < plan.BurstTimeout { // otherwise this machine is slow
					assert.GreaterOrEqual(t, h.Sent, before.Done)
					assert.Equal(t, before.Conn, h.Conn)
				}
			}
			hits = f(4 * plan.BurstTimeout)
			require.Len(t, hits, 20)
			assert.GreaterOrEqual(t, hits[1].Sent-hits[1].Due, plan.BurstTimeout)
			assert.Less(t, hits[1].Sent, hits[0].Done)
		})
	}
}

func TestErrorsAreClassified(t *testing.T) {
	each(t, func(t *testing.T, engine plan.Engine) {
		l := plan.Phase{Engine: engine, Count: 1, Concurrency: 1, Timeout: 100 * time.Millisecond, Requests: get("/")}
		f := func(want history.Err, handler http.HandlerFunc) {
			t.Helper()
			hits := send(t, t.Context(), l, handler)
			require.Len(t, hits, 1)
			assert.Equal(t, want, hits[0].Err)
		}
		hijack := func(w http.ResponseWriter) net.Conn {
			conn, _, err := w.(http.Hijacker).Hijack()
			require.NoError(t, err)
			return conn
		}
		f(history.Closed, func(w http.ResponseWriter, _ *http.Request) { hijack(w).Close() })
		f(history.Reset, func(w http.ResponseWriter, _ *http.Request) {
			conn := hijack(w)
			_ = conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		})
		f(history.Truncated, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "short")
		})
		f(history.Timeout, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	})
}

func TestVegetaErrorsAreClassified(t *testing.T) {
	assert.Equal(t, history.Refused, classifyText("dial tcp 127.0.0.1:1: connect: connection refused"))
	assert.Equal(t, history.DNS, classifyText("dial tcp: lookup nginx: no such host"))
	assert.Equal(t, history.Tester, classifyText("socket: too many open files"))
	assert.Equal(t, history.Tester, classifyText("dial tcp: connect: cannot assign requested address"))
	assert.Equal(t, history.Tester, classifyText("dial tcp 172.18.0.3:80: operation was canceled"))
	assert.Equal(t, history.Malformed, classifyText("malformed HTTP response"))
	assert.Equal(t, history.Other, classifyText("something new"))
}

// A request is sent once, even if net/http would repeat an idempotent one.
func TestNothingIsSentTwice(t *testing.T) {
	each(t, func(t *testing.T, engine plan.Engine) {
		var arrived atomic.Int64
		l := plan.Phase{Engine: engine, Count: 10, Concurrency: 1, Timeout: time.Second, Requests: get("/")}
		send(t, t.Context(), l, func(w http.ResponseWriter, _ *http.Request) {
			if arrived.Add(1)%2 == 0 { // the second on a kept connection gets no response
				conn, _, _ := w.(http.Hijacker).Hijack()
				conn.Close()
			}
		})
		assert.Equal(t, int64(10), arrived.Load())
	})
}

func TestStopAbortsRequestsInFlight(t *testing.T) {
	each(t, func(t *testing.T, engine plan.Engine) {
		ctx, cancel := context.WithCancel(t.Context())
		l := plan.Phase{Engine: engine, Count: 1000, Concurrency: 4, Timeout: time.Minute, Requests: get("/")}
		var arrived atomic.Int64
		hits := send(t, ctx, l, func(_ http.ResponseWriter, r *http.Request) {
			if arrived.Add(1) == 4 {
				cancel()
			}
			<-r.Context().Done()
		})
		assert.Less(t, len(hits), 20)
		for _, h := range hits {
			assert.Equal(t, history.Tester, h.Err)
		}
	})
}

// The Host header and the balancer's address are independent.
func TestHostDiffersFromAddress(t *testing.T) {
	for _, e := range append(slices.Clone(engines), plan.WebSocket) {
		t.Run(string(e), func(t *testing.T) {
			var host atomic.Value
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { host.Store(r.Host) }))
			defer server.Close()
			at, err := url.Parse(server.URL)
			require.NoError(t, err)
			port, err := strconv.Atoi(at.Port())
			require.NoError(t, err)
			l := plan.Phase{Engine: e, Count: 1, Concurrency: 1, Timeout: time.Minute, Requests: []plan.Request{{Method: "GET", Path: "/", Port: port}}}
			code := 0
			EngineFor(l).Send(t.Context(), Phase{Phase: l, FirstSeq: 1, DefaultHost: "nginx", Addr: at.Hostname(), Origin: time.Now()}, func(h history.Hit) { code = h.Code })
			assert.Equal(t, http.StatusOK, code)
			assert.Equal(t, "nginx:"+at.Port(), host.Load())
		})
	}
}
