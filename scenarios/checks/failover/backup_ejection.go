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

// nginx ejects a backup like a primary server (ngx_http_upstream_round_robin.c: backups are a separate group with their
// own counts), which shows only while all other servers are down: every instance makes max_fails attempts, then none
// for fail_timeout, then one more.

// maxAllDown is the longest time that a phase takes all servers of a pool down.
const maxAllDown = time.Minute

// concernsOnlyBackups reports whether only backups of a pool are ejected by a rule, so that it shows only when all
// others are down.
func concernsOnlyBackups(pool model.Pool, p model.Ejection) bool {
	return !slices.ContainsFunc(check.Rotation(pool), func(s model.Server) bool { return hasSameEjection(s, p) })
}

// backupEjectionRequirements requests an outage of all servers of a pool, until a backup must have been retried, and
// got enough requests.
func backupEjectionRequirements(cfg model.Config, pool model.Pool, p model.Ejection, cpus int) []check.Requirement {
	r, ok := check.RequestToPool(cfg, pool.Name)
	instances := max(1, check.CountInstances(cfg, pool, cpus))
	again := max(1, (check.Repetitions+instances-1)/instances-p.MaxFails) // per instance
	lasts := time.Duration(again)*(p.Duration+time.Second) + 2*outage.SettleTime
	if !ok || lasts > maxAllDown {
		return nil
	}
	t := check.Requirement{
		Kind: plan.KindAllDown, AllDownFor: lasts,
		Detects: "a wrong number of attempts on a backup that is down, or a wrong ejection time",
		Phase: plan.Phase{
			Rate: outageRate / 2, Concurrency: 512, Count: 1, Requests: []plan.Request{r},
			Clients: plan.Clients{Count: 16, OwnAddresses: true}, // every worker gets some
		},
	}
	for _, s := range pool.Servers {
		inAnother := func(o model.Pool) bool { return o.Name != pool.Name && check.HasServer(cfg, o.Name, s.Host) }
		switch {
		case s.Down || s.Drain:
		case s.Backup && slices.ContainsFunc(cfg.Pools, inAnother): // attempts may be the other pool's
			return nil
		default:
			t.AllDown = append(t.AllDown, s.Host)
		}
	}
	return []check.Requirement{t}
}

// judgeBackupEjection judges the attempts on backups that are down together with all other servers.
func judgeBackupEjection(h history.History, pool model.Pool, p model.Ejection) check.Finding {
	f := backupEjection{Ejection: p, instances: h.Env.Workers}
	if pool.SharedState {
		f.instances = 1
	}
	for _, e := range outage.FindAll(h, pool, outage.RefusingFaults...) {
		allDown := h.Plan.Phases[e.Fault.Event.Phase].Kind == plan.KindAllDown
		mine := e.Server.Backup && hasSameEjection(e.Server, p)
		if allDown && mine && e.Rate > 0 {
			f.addOutage(e, h, pool)
		}
	}
	return f.finding(h)
}

// backupEjection is the evidence of outages of all servers of a pool.
type backupEjection struct {
	model.Ejection
	instances int // with their own counts
	outages   int // that were long enough
	attempts  int // in these outages
	wrong     check.Examples
}

// addOutage judges one outage.
func (f *backupEjection) addOutage(e *outage.Outage, h history.History, pool model.Pool) {
	// The 99.9 % quantile of the time until every instance gets a request.
	next := time.Duration(math.Log(1000) * float64(f.instances) * e.Share / e.Rate * float64(time.Second))
	latest := f.Duration + time.Second + next + outage.Tolerance
	if n := len(e.Attempts); n == 0 || e.Fault.EndsAfter-e.Attempts[0] < latest {
		return
	}
	f.outages++
	f.attempts += len(e.Attempts)
	f.checkEarly(e, e.IndependentAttempts(h, pool.Name))
	if first, _ := slices.BinarySearch(e.Attempts, e.Attempts[0]+f.Duration-outage.Tolerance); first < f.MaxFails {
		f.wrong.Add("%s was ejected after only %s (max_fails=%s per instance)",
			e.Server.Host, units.Plural(first, "attempt"), units.Number(f.MaxFails))
	}
	f.checkLate(e, latest)
}

// checkEarly judges attempts during the ejection time.
func (f *backupEjection) checkEarly(e *outage.Outage, independent []time.Duration) {
	early, all := 0, f.instances*f.MaxFails
	for i := all; i < len(independent); i++ {
		if independent[i]-independent[i-all] < f.Duration-outage.Tolerance {
			early++
		}
	}
	if early >= check.Repetitions {
		f.wrong.Add("%s got %s during its outage from %.2f s to %.2f s, %s of them within %s after %s in every instance",
			e.Server.Host, units.Plural(len(e.Attempts), "request"), e.Fault.StartsBy.Seconds(), e.Fault.EndsAfter.Seconds(),
			units.Number(early), units.Duration(f.Duration), units.Plural(f.MaxFails, "failure"))
	}
}

// checkLate judges the time between two attempts.
func (f *backupEjection) checkLate(e *outage.Outage, latest time.Duration) {
	for i, at := range e.Attempts {
		until := e.Fault.EndsAfter
		if i+1 < len(e.Attempts) {
			until = e.Attempts[i+1]
		}
		if until-at > latest {
			f.wrong.Add("%s got no requests for %.2f s after %.2f s although all other servers were down (max %g s)",
				e.Server.Host, (until - at).Seconds(), at.Seconds(), (f.Duration + time.Second).Seconds())
		}
	}
}

// finding summarizes all outages.
func (f *backupEjection) finding(h history.History) check.Finding {
	instances := units.Plural(f.instances, "independent instance")
	attempts := units.Plural(f.instances*f.MaxFails, "attempt")
	found := check.Finding{
		N: f.attempts, Need: check.Repetitions, Inconclusive: check.WhyNodeExited(h),
		Test: fmt.Sprintf("attempts on the backup while all servers are down, and its ejection time, %s", instances),
		Measured: fmt.Sprintf("%s in %s",
			units.Plural(f.attempts, "attempt"), units.Plural(f.outages, "outage")),
		Predicted: fmt.Sprintf("at most %s per %s, and at least one per %s",
			attempts, units.Duration(f.Duration), units.Duration(f.Duration+time.Second)),
		Power: "detects more attempts, fewer than one instance makes, and ejections 1 s longer or half as long",
	}
	if found.Inconclusive == "" && f.outages == 0 {
		found.Inconclusive = "no backup was down long enough together with all other servers under open-loop traffic"
	}
	if found.Inconclusive == "" {
		found.CounterExamples = f.wrong.List()
	}
	return found
}
