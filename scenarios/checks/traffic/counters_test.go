package traffic

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
)

func TestPagesOfCounters(t *testing.T) {
	f := func(c model.Counter, text string, want float64, ok bool) {
		t.Helper()
		got, read := readCounter(c, text)
		assert.Equal(t, ok, read)
		assert.InDelta(t, want, got, 1e-9)
	}
	third := model.Counter{Form: model.CounterText, Selector: `handled requests\s+\d+ \d+ (\d+)`}
	f(third, "Active connections: 2 \nserver accepts handled requests\n 12 12 31 \nReading: 0 Writing: 1 Waiting: 1 \n", 31, true)
	f(third, "nothing", 0, false)
	f(model.Counter{Form: model.CounterText, Selector: "("}, "(", 0, false)
	f(model.Counter{Form: model.CounterText, Selector: "1"}, "1", 0, false)
	column := model.Counter{Form: model.CounterTable, Selector: "req_tot", RowFilter: [2]string{"svname", "FRONTEND"}}
	f(column, "# pxname,svname,req_tot,\nweb,FRONTEND,5,\nweb,BACKEND,5,\nstats,FRONTEND,2,\n", 7, true)
	f(column, "<html>", 0, false)
	frontends := model.Counter{Form: model.CounterMetrics, Selector: "haproxy_frontend_http_requests_total", MetricPrefix: "haproxy_"}
	f(frontends, "# TYPE haproxy_process_nbthread gauge\nhaproxy_frontend_http_requests_total{proxy=\"web\"} 3\nhaproxy_backend_http_requests_total{proxy=\"a\"} 3\n", 3, true)
	entryPoints := model.Counter{Form: model.CounterMetrics, Selector: "traefik_entrypoint_requests_total", MetricPrefix: "traefik_"}
	f(entryPoints, "# TYPE traefik_open_connections gauge\ntraefik_entrypoint_requests_total{code=\"200\",entrypoint=\"web\"} 3\ntraefik_entrypoint_requests_total{code=\"404\",entrypoint=\"web\"} 1e+01\n", 13, true)
	f(entryPoints, "# TYPE traefik_open_connections gauge\n", 0, true)
	f(entryPoints, "go_goroutines 3\n", 0, false)
	f(model.Counter{}, "1", 0, false)
}
