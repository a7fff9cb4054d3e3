package checks

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Failed requests take a backup out of nginx's rotation as they do a primary server (ngx_http_upstream_round_robin.c: a group of its own, with
// counts of its own), which shows only while nobody else is there: every state makes so many attempts on it, then none for
// fail_timeout, then one more.

// longestForsaken is how long an experiment leaves a pool without servers.
const longestForsaken = time.Minute

// backupsOnly says whether only backups of a pool are taken out like that, so that it shows only when all others are dead.
func backupsOnly(pool model.Pool, p model.Passive) bool {
	return !slices.ContainsFunc(rotation(pool), func(s model.Server) bool { return alike(s, p) })
}

// forsakenTrials have all servers of a pool die at once, until a backup must have been tried again, and asked often enough.
func forsakenTrials(cfg model.Config, pool model.Pool, p model.Passive, cpus int) []Trial {
	r, ok := toPool(cfg, pool.Name)
	states := max(1, statesOf(cfg, pool, cpus))
	again := max(1, (Often+states-1)/states-p.Fails) // each state
	lasts := time.Duration(again)*(p.Out+time.Second) + 2*settling
	if !ok || lasts > longestForsaken {
		return nil
	}
	t := Trial{
		Kind: Forsaken, Lasts: lasts, Shows: "how often a dead backup is asked, and when it is tried again",
		Load: plan.Phase{Rate: deathRate / 2, Concurrency: 512, Count: 1, Requests: []plan.Request{r}, Clients: plan.Clients{Count: 16, Addresses: true}}, // so that every worker has some
	}
	for _, s := range pool.Servers {
		elsewhere := func(o model.Pool) bool { return o.Name != pool.Name && serves(cfg, o.Name, s.Host) }
		switch {
		case s.Down || s.Drain:
		case s.Backup && slices.ContainsFunc(cfg.Pools, elsewhere): // whose attempts may be among its
			return nil
		default:
			t.Gone = append(t.Gone, s.Host)
		}
	}
	return []Trial{t}
}

// judgeForsaken judges how often dead backups were asked while nobody else was there.
func judgeForsaken(h history.History, pool model.Pool, p model.Passive) Finding {
	states := h.Env.Workers
	if pool.SharedState {
		states = 1
	}
	f := Finding{
		Need: Often, Test: fmt.Sprintf("attempts on the backup while all servers are dead, and how long it was left alone, %s", plural(states, "independent state")),
		Predicted: fmt.Sprintf("at most %s in %s, and one in %s", plural(states*p.Fails, "attempt"), span(p.Out), span(p.Out+time.Second)),
		Power:     "would have caught more attempts than that, fewer than one state makes, and an absence that is a second longer, or half as long",
	}
	var wrong examples
	deaths := 0
	for _, e := range everyEpisode(h, pool, refusing...) {
		if !e.server.Backup || !alike(e.server, p) || e.rate == 0 || h.Plan.Phases[e.mark.Event.Phase].Name != Forsaken {
			continue
		}
		next := time.Duration(math.Log(1000) * float64(states) * e.share / e.rate * float64(time.Second)) // until every state is asked again
		latest := p.Out + time.Second + next + slack
		if n := len(e.attempts); n == 0 || e.mark.Ended-e.attempts[0] < latest {
			continue
		}
		deaths++
		f.N += len(e.attempts)
		soon, sure := 0, e.sure(h, pool.Name)
		for i := states * p.Fails; i < len(sure); i++ {
			if sure[i]-sure[i-states*p.Fails] < p.Out-slack {
				soon++
			}
		}
		if soon >= Often {
			wrong.add("%s was sent %s while it was dead from %.2f s to %.2f s, %s of them sooner than %s after it had failed %s in every state",
				e.server.Host, plural(len(e.attempts), "request"), e.mark.From.Seconds(), e.mark.Ended.Seconds(), number(soon), span(p.Out), plural(p.Fails, "time"))
		}
		if first, _ := slices.BinarySearch(e.attempts, e.attempts[0]+p.Out-slack); first < p.Fails {
			wrong.add("%s was left alone after %s in all, of %s that each state makes", e.server.Host, plural(first, "attempt"), number(p.Fails))
		}
		for i, at := range e.attempts {
			until := e.mark.Ended
			if i+1 < len(e.attempts) {
				until = e.attempts[i+1]
			}
			if until-at > latest {
				wrong.add("%s was sent no request for %.2f s after %.2f s, though nobody else was there; it is tried again after %g s at most",
					e.server.Host, (until - at).Seconds(), at.Seconds(), (p.Out + time.Second).Seconds())
			}
		}
	}
	f.Measured = fmt.Sprintf("%s on dead backups in %s", plural(f.N, "attempt"), plural(deaths, "death"))
	if f.Broken = died(h); f.Broken == "" && deaths == 0 {
		f.Broken = "no backup was dead for long enough while all other servers were, under an open loop, to show it"
	}
	if f.Broken == "" {
		f.Counter = wrong.list()
	}
	return f
}
