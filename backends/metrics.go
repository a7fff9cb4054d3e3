package backends

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are the Prometheus metrics on /metrics.
type metrics struct {
	page     http.Handler
	requests *prometheus.CounterVec // by method and endpoint
	took     prometheus.Histogram   // seconds until the response header
}

func (s *Service) newMetrics() *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sysmanage_requests_total", Help: "Total HTTP requests",
		}, []string{"method", "endpoint"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sysmanage_request_duration_seconds", Help: "Request duration",
		}),
	}
	tunnels := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sysmanage_active_connections", Help: "Active WebSocket connections",
	}, func() float64 { return float64(s.webSockets.Load()) })
	all := prometheus.NewRegistry()
	all.MustRegister(m.requests, m.took, tunnels)
	m.page = promhttp.HandlerFor(all, promhttp.HandlerOpts{})
	return m
}

// endpoints are the endpoints counted separately; other paths share a counter, so their number stays limited.
var endpoints = map[string]bool{"/": true, "/health": true, "/ready": true, "/models": true}

// withMetrics counts requests and serves the metrics to requests without an ID.
func (s *Service) withMetrics(next http.Handler) http.Handler {
	s.metricsOnce.Do(func() { s.metrics = s.newMetrics() }) // shared by all ports
	m := s.metrics
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" && r.Header.Get(s.IDHeader) == "" {
			m.page.ServeHTTP(w, r)
			return
		}
		endpoint, began := r.URL.Path, time.Now()
		if !endpoints[endpoint] {
			endpoint = "other"
		}
		next.ServeHTTP(w, r)
		m.requests.WithLabelValues(r.Method, endpoint).Inc()
		if !isUpgrade(r) {
			m.took.Observe(time.Since(began).Seconds())
		}
	})
}
