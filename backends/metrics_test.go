package backends

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The metrics count requests by endpoint, without those for the metrics.
func TestMetrics(t *testing.T) {
	s := service()
	api, another := s.API(), s.API()
	for range 3 {
		api.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	}
	another.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/whatever/else", nil))
	var page string
	for range 2 {
		w := httptest.NewRecorder()
		api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		page = w.Body.String()
	}
	assert.Contains(t, page, "sysmanage_requests_total{endpoint=\"/\",method=\"GET\"} 3\n")
	assert.Contains(t, page, "sysmanage_requests_total{endpoint=\"other\",method=\"GET\"} 1\n")
	assert.Contains(t, page, "sysmanage_request_duration_seconds_count 4\n")
	assert.Contains(t, page, "sysmanage_active_connections 0\n")
}
