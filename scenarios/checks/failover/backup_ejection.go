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

// maxAllDown is how long an experiment leaves a pool without servers.
const maxAllDown = time.Minute

// concernsOnlyBackups says whether only backups of a pool are taken out like that, so that it shows only when all others are
// dead.
func concernsOnlyBackups(pool model.Pool, p model.Ejection) bool {
	return !slices.ContainsFunc(check.Rotation(pool), func(s model.Server) bool { return hasSameEjection(s, p) })
}

// backupEjectionRequirements have all servers of a pool die at once, until a backup must have been tried again, and asked often
// enough.
func backupEjectionRequirements(cfg model.Config, pool model.Pool, p model.Ejection, cpus int) []check.Requirement {
	r, ok := check.RequestToPool(cfg, pool.Name)
	states := max(1, check.CountInstances(cfg, pool, cpus))
	again := max(1, (check.Repetitions+states-1)/states-p.MaxFails) // each state
	lasts := time.Duration(again)*(p.Duration+time.Second) + 2*outage.SettleTime
	if !ok || lasts > maxAllDown {
		return nil
	}
	t := check.Requirement{
		Kind: plan.KindAllDown, AllDownFor: lasts, Detects: "how often a dead backup is asked, and when it is tried again",
		Phase: plan.Phase{
			Rate: outageRate / 2, Concurrency: 512, Count: 1, Requests: []plan.Request{r},
			Clients: plan.Clients{Count: 16, OwnAddresses: true}, // so that every worker has some
		},
	}
	for _, s := range pool.Servers {
		inAnother := func(o model.Pool) bool { return o.Name != pool.Name && check.HasServer(cfg, o.Name, s.Host) }
		switch {
		case s.Down || s.Drain:
		case s.Backup && slices.ContainsFunc(cfg.Pools, inAnother): // whose attempts may be among its
			return nil
		default:
			t.AllDown = append(t.AllDown, s.Host)
		}
	}
	return []check.Requirement{t}
}

// judgeBackupEjection judges how often dead backups were asked while nobody else was there.
func judgeBackupEjection(h history.History, pool model.Pool, p model.Ejection) check.Finding {
	f := backupEjection{Ejection: p, instances: h.Env.Workers}
	if pool.SharedState {
		f.instances = 1
	}
	for _, e := range outage.FindAll(h, pool, outage.RefusingFaults...) {
		alone := h.Plan.Phases[e.Fault.Event.Phase].Kind == plan.KindAllDown
		mine := e.Server.Backup && hasSameEjection(e.Server, p)
		if alone && mine && e.Rate > 0 {
			f.addOutage(e, h, pool)
		}
	}
	return f.finding(h)
}

// backupEjection is what the deaths of backups have shown while all other servers were dead.
type backupEjection struct {
	model.Ejection
	instances int // that count for themselves
	outages   int // that were long enough to show it
	attempts  int // attempts in them
	wrong     check.Examples
}

// addOutage judges one death.
func (f *backupEjection) addOutage(e *outage.Outage, h history.History, pool model.Pool) {
	// Until every state is asked again, but for one time in a thousand.
	next := time.Duration(math.Log(1000) * float64(f.instances) * e.Share / e.Rate * float64(time.Second))
	latest := f.Duration + time.Second + next + outage.Tolerance
	if n := len(e.Attempts); n == 0 || e.Fault.EndsAfter-e.Attempts[0] < latest {
		return
	}
	f.outages++
	f.attempts += len(e.Attempts)
	f.checkEarly(e, e.IndependentAttempts(h, pool.Name))
	if first, _ := slices.BinarySearch(e.Attempts, e.Attempts[0]+f.Duration-outage.Tolerance); first < f.MaxFails {
		f.wrong.Add("%s was left alone after %s in all, of %s that each state makes",
			e.Server.Host, units.Plural(first, "attempt"), units.Number(f.MaxFails))
	}
	f.checkLate(e, latest)
}

// checkEarly judges attempts that came before the time was over in which no state makes another.
func (f *backupEjection) checkEarly(e *outage.Outage, sure []time.Duration) {
	soon, all := 0, f.instances*f.MaxFails
	for i := all; i < len(sure); i++ {
		if sure[i]-sure[i-all] < f.Duration-outage.Tolerance {
			soon++
		}
	}
	if soon >= check.Repetitions {
		f.wrong.Add("%s was sent %s while it was dead from %.2f s to %.2f s, %s of them sooner than %s after it had "+
			"failed %s in every state",
			e.Server.Host, units.Plural(len(e.Attempts), "request"), e.Fault.StartsBy.Seconds(), e.Fault.EndsAfter.Seconds(),
			units.Number(soon), units.Duration(f.Duration), units.Plural(f.MaxFails, "time"))
	}
}

// checkLate judges how long the backup was left alone between two attempts.
func (f *backupEjection) checkLate(e *outage.Outage, latest time.Duration) {
	for i, at := range e.Attempts {
		until := e.Fault.EndsAfter
		if i+1 < len(e.Attempts) {
			until = e.Attempts[i+1]
		}
		if until-at > latest {
			f.wrong.Add("%s was sent no request for %.2f s after %.2f s, though nobody else was there; it is tried "+
				"again after %g s at most",
				e.Server.Host, (until - at).Seconds(), at.Seconds(), (f.Duration + time.Second).Seconds())
		}
	}
}

// finding is what all deaths together say.
func (f *backupEjection) finding(h history.History) check.Finding {
	states, attempts := units.Plural(f.instances, "independent state"), units.Plural(f.instances*f.MaxFails, "attempt")
	found := check.Finding{
		N: f.attempts, Need: check.Repetitions, Inconclusive: check.WhyNodeExited(h),
		Test: fmt.Sprintf("attempts on the backup while all servers are dead, and how long it was left alone, %s",
			states),
		Measured: fmt.Sprintf("%s on dead backups in %s",
			units.Plural(f.attempts, "attempt"), units.Plural(f.outages, "death")),
		Predicted: fmt.Sprintf("at most %s in %s, and one in %s",
			attempts, units.Duration(f.Duration), units.Duration(f.Duration+time.Second)),
		Power: "would have caught more attempts than that, fewer than one state makes, and an absence that is a " +
			"second longer, or half as long",
	}
	if found.Inconclusive == "" && f.outages == 0 {
		found.Inconclusive = "no backup was dead for long enough while all other servers were, under an open loop, to show it"
	}
	if found.Inconclusive == "" {
		found.CounterExamples = f.wrong.List()
	}
	return found
}
