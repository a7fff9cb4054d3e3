package load

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
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

// raw starts a server that handles connections with serve, and returns its URL.
func raw(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}

// respondWith reads a request and writes a text, then keeps or closes the connection.
func respondWith(text string, keep bool) func(net.Conn) {
	return func(conn net.Conn) {
		r := bufio.NewReader(conn)
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			if _, err := io.WriteString(conn, text); err != nil || !keep {
				return
			}
		}
	}
}

// Whatever a backend does becomes a classified error in the history, never a crash or a hang.
func TestBadBackends(t *testing.T) {
	for _, engine := range []plan.Engine{plan.Goroutines, plan.Epoll} {
		f := func(want history.Err, serve func(net.Conn)) {
			t.Helper()
			hits := sendTo(t, t.Context(), plan.Phase{Engine: engine, Count: 6, Concurrency: 2, Timeout: 150 * time.Millisecond, Requests: get("/")}, raw(t, serve))
			require.Len(t, hits, 6)
			for _, h := range hits {
				assert.Equal(t, want, h.Err)
				assert.Positive(t, h.Conn)
				assert.Less(t, h.Done-h.Sent, 2*time.Second)
			}
		}
		f("", respondWith("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true))
		f("", respondWith("HTTP/1.1 200 OK\r\n\r\nto the end", false))
		f(history.Malformed, respondWith("\x00\x01\x02 hello", true))
		f(history.Malformed, respondWith("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi there", true))
		f(history.Malformed, respondWith("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", true))
		f(history.Malformed, respondWith("HTTP/1.1 200 OK\r\n"+strings.Repeat("A: endless\r\n", 10000), true))
		f(history.Truncated, respondWith("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi", false))
		f(history.Truncated, respondWith("HTTP/1.1 200 OK\r\nConte", false))
		f(history.Truncated, respondWith("HTTP/1.1 200 OK\r\nX-Lbproof-Size: 20\r\n\r\nhi", false))
		f(history.Closed, respondWith("", false))
		f(history.Timeout, respondWith("", true))
		f(history.Timeout, respondWith("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi", true))
		f(history.Timeout, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	}
}

func TestConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	each(t, func(t *testing.T, engine plan.Engine) {
		hits := sendTo(t, t.Context(), plan.Phase{Engine: engine, Count: 50, Concurrency: 5, Timeout: time.Second, Requests: get("/")}, "http://"+l.Addr().String())
		require.Len(t, hits, 50)
		for _, h := range hits {
			assert.Equal(t, history.Refused, h.Err)
		}
	})
}

func TestUnknownHost(t *testing.T) {
	each(t, func(t *testing.T, engine plan.Engine) {
		hits := sendTo(t, t.Context(), plan.Phase{Engine: engine, Count: 5, Concurrency: 1, Timeout: 5 * time.Second, Requests: get("/")}, "http://nobody.invalid:80")
		require.Len(t, hits, 5)
		for _, h := range hits {
			assert.Contains(t, []history.Err{history.DNS, history.Timeout}, h.Err)
		}
	})
}

// A body that exceeds the kernel's buffers arrives completely.
func TestLargeBodies(t *testing.T) {
	body := model.Bytes(strings.Repeat("0123456789abcdef", 1<<18)) // 4 MiB
	each(t, func(t *testing.T, engine plan.Engine) {
		hits := send(t, t.Context(), plan.Phase{Engine: engine, Count: 4, Concurrency: 2, Timeout: 20 * time.Second, Requests: []plan.Request{{Method: "POST", Path: "/", Body: body}}},
			func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(20 * time.Millisecond) // until the sender's buffers are full
				_, _ = io.Copy(w, r.Body)
			})
		for _, h := range hits {
			assert.Equal(t, history.Err(""), h.Err)
			assert.Equal(t, int64(len(body)), h.Size)
			assert.Equal(t, history.Checksum(body), h.Checksum)
		}
	})
}

// An idle connection that the peer has closed is noticed before its next use.
func TestClosedIdleConnections(t *testing.T) {
	for _, engine := range []plan.Engine{plan.Goroutines, plan.Epoll} {
		hits := sendTo(t, t.Context(), plan.Phase{Engine: engine, Count: 2, Concurrency: 1, ThinkTime: 1200 * time.Millisecond, Timeout: 5 * time.Second, Requests: get("/")},
			raw(t, func(conn net.Conn) {
				go func() { time.Sleep(500 * time.Millisecond); conn.Close() }()
				respondWith("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true)(conn)
			}))
		require.Len(t, hits, 2)
		assert.Empty(t, hits[1].Err)
		assert.Equal(t, []int{1, 2}, []int{hits[0].Conn, hits[1].Conn})
	}
}

// Likewise with TLS, however short the idle time: a reloading balancer closes kept connections.
func TestClosedIdleTLSConnections(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.IdleTimeout = 20 * time.Millisecond
	server.StartTLS()
	defer server.Close()
	hits := sendTo(t, t.Context(), plan.Phase{Engine: plan.Goroutines, Count: 5, Concurrency: 1, ThinkTime: 200 * time.Millisecond, Timeout: 5 * time.Second, Requests: []plan.Request{
		{Method: "GET", TLS: true, Path: "/", Header: map[string]string{"Host": "a.example"}},
	}}, server.URL)
	require.Len(t, hits, 5)
	for _, h := range hits {
		assert.Empty(t, h.Err)
	}
}

func TestNewConnections(t *testing.T) {
	each(t, func(t *testing.T, engine plan.Engine) {
		var conns sync.Map
		hits := send(t, t.Context(), plan.Phase{Engine: engine, Count: 20, Concurrency: 4, NewConnections: true, Timeout: time.Second, Requests: get("/")},
			func(_ http.ResponseWriter, r *http.Request) { conns.Store(r.RemoteAddr, true) })
		seen := map[int]bool{}
		for _, h := range hits {
			assert.Empty(t, h.Err)
			assert.Positive(t, h.ConnectTime)
			seen[h.Conn] = true
		}
		assert.Len(t, seen, 20)
		n := 0
		conns.Range(func(any, any) bool { n++; return true })
		assert.Equal(t, 20, n)
	})
}

// Each client has its own address, connections and cookies, and each request its key.
func TestClients(t *testing.T) {
	for _, engine := range []plan.Engine{plan.Goroutines, plan.Epoll} {
		var mu sync.Mutex
		seen := map[string]map[string]int{} // address → cookies → count
		keys := map[string]int{}
		l := plan.Phase{
			Engine: engine, Count: 60, Concurrency: 1, Timeout: time.Second, Requests: get("/a?b=c"),
			Clients: plan.Clients{Count: 20, OwnAddresses: true, Cookies: true}, Keys: plan.Keys{Header: "X-User", Values: []string{"u1", "u2"}},
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			mu.Lock()
			defer mu.Unlock()
			if seen[host] == nil {
				seen[host] = map[string]int{}
				http.SetCookie(w, &http.Cookie{Name: "sid", Value: host, Path: "/"})
			}
			seen[host][r.Header.Get("Cookie")]++
			keys[r.Header.Get("X-User")]++
		}))
		defer server.Close()
		var hits []history.Hit
		at := strings.TrimPrefix(server.URL, "http://")
		l.Requests[0].Port = int(netip.MustParseAddrPort(at).Port())
		EngineFor(l).Send(t.Context(), Phase{Phase: l, FirstSeq: 1, DefaultHost: "127.0.0.1", Origin: time.Now(), ClientAddr: func(client int) netip.Addr {
			return netip.AddrFrom4([4]byte{127, 1, 0, byte(1 + client)})
		}}, func(h history.Hit) { hits = append(hits, h) })
		require.Len(t, hits, 60)
		mu.Lock() // for what the handlers wrote
		defer mu.Unlock()
		require.Len(t, seen, 20)
		for host, cookies := range seen {
			assert.Equal(t, map[string]int{"": 1, "sid=" + host: 2}, cookies)
		}
		assert.Equal(t, map[string]int{"u1": 30, "u2": 30}, keys)
		byClient := map[int]map[int]bool{}
		for _, h := range hits {
			assert.Equal(t, h.Index%20, h.Client)
			if byClient[h.Client] == nil {
				byClient[h.Client] = map[int]bool{}
			}
			byClient[h.Client][h.Conn] = true
		}
		for _, conns := range byClient {
			assert.Len(t, conns, 1, "a client's requests share one connection")
		}
	}
}

