package backends

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func service() *Service {
	ledger, err := OpenLedger("")
	if err != nil {
		panic(err)
	}
	return &Service{Ledger: ledger, Tag: "back-01", IDHeader: "X-Id", ServerHeader: "X-Server", SizeHeader: "X-Size", RecordHeaders: []string{"Host", "X-Real-IP"}, Log: slog.New(slog.DiscardHandler)}
}

func call(h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestAPI(t *testing.T) {
	api := service().API()
	f := func(method, path string, code int, body string) {
		t.Helper()
		w := call(api, method, path, "")
		assert.Equal(t, code, w.Code)
		assert.JSONEq(t, body, w.Body.String())
		assert.Equal(t, "back-01", w.Header().Get("X-Server"))
		assert.Equal(t, strconv.Itoa(w.Body.Len()), w.Header().Get("X-Size"))
	}
	f("GET", "/", 200, `"Hello from back-01"`)
	f("GET", "/health", 200, `{"status":"ok"}`)
	f("GET", "/ready", 200, `{"status":"ready","checks":{}}`)
	f("GET", "/nothing", 404, `{"detail":"Not Found"}`)
	f("DELETE", "/models", 405, `{"detail":"Method Not Allowed"}`)
	f("POST", "/health", 405, `{"detail":"Method Not Allowed"}`)
}

const lego = `{"name":"Starship Enterprise","pieces":1599,"theme":"Sci-Fi","difficulty":"easy","price_us":199.99,"year":2001}`

func TestCreateModel(t *testing.T) {
	w := call(service().API(), "POST", "/models", lego)
	assert.Equal(t, 200, w.Code)
	assert.JSONEq(t, `{"host":"tag: back-01 - unknown","success":true,"message":"Item created successfully","data":`+lego+`}`, w.Body.String())
}

func TestPriceIsAFloat(t *testing.T) {
	w := call(service().API(), "POST", "/models", strings.Replace(lego, "199.99", "200", 1))
	assert.Contains(t, w.Body.String(), `"price_us":200.0`)
}

func TestInvalidModels(t *testing.T) {
	f := func(old, replacement, property, reason string) {
		t.Helper()
		w := call(service().API(), "POST", "/models", strings.Replace(lego, old, replacement, 1))
		assert.Equal(t, 400, w.Code)
		var got struct {
			Success bool
			Data    map[string]string
		}
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got))
		assert.False(t, got.Success)
		assert.Equal(t, property, got.Data["property"])
		assert.Contains(t, got.Data["developer_message"], reason)
		assert.NotEmpty(t, got.Data["user_message"])
	}
	f(`"Starship Enterprise"`, `7`, "name", "valid string")
	f(`1599`, `"1599"`, "pieces", "valid integer")
	f(`1599`, `1599.0`, "pieces", "valid integer")
	f(`1599`, `true`, "pieces", "valid integer")
	f(`"Sci-Fi"`, `null`, "theme", "valid string")
	f(`"easy"`, `"EASY"`, "difficulty", "'easy', 'medium' or 'hard'")
	f(`"easy"`, `["easy"]`, "difficulty", "'easy', 'medium' or 'hard'")
	f(`199.99`, `"199.99"`, "price_us", "valid number")
	f(`199.99`, `1e999`, "price_us", "valid number")
	f(`,"year":2001`, ``, "year", "Field required")
	f(lego, `no json`, "body", "could not be processed")
	f(lego, `[1]`, "body", "could not be processed")
	f(lego, `null`, "body", "could not be processed")
	f(lego, ``, "body", "could not be processed")
	f(lego, lego+`x`, "body", "after the JSON value")
	f(lego, `{"name":"`+strings.Repeat("x", maxBody)+`"}`, "body", "could not be read")
}

