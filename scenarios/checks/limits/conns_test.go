package limits

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Requests that go to the backup while the server has room refute its limit, unless failures explain them.
func TestRefusedWithRoom(t *testing.T) {
	server := model.Server{Host: "a", MaxConns: &model.Number{Value: 10}}
	pool := model.Pool{
		Name: "p", WhenFull: model.SkipFullServers, Servers: []model.Server{server, {Host: "b", Backup: true}},
	}
	load := plan.Phase{Count: 40, Requests: []plan.Request{{Path: "/", Port: 80}}}
	p := plan.Plan{
		Config: model.Config{
			Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool},
			Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true}},
		},
		Phases: []plan.Phase{load},
	}
	reload := history.FaultWindow{
		Event: plan.Event{Fault: plan.FaultReload}, RequestedAt: 100 * time.Millisecond, EndsBy: 200 * time.Millisecond,
	}
	slow := history.FaultWindow{
		Event:       plan.Event{Fault: plan.FaultSlow, Target: "a", Settings: plan.Settings{plan.SettingShare: "100%"}},
		RequestedAt: time.Second, StartsBy: time.Second, EndsAfter: 20 * time.Second,
	}
	f := func(places int, want int, change func(hits []history.Hit), marks ...history.FaultWindow) {
		t.Helper()
		var hits []history.Hit
		var arrivals []history.Arrival
		for i := range load.Count { // 20 a second, of which the server gets as many as its limit
			sent := 2*time.Second + time.Duration(i/20)*2*time.Second
			h := history.Hit{Seq: p.FirstHit(0) + uint64(i), Index: i, Sent: sent, Code: 200, Server: "a"}
			h.Done = h.Sent + time.Second
			if i%20 >= places {
				h.Server, h.Done = "b", h.Sent+time.Millisecond
			}
			hits = append(hits, h)
			arrivals = append(arrivals, history.Arrival{Seq: h.Seq, At: h.Sent, Server: h.Server})
		}
		change(hits)
		h := history.History{
			Plan: p, Env: history.Environment{Faults: marks}, Hits: slices.Values(hits), Arrivals: slices.Values(arrivals),
		}
		wrong := findRefusedWithRoom(h, pool, server)
		assert.Equal(t, want, wrong.Total)
	}
	as := func([]history.Hit) {}
	f(10, 0, as, reload, slow)
	f(4, 32, as, reload, slow)
	f(4, 0, as, slow)                                                    // earlier failures may have been counted
	f(4, 0, func(all []history.Hit) { all[3].Code = 504 }, reload, slow) // and so may this one
	f(9, 0, as, reload, slow)                                            // one may be in flight without a waiting client
}