func TestKeysInCookies(t *testing.T) {
	for _, engine := range []plan.Engine{plan.Goroutines, plan.Epoll} {
		var got atomic.Value
		l := plan.Phase{
			Engine: engine, Count: 1, Concurrency: 1, Timeout: time.Second, Keys: plan.Keys{Cookie: "sid", Values: []string{"k"}},
			Requests: []plan.Request{{Method: "GET", Path: "/", Header: map[string]string{"cookie": "own=1"}}},
		}
		send(t, t.Context(), l, func(_ http.ResponseWriter, r *http.Request) { got.Store(r.Header.Get("Cookie")) })
		assert.Equal(t, "own=1; sid=k", got.Load())
	}
}

// tlsServer counts server names and protocols.
func tlsServer(t *testing.T, names map[string]int) *httptest.Server {
	var mu sync.Mutex
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		names[fmt.Sprint(r.TLS.ServerName, " ", r.Host, " ", r.Proto)]++
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// A request with TLS uses TLS, with the host as server name and any certificate. Vegeta uses HTTP/2, whose requests
// share connections.
func TestTLS(t *testing.T) {
	for engine, proto := range map[plan.Engine]string{plan.Goroutines: "HTTP/1.1", plan.Vegeta: "HTTP/2.0"} {
		names := map[string]int{}
		server := tlsServer(t, names)
		hits := sendTo(t, t.Context(), plan.Phase{Engine: engine, Count: 40, Concurrency: 4, Timeout: time.Minute, Requests: []plan.Request{
			{Method: "GET", TLS: true, Path: "/", Header: map[string]string{"Host": "a.example"}},
			{Method: "GET", TLS: true, Path: "/", Header: map[string]string{"Host": "b.example:8443"}},
		}}, server.URL)
		require.Len(t, hits, 40)
		assert.Equal(t, map[string]int{"a.example a.example " + proto: 20, "b.example b.example:8443 " + proto: 20}, names)
		conns, shaken := map[int]int{}, 0
		for _, h := range hits {
			assert.Equal(t, 200, h.Code)
			conns[h.Conn]++
			if h.HandshakeTime > 0 {
				shaken++
			}
		}
		assert.LessOrEqual(t, shaken, 8)
		assert.GreaterOrEqual(t, shaken, 2)
		assert.NotContains(t, conns, 0)
	}
}

// New connections resume the previous session unless the phase forbids it.
func TestSessionResumption(t *testing.T) {
	for _, engine := range []plan.Engine{plan.Goroutines, plan.Vegeta} {
		server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer server.Close()
		for _, full := range []bool{true, false} {
			l := plan.Phase{Engine: engine, Count: 10, Concurrency: 1, NewConnections: true, FullHandshakes: full, Timeout: time.Minute, Requests: []plan.Request{
				{Method: "GET", TLS: true, Path: "/", Header: map[string]string{"Host": "a.example"}},
			}}
			resumed := 0
			for _, h := range sendTo(t, t.Context(), l, server.URL) {
				assert.Positive(t, h.HandshakeTime)
				if h.Resumed {
					resumed++
				}
			}
			assert.Equal(t, map[bool]int{true: 0, false: 9}[full], resumed)
		}
	}
}

func TestFailedHandshake(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	for _, engine := range []plan.Engine{plan.Goroutines, plan.Vegeta} {
		hits := sendTo(t, t.Context(), plan.Phase{Engine: engine, Count: 2, Concurrency: 1, Timeout: time.Second, Requests: []plan.Request{{Method: "GET", TLS: true, Path: "/"}}}, server.URL)
		for _, h := range hits {
			assert.Equal(t, history.HandshakeFailed, h.Err)
		}
	}
}

// A phase ends early when told to stop; requests in flight complete.
func TestShouldStop(t *testing.T) {
	each(t, func(t *testing.T, engine plan.Engine) {
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer server.Close()
		at := netip.MustParseAddrPort(strings.TrimPrefix(server.URL, "http://"))
		l := plan.Phase{Engine: engine, Count: 100000, Concurrency: 4, Timeout: time.Minute, Requests: []plan.Request{{Method: "GET", Port: int(at.Port()), Path: "/"}}}
		var n atomic.Int64
		EngineFor(l).Send(t.Context(), Phase{Phase: l, FirstSeq: 1, DefaultHost: "127.0.0.1", Origin: time.Now(), ShouldStop: func() bool { return n.Load() >= 50 }}, func(h history.Hit) {
			assert.Empty(t, h.Err)
			n.Add(1)
		})
		assert.GreaterOrEqual(t, n.Load(), int64(50))
		assert.Less(t, n.Load(), int64(60))
	})
}

// Many concurrent connections, more than one batch of events.
func TestManyConnections(t *testing.T) {
	for _, engine := range []plan.Engine{plan.Goroutines, plan.Epoll} {
		hits := send(t, t.Context(), plan.Phase{Engine: engine, Count: 3000, Concurrency: 600, Timeout: 20 * time.Second, Requests: get("/")},
			func(http.ResponseWriter, *http.Request) { time.Sleep(5 * time.Millisecond) })
		require.Len(t, hits, 3000)
		conns := map[int]bool{}
		for i, h := range hits {
			require.Empty(t, h.Err)
			require.Equal(t, i, h.Index)
			conns[h.Conn] = true
		}
		assert.LessOrEqual(t, len(conns), 600)
		assert.GreaterOrEqual(t, slices.MaxFunc(hits, func(a, b history.Hit) int { return a.InFlight - b.InFlight }).InFlight, 500)
	}
}