func TestLedger(t *testing.T) {
	s := service()
	api, control := s.API(), httptest.NewServer(s.Control())
	defer control.Close()
	call(api, "POST", "/models", lego, "X-Id", "7", "X-Real-IP", "10.0.0.1")
	call(api, "GET", "/", "")
	reader := Reader{URL: control.URL, Client: control.Client()}

	rows, err := reader.Next(context.Background())
	require.NoError(t, err)
	require.Len(t, rows, 2)
	assert.Equal(t, uint64(7), rows[0].ID)
	assert.Equal(t, "Host=example.com&X-Real-Ip=10.0.0.1", rows[0].Header)
	assert.Equal(t, uint64(0), rows[1].ID)
	assert.LessOrEqual(t, rows[0].At, rows[1].At)

	call(api, "GET", "/", "", "X-Id", "8")
	rows, err = reader.Next(context.Background())
	require.NoError(t, err)
	require.Len(t, rows, 1)
	assert.Equal(t, uint64(8), rows[0].ID)
}

// rows returns a service's whole ledger.
func rows(t *testing.T, s *Service) []Arrival {
	t.Helper()
	page, lost, err := s.Ledger.read(0)
	require.NoError(t, err)
	assert.Zero(t, lost)
	r := Reader{}
	all := r.rows(page)
	assert.Empty(t, r.Lost)
	return all
}

// A lost response is requested again; nothing is lost or duplicated.
func TestLedgerReadIsRepeatable(t *testing.T) {
	s := service()
	call(s.API(), "GET", "/", "", "X-Id", "1")
	first := rows(t, s)
	assert.Equal(t, first, rows(t, s))
	call(s.API(), "GET", "/", "", "X-Id", "2")
	assert.Len(t, rows(t, s), 2)
}

// The control port requires the key: nobody in front of or behind the balancer can read the ledger or change the
// behaviour.
func TestControlPortNeedsTheKey(t *testing.T) {
	s := service()
	s.Key = "key of the run"
	control := httptest.NewServer(s.Control())
	defer control.Close()
	for _, key := range []string{"", "key of the ru", "key of another run"} {
		for _, path := range []string{"GET /arrivals?from=0", "POST /behave", "POST /exhaust", "GET /ready"} {
			method, path, _ := strings.Cut(path, " ")
			req, err := http.NewRequest(method, control.URL+path, strings.NewReader(`{"for":1000000000,"status":500}`))
			require.NoError(t, err)
			Authorize(req, key)
			resp, err := control.Client().Do(req)
			require.NoError(t, err)
			resp.Body.Close()
			assert.Equal(t, http.StatusForbidden, resp.StatusCode, "%s with the key %q", path, key)
		}
	}
	assert.Nil(t, s.active.Load())
	_, err := (&Reader{URL: control.URL, Client: control.Client()}).Next(t.Context())
	assert.ErrorContains(t, err, "403")
	_, err = (&Reader{URL: control.URL, Key: s.Key, Client: control.Client()}).Next(t.Context())
	assert.NoError(t, err)
}

// A ledger survives a kill and restart of its service.
func TestLedgerOutlivesTheService(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ledger")
	var s *Service
	control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.Control().ServeHTTP(w, r) }))
	defer control.Close()
	reader := Reader{URL: control.URL, Client: control.Client()}
	for range 2 {
		s = service()
		var err error
		s.Ledger, err = OpenLedger(file)
		require.NoError(t, err)
		for range 3 {
			call(s.API(), "GET", "/", "", "X-Id", "5")
		}
		rows, err := reader.Next(context.Background())
		require.NoError(t, err)
		assert.Len(t, rows, 3)
	}
	assert.Empty(t, reader.Lost)
	require.NoError(t, os.WriteFile(file, append(must(os.ReadFile(file)), "6 to"...), 0o600)) // killed while writing it
	call(s.API(), "GET", "/", "", "X-Id", "7")
	rows, err := reader.Next(context.Background())
	require.NoError(t, err)
	assert.Empty(t, rows)
	assert.Contains(t, reader.Lost, "killed while writing it")
}

func must(b []byte, _ error) []byte { return b }

func TestHealthCheckIsNoArrival(t *testing.T) {
	s := service()
	server := httptest.NewServer(s.API()) // on loopback, like the container's own health check
	defer server.Close()
	resp, err := server.Client().Get(server.URL + "/health")
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	assert.Empty(t, rows(t, s))
}

