package limits

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// collectCase is a run of requests to one limited route, 0.1 s apart.
type collectCase struct {
	limit      model.Limit
	others     []model.Limit      // of the same route
	route      func(*model.Route) // modifies the route
	phase      func(*plan.Phase)  // modifies the only phase
	hits       []history.Hit      // times and numbers are filled in
	key        string             // of the counted requests; empty: the key of the run's client
	counted    int                // requests with the key
	in         int                // of them, admitted
	unexpected int                // refusals that are wrong whatever the count
	broken     string             // why the requests are inconclusive
}

// Only requests that the limit itself decided count.
func TestCollect(t *testing.T) {
	byClient := model.Limit{
		Algorithm: model.LeakyBucket, Key: model.Key{Variable: model.ClientAddress}, Rate: 1, Burst: 2, Status: 429,
		Pos: model.Pos{File: "f", Line: 1},
	}
	byHeader, elsewhere := byClient, model.Pos{File: "f", Line: 2}
	byHeader.Key = model.Key{Variable: model.RequestHeader, Name: "x-key"}
	byHeader.Exempt = model.Exemption{Kind: model.KeyNotSent}
	unknown := byClient
	unknown.Key = model.Key{Variable: model.OtherVariable, Source: "$whatever"}
	served, refused := history.Hit{Code: 200, Server: "a"}, history.Hit{Code: 429}
	const client, mixed = "10.0.0.9", "requests failed, or another limit with the same status may have refused them"
	for name, c := range map[string]collectCase{
		"served and refused": {
			limit: byClient, hits: []history.Hit{served, refused, served}, key: client, counted: 3,
			in: 2,
		},
		"refused with another code": {
			limit: byClient, hits: []history.Hit{{Code: 503}}, key: client, counted: 1,
			unexpected: 1,
		},
		"an error of its own": {limit: byClient, hits: []history.Hit{{Code: 500}}, key: client, counted: 1, in: 1},
		"no code for a limit, possibly from an access rule": {
			limit: byClient, hits: []history.Hit{{Code: 403}}, key: client, counted: 1, in: 1,
			route: func(r *model.Route) { r.Access = []model.Access{{Clients: "all"}} },
		},
		"a breaker may have refused": {
			limit: byClient, hits: []history.Hit{{Code: 503}}, broken: mixed,
			route: func(r *model.Route) { r.Breaker = &model.Breaker{} },
		},
		"a request that failed": {
			limit: byClient, hits: []history.Hit{served, {Err: history.Timeout}},
			broken: mixed,
		},
		"another rate with the same status": {
			limit: byClient, others: []model.Limit{{Algorithm: model.TokenBucket, Status: 429, Pos: elsewhere}},
			hits: []history.Hit{served}, broken: mixed,
		},
		"a concurrency limit that is not reached": {
			limit: byClient, others: []model.Limit{{Algorithm: model.InFlight, MaxInFlight: 5, Status: 429, Pos: elsewhere}},
			hits: []history.Hit{served}, key: client, counted: 1, in: 1,
		},
		"through a peer": {
			limit: byClient, hits: []history.Hit{served}, key: client + " through lb-2", counted: 1, in: 1,
			phase: func(p *plan.Phase) { p.ViaPeer = "lb-2" },
		},
		"without a key":         {limit: byHeader, hits: []history.Hit{served}},
		"refused without a key": {limit: byHeader, hits: []history.Hit{refused}, unexpected: 1},
		"with a key": {
			limit: byHeader, hits: []history.Hit{served}, phase: withKey("one"), key: "one", counted: 1,
			in: 1,
		},
		"an unknown key": {
			limit: unknown, hits: []history.Hit{served},
			broken: "cannot determine the key $whatever of a request",
		},
	} {
		byKey, unexpected, broken := collect(c.history(),
			check.Group[model.Limit]{What: c.limit, Routes: []model.Route{c.routed()}})
		assert.Equal(t, c.broken, broken, name)
		assert.Equal(t, c.unexpected, unexpected.Total, name)
		assert.Len(t, byKey[c.key], c.counted, name)
		let := 0
		for _, a := range byKey[c.key] {
			if a.admitted {
				let++
			}
		}
		assert.Equal(t, c.in, let, name)
	}
}

