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

	"github.com/lbproof/lbproof/internal/lb"
)

// send runs a load against a handler and returns the hits in the order of sending.
func send(t *testing.T, ctx context.Context, l lb.Load, handler http.HandlerFunc) []lb.Hit {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	at, err := url.Parse(server.URL)
	require.NoError(t, err)
	port, err := strconv.Atoi(at.Port())
	require.NoError(t, err)
	for i := range l.Requests {
		l.Requests[i].Port = port
	}
	var hits []lb.Hit
	Vegeta{Host: at.Hostname(), Origin: time.Now()}.Send(ctx, 3, 100, l, func(h lb.Hit) { hits = append(hits, h) })
	slices.SortFunc(hits, func(a, b lb.Hit) int { return int(a.Seq) - int(b.Seq) })
	return hits
}

func get(path string) []lb.Request { return []lb.Request{{Method: "GET", Path: path}} }

func TestClosedLoop(t *testing.T) {
	var inFlight, most atomic.Int64
	var mu sync.Mutex
	paths := map[string]string{}
	requests := []lb.Request{{Method: "POST", Path: "/a", Body: lb.Bytes("one"), Header: map[string]string{"X-Kind": "a"}}, {Method: "GET", Path: "/b"}}
	hits := send(t, t.Context(), lb.Load{Count: 200, Concurrency: 8, Timeout: time.Minute, Requests: requests}, func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), inFlight.Add(1)))
		defer inFlight.Add(-1)
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		paths[r.Header.Get(lb.IDHeader)] = r.Method + r.URL.Path + r.Header.Get("X-Kind") + string(body)
		mu.Unlock()
		w.Header().Set(lb.ServerHeader, "b1")
		fmt.Fprint(w, "hello")
	})
	require.Len(t, hits, 200)
	assert.LessOrEqual(t, most.Load(), int64(8))
	for i, h := range hits {
		assert.Equal(t, uint64(100+i), h.Seq)
		assert.Equal(t, i, h.Index)
		assert.Equal(t, 3, h.Load)
		assert.Equal(t, h.Due, h.Sent)
		assert.Less(t, h.Sent, h.Done)
		assert.Equal(t, lb.Hit{Seq: h.Seq, Load: 3, Index: i, Due: h.Due, Sent: h.Sent, Done: h.Done, Code: 200, Server: "b1", Size: 5, Sum: lb.Sum([]byte("hello"))}, h)
		assert.Equal(t, []string{"POST/aaone", "GET/b"}[i%2], paths[strconv.Itoa(100+i)])
	}
}

// When the server stops for a while, the hits that were due meanwhile count from when they were due.
func TestOpenLoopCountsFromTheIntendedTime(t *testing.T) {
	const stall = 300 * time.Millisecond
	var once sync.Once
	var gate sync.RWMutex
	l := lb.Load{Count: 200, Concurrency: 4, Rate: 400, Timeout: time.Minute, Requests: get("/")}
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
	assert.GreaterOrEqual(t, late, 80, "with four workers the sender itself would have seen four late answers")
}

func TestErrorsAreClassified(t *testing.T) {
	l := lb.Load{Count: 1, Concurrency: 1, Timeout: 100 * time.Millisecond, Requests: get("/")}
	f := func(want lb.Err, handler http.HandlerFunc) {
		t.Helper()
		hits := send(t, t.Context(), l, handler)
		require.Len(t, hits, 1)
		assert.Equal(t, want, hits[0].Err)
		assert.Zero(t, hits[0].Code)
	}
	hijack := func(w http.ResponseWriter) net.Conn {
		conn, _, err := w.(http.Hijacker).Hijack()
		require.NoError(t, err)
		return conn
	}
	f(lb.Closed, func(w http.ResponseWriter, _ *http.Request) { hijack(w).Close() })
	f(lb.Reset, func(w http.ResponseWriter, _ *http.Request) {
		conn := hijack(w)
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	})
	f(lb.Closed, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "short")
	})
	f(lb.Timeout, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })

	assert.Equal(t, lb.Refused, classify("dial tcp 127.0.0.1:1: connect: connection refused"))
	assert.Equal(t, lb.DNS, classify("dial tcp: lookup nginx: no such host"))
	assert.Equal(t, lb.Tester, classify("socket: too many open files"))
	assert.Equal(t, lb.Tester, classify("dial tcp: connect: cannot assign requested address"))
	assert.Equal(t, lb.Tester, classify("dial tcp 172.18.0.3:80: operation was canceled"))
	assert.Equal(t, lb.Other, classify("malformed HTTP response"))
}

// A request is sent once, whatever net/http would do for an idempotent one.
func TestNothingIsSentTwice(t *testing.T) {
	var arrived atomic.Int64
	l := lb.Load{Count: 10, Concurrency: 1, Timeout: time.Second, Requests: get("/")}
	send(t, t.Context(), l, func(w http.ResponseWriter, _ *http.Request) {
		if arrived.Add(1)%2 == 0 { // the second on a kept-alive connection dies unanswered
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
		}
	})
	assert.Equal(t, int64(10), arrived.Load())
}

func TestStopCutsRequestsInFlight(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := lb.Load{Count: 1000, Concurrency: 4, Timeout: time.Minute, Requests: get("/")}
	var arrived atomic.Int64
	hits := send(t, ctx, l, func(_ http.ResponseWriter, r *http.Request) {
		if arrived.Add(1) == 4 {
			cancel()
		}
		<-r.Context().Done()
	})
	assert.Less(t, len(hits), 20)
	for _, h := range hits {
		assert.Equal(t, lb.Tester, h.Err)
	}
}

// TLS is spoken where a request says so, with the host's name in the handshake, whatever the certificate.
func TestTLS(t *testing.T) {
	var mu sync.Mutex
	names := map[string]int{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		names[r.TLS.ServerName+" "+r.Host]++
	}))
	defer server.Close()
	at, err := url.Parse(server.URL)
	require.NoError(t, err)
	port, err := strconv.Atoi(at.Port())
	require.NoError(t, err)
	l := lb.Load{Count: 20, Concurrency: 4, Timeout: time.Minute, Requests: []lb.Request{
		{Method: "GET", Port: port, TLS: true, Path: "/", Header: map[string]string{"Host": "a.example"}},
		{Method: "GET", Port: port, TLS: true, Path: "/", Header: map[string]string{"Host": "b.example:8443"}},
	}}
	codes := map[int]int{}
	Vegeta{Host: at.Hostname(), Origin: time.Now()}.Send(t.Context(), 0, 1, l, func(h lb.Hit) { codes[h.Code]++ })
	assert.Equal(t, map[int]int{200: 20}, codes)
	assert.Equal(t, map[string]int{"a.example a.example": 10, "b.example b.example:8443": 10}, names)
}
