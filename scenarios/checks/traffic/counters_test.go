package traffic

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPagesOfCounters(t *testing.T) {
	f := func(total func(string) (float64, bool), body string, want float64, ok bool) {
		t.Helper()
		got, read := total(body)
		assert.Equal(t, ok, read)
		assert.InDelta(t, want, got, 1e-9)
	}
	f(stubStatus, "Active connections: 2 \nserver accepts handled requests\n 12 12 31 \nReading: 0 Writing: 1 Waiting: 1 \n", 31, true)
	f(stubStatus, "nothing", 0, false)
	f(haproxyCSV, "# pxname,svname,req_tot,\nweb,FRONTEND,5,\nweb,BACKEND,5,\nstats,FRONTEND,2,\n", 7, true)
	f(haproxyCSV, "<html>", 0, false)
	haproxyMetrics := metricsOf("haproxy_", "haproxy_frontend_http_requests_total{")
	f(haproxyMetrics, "# TYPE haproxy_process_nbthread gauge\nhaproxy_frontend_http_requests_total{proxy=\"web\"} 3\nhaproxy_backend_http_requests_total{proxy=\"a\"} 3\n", 3, true)
	traefikMetrics := metricsOf("traefik_", "traefik_entrypoint_requests_total{")
	f(traefikMetrics, "# TYPE traefik_open_connections gauge\ntraefik_entrypoint_requests_total{code=\"200\",entrypoint=\"web\"} 3\ntraefik_entrypoint_requests_total{code=\"404\",entrypoint=\"web\"} 1e+01\n", 13, true)
	f(traefikMetrics, "# TYPE traefik_open_connections gauge\n", 0, true)
	f(traefikMetrics, "go_goroutines 3\n", 0, false)
}