func TestListenReportsPortConflict(t *testing.T) {
	err := service().Listen(context.Background(), []int{8000}, 8000)
	assert.ErrorContains(t, err, "control port 8000 is also a traffic port")
}

func TestListenStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	assert.NoError(t, service().Listen(ctx, []int{0}, freePort(t)))
}

// freePort returns an unused port.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A balancer may forward to any prefix, check health on any configured path, and forward WebSocket.
func TestPrefixes(t *testing.T) {
	s := service()
	s.Prefixes, s.HealthPaths = []string{"/api", "/api/v1", ""}, []string{"/api/health/detailed"}
	api := s.API()
	f := func(method, path string, code int) {
		t.Helper()
		assert.Equal(t, code, call(api, method, path, lego).Code, path)
	}
	f("POST", "/models", 200)
	f("POST", "/api/models", 200)
	f("POST", "/api/v1/models", 200)
	f("POST", "/apimodels", 404)
	f("GET", "/api", 200)
	f("GET", "/api/health", 200)
	f("GET", "/api/health/detailed", 200)
	f("GET", "/health/detailed", 404)
}

// Health checks carry no ID and are recorded as such; a client's request for the same path is an arrival.
func TestHealthChecksAreRecorded(t *testing.T) {
	s := service()
	s.HealthPaths = []string{"/health"}
	api := s.API()
	call(api, "GET", "/health", "")
	call(api, "GET", "/health", "", "X-Id", "7")
	call(api, "GET", "/", "")
	got := rows(t, s)
	require.Len(t, got, 3)
	for i, check := range []bool{true, false, false} {
		noted, err := url.ParseQuery(got[i].Header)
		require.NoError(t, err)
		assert.Equal(t, check, noted.Has(":check"))
	}
}

func TestHelperRespondsToEverything(t *testing.T) {
	s := service()
	s.Helper = true
	w := call(s.API(), "GET", "/validate", "", "X-Id", "7")
	assert.Equal(t, 200, w.Code)
	assert.Equal(t, "back-01", w.Header().Get("X-Server"))
}

func TestWebSocketEcho(t *testing.T) {
	server := httptest.NewServer(service().API())
	defer server.Close()
	conn, resp, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http")+"/ws/agent", nil)
	require.NoError(t, err)
	defer conn.CloseNow()
	assert.Equal(t, 101, resp.StatusCode)
	assert.Equal(t, "back-01", resp.Header.Get("X-Server"))
	require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte("hello")))
	_, got, err := conn.Read(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "hello", string(got))

	require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte(`{"id":7}`)))
	_, got, err = conn.Read(t.Context())
	require.NoError(t, err)
	assert.JSONEq(t, `{"id":7,"server":"back-01"}`, string(got))
}

// WebSocket messages with an ID are arrivals; the upgrade request is not.
func TestMessagesAreArrivals(t *testing.T) {
	s := service()
	api := s.API()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "192.0.2.1:9"
		api.ServeHTTP(w, r)
	}))
	defer server.Close()
	conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(server.URL, "http")+"/ws/agent", nil)
	require.NoError(t, err)
	defer conn.CloseNow()
	for _, text := range []string{`{"id":7}`, "hello", `{"id":8}`} {
		require.NoError(t, conn.Write(t.Context(), websocket.MessageText, []byte(text)))
		_, _, err = conn.Read(t.Context())
		require.NoError(t, err)
	}
	got := rows(t, s)
	require.Len(t, got, 2)
	assert.Equal(t, []uint64{7, 8}, []uint64{got[0].ID, got[1].ID})
}

// An unavailable Redis is reported on the first attempt: it may be back after half a second of retries.
func TestRedisIsPingedOnce(t *testing.T) {
	gone := httptest.NewServer(nil)
	address := gone.Listener.Addr().String()
	gone.Close()
	began := time.Now()
	assert.ErrorContains(t, Redis(address).Ping(t.Context()), "refused")
	assert.Less(t, time.Since(began), 300*time.Millisecond, "the library's default is five attempts, 100 ms apart")
}
