package requests

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// testPos is the position of the claims in tests.
var testPos = model.Pos{File: "lb.conf", Line: 7}

// configOf returns a configuration of routes on port 80, with the pools p and q and their servers a and b.
func configOf(routes ...model.Route) model.Config {
	for i := range routes {
		if routes[i].Port == 0 {
			routes[i].Port = 80
		}
	}
	return model.Config{
		Listeners: []model.Listener{{Pos: testPos, Port: 80}}, Routes: routes,
		Pools: []model.Pool{
			{Name: "p", Servers: []model.Server{{Host: "a", Port: 80}}},
			{Name: "q", Servers: []model.Server{{Host: "b", Port: 80}}},
		},
	}
}

// claimProbes are the probes of one claim.
type claimProbes struct {
	cfg    model.Config
	probes []check.Probe
}

// probesFor returns the probes of the claim with an ID.
func probesFor(t *testing.T, c check.Check, cfg model.Config, id string, count int) claimProbes {
	t.Helper()
	var ids []string
	for _, claim := range c.Claims(cfg) {
		if ids = append(ids, claim.ID); claim.ID != id {
			continue
		}
		probes, untestable := c.Probes(cfg, claim)
		assert.Empty(t, untestable)
		assert.Len(t, probes, count)
		return claimProbes{cfg, probes}
	}
	require.Fail(t, "no such claim", "%s is not among %v", id, ids)
	return claimProbes{}
}

// checkReply compares a hit with the expected response of a probe: wrong is the expected difference, "" if there is
// none; arrived lists the servers that received the request.
type checkReply func(hit history.Hit, wrong string, arrived ...string)

// find returns the check of the probe with a case, whose request must be this one.
func (a claimProbes) find(t *testing.T, label, request string) checkReply {
	t.Helper()
	for _, q := range a.probes {
		if q.Case != label {
			continue
		}
		assert.Equal(t, request, requestText(q.Request), label)
		return func(hit history.Hit, wrong string, arrived ...string) {
			t.Helper()
			var arrivals []history.Arrival
			for _, server := range arrived {
				arrivals = append(arrivals, history.Arrival{Server: server})
			}
			h := history.History{Plan: plan.Plan{Config: a.cfg}, Env: history.Environment{ClientAddr: "172.18.0.9"}}
			assert.Equal(t, wrong, q.Want.Mismatch(h, hit, arrivals), label)
		}
	}
	require.Fail(t, "no such probe", "%s", label)
	return nil
}

// requestText prints a request.
func requestText(r plan.Request) string {
	scheme, host := "http", r.Header["Host"]
	if r.TLS {
		scheme = "https"
	}
	if host == "" {
		host = "any"
	}
	text := fmt.Sprintf("%s %s://%s:%d%s", r.Method, scheme, host, r.Port, r.Path)
	if r.PaddingSize > 0 {
		text += fmt.Sprintf(", %d bytes", r.PaddingSize)
	}
	if r.LocalEndpoint != "" {
		text += ", from " + r.LocalEndpoint
	}
	return text
}

// encodeHeader encodes header fields as a history stores them.
func encodeHeader(fields ...string) string {
	values := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		values.Add(fields[i], fields[i+1])
	}
	return values.Encode()
}