// withKey adds a key to requests.
func withKey(key string) func(*plan.Phase) {
	return func(p *plan.Phase) { p.Keys = plan.Keys{Header: "X-Key", Values: []string{key}} }
}

func (c collectCase) routed() model.Route {
	r := model.Route{
		Path: "/", Port: 80, Pool: "p", DefaultHost: true,
		Limits: append([]model.Limit{c.limit}, c.others...),
	}
	if c.route != nil {
		c.route(&r)
	}
	return r
}

func (c collectCase) history() history.History {
	load := plan.Phase{Count: len(c.hits), Concurrency: 1, Requests: []plan.Request{{Path: "/", Port: 80}}}
	if c.phase != nil {
		c.phase(&load)
	}
	p := plan.Plan{
		Phases: []plan.Phase{load},
		Config: model.Config{Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{c.routed()}},
	}
	hits := slices.Clone(c.hits)
	for i := range hits {
		hits[i].Seq, hits[i].Index = p.FirstHit(0)+uint64(i), i
		hits[i].Sent = time.Duration(i) * 100 * time.Millisecond
		hits[i].Done = hits[i].Sent + time.Millisecond
	}
	return history.History{
		Plan: p, Env: history.Environment{ClientAddr: "10.0.0.9"},
		Hits: slices.Values(hits), Arrivals: slices.Values([]history.Arrival(nil)),
	}
}

// Only rates and limits that the configuration declares are judged.
func TestHasKnownLaw(t *testing.T) {
	assert.True(t, hasKnownLaw(model.Limit{Algorithm: model.InFlight, MaxInFlight: 1}))
	assert.False(t, hasKnownLaw(model.Limit{Algorithm: model.InFlight}))
	assert.True(t, hasKnownLaw(model.Limit{
		Algorithm: model.CountWindow, Counts: model.CountsRequests,
		Window: time.Second,
	}))
	assert.False(t, hasKnownLaw(model.Limit{Algorithm: model.CountWindow, Counts: model.CountsRequests}))
	assert.False(t, hasKnownLaw(model.Limit{
		Algorithm: model.CountWindow, Counts: model.CountsErrors,
		Window: time.Second,
	}))
	assert.True(t, hasKnownLaw(model.Limit{Algorithm: model.LeakyBucket, Rate: 1}))
	assert.False(t, hasKnownLaw(model.Limit{Algorithm: model.LeakyBucket}))
}

// An admitted, delayed request was decided no later than a refused one that was sent after it.
func TestLatestDecisions(t *testing.T) {
	at := func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }
	one := func(sent, done int, in bool) limitedRequest {
		a := limitedRequest{hit: history.Hit{Sent: at(sent), Done: at(done)}, admitted: in}
		a.Latest = a.hit.Done
		return a
	}
	waits, refused, alone := one(0, 2000, true), one(100, 110, false), one(500, 2500, true)
	got := latestDecisions([]limitedRequest{waits, refused, alone})
	assert.Equal(t, at(110)+decisionSlack, got[0])
	assert.Equal(t, at(110), got[1])
	assert.Equal(t, at(2500), got[2])
}

// One request too many or too few leaves the bounds of a leaky bucket.
func TestFindViolation(t *testing.T) {
	limit := model.Limit{Algorithm: model.LeakyBucket, Rate: 1, Burst: 2, Delay: -1}
	f := func(says string, in ...bool) {
		t.Helper()
		var all []limitedRequest
		for i, admitted := range in { // simultaneous, each decided within 1 ms
			sent := time.Second + time.Duration(i)*time.Millisecond
			a := limitedRequest{hit: history.Hit{Seq: uint64(i + 1), Sent: sent, Done: sent + time.Millisecond}, admitted: admitted}
			a.Earliest, a.Latest = sent, a.hit.Done
			all = append(all, a)
		}
		if why := findViolation(limit, lawOf(limit, 1, 1), all); says == "" {
			assert.Empty(t, why)
		} else {
			assert.Contains(t, why, says)
		}
	}
	f("", true, true, true, false)
	f("at most 3 allowed", true, true, true, true)
	f("at least 3 required", true, true, false, false)
}
