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

// testPos is where tests have their promises.
var testPos = model.Pos{File: "lb.conf", Line: 7}

// configOf is a configuration of routes on port 80, whose pools p and q have the servers a and b.
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

// claimProbes is what a check asks about one claim.
type claimProbes struct {
	cfg    model.Config
	probes []check.Probe
}

// probesFor finds what a check asks about the claim of that name.
func probesFor(t *testing.T, c check.Check, cfg model.Config, id string, questions int) claimProbes {
	t.Helper()
	var ids []string
	for _, claim := range c.Claims(cfg) {
		if ids = append(ids, claim.ID); claim.ID != id {
			continue
		}
		asks, cannot := c.Probes(cfg, claim)
		assert.Empty(t, cannot)
		assert.Len(t, asks, questions)
		return claimProbes{cfg, asks}
	}
	require.Fail(t, "no such claim", "%s is not among %v", id, ids)
	return claimProbes{}
}

// checkReply holds a reply to a question against what is to come: wrong says what is wrong about it, empty where nothing is.
// arrived are the servers that saw the request.
type checkReply func(hit history.Hit, wrong string, arrived ...string)

// find is the question of a reason, which is to be this request.
func (a claimProbes) find(t *testing.T, why, request string) checkReply {
	t.Helper()
	for _, q := range a.probes {
		if q.Case != why {
			continue
		}
		assert.Equal(t, request, requestText(q.Request), why)
		return func(hit history.Hit, wrong string, arrived ...string) {
			t.Helper()
			var arrivals []history.Arrival
			for _, server := range arrived {
				arrivals = append(arrivals, history.Arrival{Server: server})
			}
			h := history.History{Plan: plan.Plan{Config: a.cfg}, Env: history.Environment{ClientAddr: "172.18.0.9"}}
			assert.Equal(t, wrong, q.Want.Mismatch(h, hit, arrivals), why)
		}
	}
	require.Fail(t, "no such question", "%s", why)
	return nil
}

// requestText is a request as text.
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

// encodeHeader is an answer's header as a history keeps it.
func encodeHeader(fields ...string) string {
	values := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		values.Add(fields[i], fields[i+1])
	}
	return values.Encode()
}
