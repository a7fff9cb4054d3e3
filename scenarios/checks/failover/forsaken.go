package failover

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// Failed requests take a backup out of nginx's rotation as they do a primary server (ngx_http_upstream_round_robin.c: a
// group of its own, with counts of its own), which shows only while nobody else is there: every state makes so many
// attempts on it, then none for fail_timeout, then one more.

// longestForsaken is how long an experiment leaves a pool without servers.
const longestForsaken = time.Minute

// backupsOnly says whether only backups of a pool are taken out like that, so that it shows only when all others are
// dead.
func backupsOnly(pool model.Pool, p model.Ejection) bool {
	return !slices.ContainsFunc(check.Rotation(pool), func(s model.Server) bool { return alike(s, p) })
}

// forsakenTrials have all servers of a pool die at once, until a backup must have been tried again, and asked often
// enough.
func forsakenTrials(cfg model.Config, pool model.Pool, p model.Ejection, cpus int) []check.Trial {
	r, ok := check.RequestToPool(cfg, pool.Name)
	states := max(1, check.StatesOf(cfg, pool, cpus))
	again := max(1, (check.Often+states-1)/states-p.Fails) // each state
	lasts := time.Duration(again)*(p.Out+time.Second) + 2*outage.Settling
	if !ok || lasts > longestForsaken {
		return nil
	}
	t := check.Trial{
		Kind: plan.KindNobodyLeft, Lasts: lasts, Shows: "how often a dead backup is asked, and when it is tried again",
		Load: plan.Phase{
			Rate: deathRate / 2, Concurrency: 512, Count: 1, Requests: []plan.Request{r},
			Clients: plan.Clients{Count: 16, Addresses: true}, // so that every worker has some
		},
	}
	for _, s := range pool.Servers {
		inAnother := func(o model.Pool) bool { return o.Name != pool.Name && check.Serves(cfg, o.Name, s.Host) }
		switch {
		case s.Down || s.Drain:
		case s.Backup && slices.ContainsFunc(cfg.Pools, inAnother): // whose attempts may be among its
			return nil
		default:
			t.Gone = append(t.Gone, s.Host)
		}
	}
	return []check.Trial{t}
}

// judgeForsaken judges how often dead backups were asked while nobody else was there.
func judgeForsaken(h history.History, pool model.Pool, p model.Ejection) check.Finding {
	f := forsaken{Ejection: p, states: h.Env.Workers}
	if pool.SharedState {
		f.states = 1
	}
	for _, e := range outage.EveryEpisode(h, pool, outage.Refusing...) {
		alone := h.Plan.Phases[e.Mark.Event.Phase].Kind == plan.KindNobodyLeft
		mine := e.Server.Backup && alike(e.Server, p)
		if alone && mine && e.Rate > 0 {
			f.see(e, h, pool)
		}
	}
	return f.finding(h)
}

// forsaken is what the deaths of backups have shown while all other servers were dead.
type forsaken struct {
	model.Ejection
	states int // that count for themselves
	deaths int // that were long enough to show it
	asked  int // attempts in them
	wrong  check.Examples
}

// see judges one death.
func (f *forsaken) see(e *outage.Episode, h history.History, pool model.Pool) {
	// Until every state is asked again, but for one time in a thousand.
	next := time.Duration(math.Log(1000) * float64(f.states) * e.Share / e.Rate * float64(time.Second))
	latest := f.Out + time.Second + next + outage.Slack
	if n := len(e.Attempts); n == 0 || e.Mark.Ended-e.Attempts[0] < latest {
		return
	}
	f.deaths++
	f.asked += len(e.Attempts)
	f.tooSoon(e, e.Sure(h, pool.Name))
	if first, _ := slices.BinarySearch(e.Attempts, e.Attempts[0]+f.Out-outage.Slack); first < f.Fails {
		f.wrong.Add("%s was left alone after %s in all, of %s that each state makes",
			e.Server.Host, units.Plural(first, "attempt"), units.Number(f.Fails))
	}
	f.tooLate(e, latest)
}

// tooSoon judges attempts that came before the time was over in which no state makes another.
func (f *forsaken) tooSoon(e *outage.Episode, sure []time.Duration) {
	soon, all := 0, f.states*f.Fails
	for i := all; i < len(sure); i++ {
		if sure[i]-sure[i-all] < f.Out-outage.Slack {
			soon++
		}
	}
	if soon >= check.Often {
		f.wrong.Add("%s was sent %s while it was dead from %.2f s to %.2f s, %s of them sooner than %s after it had "+
			"failed %s in every state",
			e.Server.Host, units.Plural(len(e.Attempts), "request"), e.Mark.From.Seconds(), e.Mark.Ended.Seconds(),
			units.Number(soon), units.Span(f.Out), units.Plural(f.Fails, "time"))
	}
}

// tooLate judges how long the backup was left alone between two attempts.
func (f *forsaken) tooLate(e *outage.Episode, latest time.Duration) {
	for i, at := range e.Attempts {
		until := e.Mark.Ended
		if i+1 < len(e.Attempts) {
			until = e.Attempts[i+1]
		}
		if until-at > latest {
			f.wrong.Add("%s was sent no request for %.2f s after %.2f s, though nobody else was there; it is tried "+
				"again after %g s at most",
				e.Server.Host, (until - at).Seconds(), at.Seconds(), (f.Out + time.Second).Seconds())
		}
	}
}

// finding is what all deaths together say.
func (f *forsaken) finding(h history.History) check.Finding {
	states, attempts := units.Plural(f.states, "independent state"), units.Plural(f.states*f.Fails, "attempt")
	found := check.Finding{
		N: f.asked, Need: check.Often, Broken: check.NodeDied(h),
		Test: fmt.Sprintf("attempts on the backup while all servers are dead, and how long it was left alone, %s",
			states),
		Measured: fmt.Sprintf("%s on dead backups in %s",
			units.Plural(f.asked, "attempt"), units.Plural(f.deaths, "death")),
		Predicted: fmt.Sprintf("at most %s in %s, and one in %s",
			attempts, units.Span(f.Out), units.Span(f.Out+time.Second)),
		Power: "would have caught more attempts than that, fewer than one state makes, and an absence that is a " +
			"second longer, or half as long",
	}
	if found.Broken == "" && f.deaths == 0 {
		found.Broken = "no backup was dead for long enough while all other servers were, under an open loop, to show it"
	}
	if found.Broken == "" {
		found.Counter = f.wrong.List()
	}
	return found
}
