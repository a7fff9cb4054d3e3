package checks

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
)

// A backup that dies with all others is asked by each worker as often as max_fails says, and once more in each fail_timeout.
func TestForsaken(t *testing.T) {
	const workers, fails, claimed = 2, 3, 10 * time.Second
	ejects := &model.Passive{Law: "nginx", Fails: fails, Out: claimed}
	other := &model.Passive{Law: "nginx", Fails: 5, Out: 30 * time.Second}
	pool := model.Pool{Name: "p", Servers: []model.Server{{Host: "a", Port: 80, Passive: other}, {Host: "b", Port: 80, Passive: other}, {Host: "c", Port: 80, Backup: true, Passive: ejects}}}
	cfg := model.Config{
		Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", Fallback: true}},
	}
	claim := plan.Claim{ID: id("passive", "p", "c"), Check: "passive", Subject: "p"}
	trials := passive.Trials(cfg, claim, Terms{})
	assert.Equal(t, []string{"a", "b", "c"}, trials[0].Gone)
	lasts := trials[0].Lasts
	pool.Servers[2].Passive = &model.Passive{Law: "nginx", Fails: 1, Out: claimed}
	for cpus, want := range map[int]time.Duration{1: 24 * time.Second, 2: 13 * time.Second, 16: 13 * time.Second} { // so that it is asked three times at least
		auto := model.Config{Balancer: "nginx", Workers: model.Workers{Auto: true}, Routes: cfg.Routes, Listeners: cfg.Listeners, Pools: []model.Pool{pool}}
		assert.Equal(t, want, passive.Trials(auto, claim, Terms{CPUs: cpus})[0].Lasts)
	}
	pool.Servers[2].Passive = ejects

	// Each worker makes so many attempts at first, and one after each time that it left the backup alone.
	f := func(first int, out, dead time.Duration, outcome report.Outcome, reason string, stalls ...time.Duration) {
		t.Helper()
		p := plan.Plan{Alpha: 1e-3, Beta: 1e-3, Config: cfg, Phases: []plan.Phase{{Name: Forsaken, Count: 1000, Rate: 50, Requests: []plan.Request{{Path: "/", Port: 80}}}}}
		var attempts []history.Attempt
		for worker := range workers {
			at, times := time.Second+time.Duration(worker)*100*time.Millisecond, first
			for at < time.Second+dead {
				for range times {
					attempts = append(attempts, history.Attempt{At: at, Node: "c", From: "nginx", Port: 80})
					at += 40 * time.Millisecond
				}
				times, at = 1, at+out+500*time.Millisecond
			}
		}
		var hits []history.Hit
		send := func(at, lasts time.Duration) {
			hits = append(hits, history.Hit{Seq: p.First(0) + uint64(len(hits)), Index: len(hits), Sent: at, Done: at + lasts, Code: 502})
		}
		for _, a := range attempts {
			send(a.At-time.Millisecond, 2*time.Millisecond)
		}
		for _, at := range stalls {
			send(at, time.Second)
		}
		slices.SortFunc(attempts, func(a, b history.Attempt) int { return int(a.At - b.At) })
		h := history.History{
			Plan: p, Attempts: slices.Values(attempts), Hits: slices.Values(hits), Arrivals: func(func(history.Arrival) bool) {},
			Env: history.Environment{Workers: workers, Phases: []history.Phase{{End: time.Minute}}},
		}
		for _, host := range trials[0].Gone {
			h.Env.Marks = append(h.Env.Marks, history.Mark{
				Event: plan.Event{Fault: "kill", Target: host}, Ordered: time.Second, Before: time.Second - 1, From: time.Second, Ended: time.Second + dead, To: time.Second + dead,
			})
		}
		got, why := decide(passive.Judge(claim, h), 1, p.Alpha)
		assert.Equal(t, outcome, got, why)
		assert.Contains(t, why, reason)
	}
	f(fails, claimed, lasts, report.Upheld, "")
	f(1, claimed, lasts, report.Refuted, "was left alone after 2 attempts in all, of 3 that each state makes")
	f(fails, claimed, 5*time.Second, report.Undecided, "no backup was dead for long enough")
	f(fails, 2*claimed, lasts, report.Refuted, "was sent no request for")
	f(fails, claimed/4, lasts, report.Refuted, "of them sooner than 10s")
	f(fails, -450*time.Millisecond, lasts, report.Refuted, "of them sooner than 10s")
	f(4*fails, claimed, lasts, report.Refuted, "of them sooner than 10s")
	f(4*fails, claimed, lasts, report.Upheld, "", 900*time.Millisecond) // all were under way by the first
}
