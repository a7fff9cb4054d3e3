package load

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

func probed(t *testing.T, where string, requests ...plan.Request) []history.Hit {
	t.Helper()
	for i := range requests {
		if requests[i].Method == "" {
			requests[i].Method = "GET"
		}
		if requests[i].Path == "" {
			requests[i].Path = "/"
		}
	}
	l := plan.Phase{Engine: plan.Prober, Count: len(requests), Concurrency: len(requests), Timeout: 5 * time.Second, Requests: requests}
	return sendTo(t, t.Context(), l, where)
}

func TestProberRecordsResponse(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Add("X-Twice", "a")
		w.Header().Add("X-Twice", "b")
		w.Header().Set(history.ServerHeader, "back-01")
		w.WriteHeader(int(n))
		_, _ = w.Write([]byte("body"))
	}))
	defer server.Close()
	hits := probed(t, server.URL, plan.Request{Method: "POST", Body: model.Bytes("xxxx"), PaddingSize: 400})
	require.Len(t, hits, 1)
	header, err := url.ParseQuery(hits[0].Header)
	require.NoError(t, err)
	assert.Equal(t, []string{"a", "b"}, header["X-Twice"])
	assert.Equal(t, 404, hits[0].Code, "the length of the body")
	assert.Equal(t, "back-01", hits[0].Server)
	assert.Equal(t, history.Checksum([]byte("body")), hits[0].Checksum)
	assert.Empty(t, hits[0].Err)
}

// Responses after the first are counted, and a body can contain the request's own ID.
func TestProberCountsResponses(t *testing.T) {
	var ids []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		ids = append(ids, r.Header.Get(history.IDHeader))
	}))
	defer server.Close()
	second := "GET / HTTP/1.1\r\nHost: a\r\n" + history.IDHeader + ": " + history.IDPlaceholder + "\r\n\r\n"
	hits := probed(t, server.URL, plan.Request{Method: "POST", Header: map[string]string{"Content-Length": "0"}, Body: model.Bytes(second), StallAt: plan.StallAfterResponses})
	require.Len(t, hits, 1)
	header, err := url.ParseQuery(hits[0].Header)
	require.NoError(t, err)
	assert.Equal(t, "2", header.Get(history.ResponseCountField))
	assert.Equal(t, []string{"100", "0000000000000000100"}, ids)
}

func TestProberHandshakes(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}
	server.StartTLS()
	defer server.Close()
	f := func(shake plan.Handshake, want url.Values) {
		t.Helper()
		hits := probed(t, server.URL, plan.Request{TLS: true, Header: map[string]string{"Host": "other.example"}, Handshake: &shake})
		require.Len(t, hits, 1)
		got, err := url.ParseQuery(hits[0].HandshakeInfo)
		require.NoError(t, err)
		for name := range want {
			assert.Equal(t, want.Get(name), got.Get(name), "%s of %v", name, shake)
		}
		assert.Equal(t, want.Has(history.HandshakeAlert), hits[0].Err == history.HandshakeFailed, "%v: %s", shake, hits[0].Err)
	}
	f(plan.Handshake{}, url.Values{history.HandshakeVersion: {"TLSv1.3"}})
	f(plan.Handshake{ALPN: []string{"h2"}}, url.Values{history.HandshakeALPN: {"h2"}})
	f(plan.Handshake{Version: "TLSv1.2", Suite: "ECDHE-RSA-AES128-GCM-SHA256"}, url.Values{history.HandshakeVersion: {"TLSv1.2"}, history.HandshakeSuite: {"ECDHE-RSA-AES128-GCM-SHA256"}})
	f(plan.Handshake{Version: "TLSv1.1"}, url.Values{history.HandshakeAlert: {"70"}})
	f(plan.Handshake{Version: "TLSv1.2", Suite: "ECDHE-RSA-AES256-GCM-SHA384"}, url.Values{history.HandshakeAlert: {"40"}})
	f(plan.Handshake{Resume: true}, url.Values{history.HandshakeTicket: {"yes"}, history.HandshakeResumed: {"yes"}})
	hits := probed(t, server.URL, plan.Request{TLS: true, Header: map[string]string{"Host": "other.example"}})
	got, err := url.ParseQuery(hits[0].HandshakeInfo)
	require.NoError(t, err)
	assert.Contains(t, got.Get(history.HandshakeTrust), "certificate")
}

func TestProberStalls(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		kind, text, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		_ = conn.Write(r.Context(), kind, text)
		ctx, cancel := context.WithTimeout(r.Context(), 300*time.Millisecond)
		defer cancel()
		_, _, _ = conn.Read(ctx)
	}))
	server.Config.IdleTimeout, server.Config.ReadTimeout = 300*time.Millisecond, 300*time.Millisecond
	server.Start()
	defer server.Close()
	tunnel := map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "bGJwcm9vZiBsYnByb29mIQ=="}
	hits := probed(t, server.URL, plan.Request{StallAt: plan.StallInHeader}, plan.Request{Method: "POST", PaddingSize: 10, StallAt: plan.StallInBody}, plan.Request{StallAt: plan.StallAfterResponse}, plan.Request{Header: tunnel, StallAt: plan.StallInTunnel})
	require.Len(t, hits, 4)
	for i, h := range hits {
		assert.InDelta(t, 0.3, h.Silence.Seconds(), 0.25, "%d: %+v", i, h)
	}
	assert.Equal(t, 200, hits[2].Code)
	assert.Equal(t, 101, hits[3].Code)
}

// An unreachable gateway is the load generator's error.
func TestProberWithoutGateway(t *testing.T) {
	var hits []history.Hit
	l := plan.Phase{Engine: plan.Prober, Count: 1, Concurrency: 1, Timeout: time.Second, Requests: []plan.Request{{Method: "GET", Path: "/", Port: 80, LocalEndpoint: "127.0.0.1"}}}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	closed := uint16(listener.Addr().(*net.TCPAddr).Port)
	require.NoError(t, listener.Close())
	EngineFor(l).Send(t.Context(), Phase{Phase: l, DefaultHost: "127.0.0.1", Origin: time.Now(), Gateway: Gateway{Port: closed}}, func(h history.Hit) { hits = append(hits, h) })
	require.Len(t, hits, 1)
	assert.Equal(t, history.Tester, hits[0].Err)
}
