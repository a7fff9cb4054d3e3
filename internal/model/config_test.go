package model

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The matching order of nginx (nginx.org/en/docs/http/ngx_http_core_module.html#location), hosts first.
func TestRouteAsNginxDoes(t *testing.T) {
	cfg := Config{Routes: []Route{
		{Path: "/", Port: 80, DefaultHost: true, Pool: "root"},
		{Path: "/exact", Exact: true, Port: 80, DefaultHost: true, Pool: "exact"},
		{Path: "/images/", BeatsRegex: true, Port: 80, DefaultHost: true, Pool: "images"},
		{Path: "/docs/", Port: 80, DefaultHost: true, Pool: "docs"},
		{Path: `\.png$`, Regex: true, Port: 80, DefaultHost: true, Pool: "png"},
		{Path: `^/docs/.*\.p`, Regex: true, Port: 80, DefaultHost: true, Pool: "second expression"},
		{Path: "/docs/secret", Internal: true, Port: 80, DefaultHost: true, Pool: "internal"},
		{Path: "/", Hosts: []string{"a.example"}, Port: 80, Ports: []int{80, 443}, Pool: "a"},
		{Path: "/", Hosts: []string{"*.b.example"}, Port: 80, Pool: "b"},
	}}
	f := func(port int, host, path, want string) {
		t.Helper()
		r, _ := cfg.Route(port, host, path)
		assert.Equal(t, want, r.Pool, "%d %s %s", port, host, path)
	}
	f(80, "", "/", "root")
	f(80, "other.example", "/x", "root")
	f(80, "", "/exact", "exact")
	f(80, "", "/exact/not", "root")
	f(80, "", "/images/a.png", "images")
	f(80, "", "/docs/a", "docs")
	f(80, "", "/docs/a.png", "png")
	f(80, "", "/docs/a.pdf", "second expression")
	f(80, "", "/docs/secret", "docs")
	f(80, "a.example", "/docs/a", "a")
	f(80, "A.example:80", "/", "a")
	f(443, "a.example", "/", "a")
	f(443, "other.example", "/", "")
	f(80, "x.b.example", "/", "b")
	f(80, "b.example", "/", "root")
	f(8080, "", "/", "")
}

// The highest priority wins, as in Traefik; HAProxy's rules have falling priorities.
func TestRouteByPriority(t *testing.T) {
	cfg := Config{Routes: []Route{
		{Path: "/", Port: 80, Priority: 1, Pool: "rest"},
		{Path: "/api", Port: 80, Priority: 20, Pool: "api"},
		{Path: "/api/v1", Port: 80, Priority: 10, Pool: "never"},
		{Path: "/", Port: 80, Priority: 30, Conditions: []Condition{{Source: "a header"}}, Pool: "header"},
		{Path: "/", Port: 80, Priority: 40, Hosts: []string{"h.example"}, Pool: "host"},
	}}
	f := func(host, path, want string) {
		t.Helper()
		r, _ := cfg.Route(80, host, path)
		assert.Equal(t, want, r.Pool, "%s %s", host, path)
	}
	f("", "/", "rest")
	f("", "/api/v1", "api")
	f("h.example", "/api", "host")
}

func TestKeysIdentifyRoutes(t *testing.T) {
	f := func(want string, r Route) {
		t.Helper()
		assert.Equal(t, want, r.Key())
	}
	f("/", Route{Path: "/", Port: 80})
	f("= /x", Route{Path: "/x", Exact: true, Port: 80})
	f(":8080 ~ ^/x", Route{Path: "^/x", Regex: true, Port: 8080})
	f(":8080 @spare", Route{Path: "@spare", Named: true, Port: 8080})
	f("https://*/", Route{Path: "/", Port: 443, TLS: true})
	f("https://*:8443 = /x", Route{Path: "/x", Exact: true, Port: 8443, TLS: true})
	f("https://a.example:8443/api", Route{Path: "/api", Port: 8443, TLS: true, Hosts: []string{"a.example", "b.example"}})
	notX := []Condition{{Source: "not x"}}
	f("http://a.example/ if not x", Route{Path: "/", Port: 80, Hosts: []string{"a.example"}, Conditions: notX})
}

func TestIntervalsOfHealthChecks(t *testing.T) {
	a := HealthCheck{Interval: 5e9, FastInterval: 1e9, DownInterval: 30e9, Timeout: 3e9, Fall: 3, Rise: 2}
	soonest, refused, hanging := a.DetectionTime()
	assert.Equal(t, []float64{2, 7, 16}, []float64{soonest.Seconds(), refused.Seconds(), hanging.Seconds()})
	upSoonest, upLatest := a.RecoveryTime()
	assert.Equal(t, []float64{1, 31}, []float64{upSoonest.Seconds(), upLatest.Seconds()})
}
