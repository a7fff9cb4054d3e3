package load

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

func socketLoad(count, conns int) plan.Phase {
	return plan.Phase{
		Engine: plan.WebSocket, Count: count, Concurrency: conns, ThinkTime: time.Millisecond, Timeout: 5 * time.Second,
		Requests: []plan.Request{{Method: "GET", Path: "/ws", Header: map[string]string{"X-Kind": "agent"}}},
	}
}

// Connections stay open, and each message returns with the name of its backend.
func TestWebSocketConnectionsAreHeldOpen(t *testing.T) {
	service := backends.Service{Ledger: openLedger(t), Tag: "b1", IDHeader: history.IDHeader, ServerHeader: history.ServerHeader, SizeHeader: history.SizeHeader, Log: slog.New(slog.DiscardHandler)}
	var kind atomic.Value
	api := service.API()
	hits := send(t, t.Context(), socketLoad(100, 5), func(w http.ResponseWriter, r *http.Request) {
		kind.Store(r.Header.Get("X-Kind"))
		api.ServeHTTP(w, r)
	})
	require.Len(t, hits, 100)
	conns := map[int]bool{}
	for _, h := range hits {
		assert.Empty(t, h.Err)
		assert.Equal(t, 101, h.Code)
		assert.Equal(t, "b1", h.Server)
		conns[h.Conn] = true
	}
	assert.Len(t, conns, 5)
	assert.Equal(t, "agent", kind.Load())
}

// A closed connection is a failed message; the next one opens another.
func TestWebSocketReconnects(t *testing.T) {
	service := backends.Service{Ledger: openLedger(t), Tag: "b1", ServerHeader: history.ServerHeader, SizeHeader: history.SizeHeader, Log: slog.New(slog.DiscardHandler)}
	api := service.API()
	var opened atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if opened.Add(1) == 1 {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
			return
		}
		api.ServeHTTP(w, r)
	}))
	defer server.Close()
	hits := sendTo(t, t.Context(), socketLoad(20, 1), server.URL)
	require.Len(t, hits, 20)
	assert.Equal(t, history.Closed, hits[0].Err)
	for _, h := range hits[1:] {
		assert.Empty(t, h.Err)
		assert.Equal(t, 1, h.Conn)
	}
}

func TestWebSocketRefused(t *testing.T) {
	hits := send(t, t.Context(), socketLoad(3, 1), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	require.Len(t, hits, 3)
	for _, h := range hits {
		assert.Equal(t, http.StatusForbidden, h.Code)
		assert.True(t, h.Failed())
	}
}

func openLedger(t *testing.T) *backends.Ledger {
	t.Helper()
	l, err := backends.OpenLedger("")
	require.NoError(t, err)
	return l
}
