package backends

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A service without a dependency is not ready and unhealthy; with disconnected clients it is only degraded.
func TestDependencies(t *testing.T) {
	var broken error
	ledger, err := OpenLedger("")
	require.NoError(t, err)
	s := &Service{Tag: "b1", Ledger: ledger, HealthPaths: []string{"/ready", "/api/health/detailed"}, Log: slog.New(slog.DiscardHandler), Dependencies: []Dependency{
		{"database", func(context.Context) error { return nil }}, {"redis", func(context.Context) error { return broken }},
	}}
	f := func(path string, code int, where ...string) string {
		t.Helper()
		w := httptest.NewRecorder()
		s.API().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		assert.Equal(t, code, w.Code, path)
		var at any
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &at))
		for _, key := range where {
			at = at.(map[string]any)[key]
		}
		text, _ := at.(string)
		return text
	}
	assert.Equal(t, "ready", f("/ready", 200, "status"))
	assert.Equal(t, "ok", f("/ready", 200, "checks", "redis"))
	assert.Equal(t, "degraded", f("/api/health/detailed", 200, "status"), "no client ever kept a connection open")
	s.webSockets.Add(1)
	s.peakWebSockets.Add(1)
	assert.Equal(t, "healthy", f("/api/health/detailed", 200, "status"))
	broken = errors.New("no route to host")
	assert.Equal(t, "degraded", f("/ready", 503, "status"))
	assert.Equal(t, "error: no route to host", f("/ready", 503, "checks", "redis"))
	assert.Equal(t, "ok", f("/ready", 503, "checks", "database"))
	assert.Equal(t, "unhealthy", f("/api/health/detailed", 503, "detail", "status"))
	assert.Equal(t, "no route to host", f("/api/health/detailed", 503, "detail", "checks", "redis", "error"))
	assert.Equal(t, "ok", f("/api/health/", 200, "status"))
	assert.Equal(t, "healthy", f("/api/health/websocket", 200, "status"))
	s.webSockets.Add(950)
	assert.Equal(t, "degraded", f("/api/health/websocket", 200, "status"))
	_, err = Postgres("not an address")
	assert.ErrorContains(t, err, "read the address of PostgreSQL")
}
