package traffic

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Answered = check.Check{
	Name: plan.CheckAnswered,
	Doc: "Every request of a proxied route is answered by a backend, with a status below 400, and below 500 where the request " +
		"was lbproof's own probe of a path that the backend may not know.",
	Law:    "one that is not refutes the claim; a lone one that a server was tried for in vain leaves it undecided",
	Claims: answeredClaims,
	Probes: check.Probe,
	Judge:  judgeAnswered,
}

func answeredClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, r := range check.ProxiedRoutes(cfg) {
		if r.Guarded { // its configuration promises refusals too
			continue
		}
		claims = append(claims, plan.Claim{
			ID: check.ClaimID(plan.CheckAnswered, r.Key(), ""), Check: plan.CheckAnswered, Subject: r.Key(), Pos: r.PoolPos,
			Text:    fmt.Sprintf("Every request to %s is answered by a backend of %s; none is lost or failed.", r.Key(), r.Pool),
			Assumes: []string{"the requests are ones that a healthy backend answers without an error"},
		})
	}
	return claims
}

func judgeAnswered(claim plan.Claim, h history.History) check.Finding {
	f := check.Finding{Need: check.NeedAll(h), Test: "count of failed requests, none allowed", Predicted: "0 failed"}
	var failed check.Examples
	unsure := map[string]int{}
	during := 0          // while a fault was in force
	var last history.Hit // that failed
	find, failedIn := check.Journeys(h), map[int]bool{}
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.Key != claim.Subject {
			continue
		}
		if check.FaultInForce(h, hit) {
			during++
			continue
		}
		before := failed.Total
		switch r := j.Request; {
		case hit.Err == history.Tester:
			unsure["the sender could not send"]++
			continue
		case hit.Err == history.Timeout && saturated(h, j.Load) != "":
			unsure[saturated(h, j.Load)]++
			continue
		case hit.Err != "":
			failed.Add("request %d (%s %s) got no answer: %s after %s", hit.Seq, r.Method, r.Path, hit.Err, hit.Done-hit.Sent)
		case hit.Code >= 500, hit.Code >= 400 && r.Claim == "":
			failed.Add("request %d (%s %s) was answered %d by %s", hit.Seq, r.Method, r.Path, hit.Code, check.AnsweredBy(hit))
		case hit.Server == "":
			failed.Add("request %d (%s %s) was answered %d, but by no backend", hit.Seq, r.Method, r.Path, hit.Code)
		}
		f.N++
		if failed.Total > before {
			last, failedIn[j.Load] = hit, true
		}
	}
	if f.Broken = check.NodeDied(h); f.Broken == "" && failed.Total == 1 && f.N > 1 && lostBetween(h, last) {
		f.Broken = failed.List()[0] + ", which had tried a server that never saw the request: a kernel resets a new connection now and then; " +
			"run it again, a balancer that loses requests does so anew"
	}
	if f.Broken == "" {
		f.Counter = failed.List()
	}
	for load := range h.Plan.Phases {
		if failedIn[load] {
			f.Note = cmp.Or(f.Note, overload(h, load))
		}
	}
	if during > 0 && f.Note == "" {
		f.Note = units.Plural(during, "request") + " while faults were in force, or only just healed, are left to the promises on failures"
	}
	f.Measured = fmt.Sprintf("%s of %s failed", units.Number(failed.Total), units.Number(f.N))
	f.Power = check.PowerAll(f.N, h)
	if f.Broken == "" {
		var reasons []string
		for reason, n := range unsure {
			reasons = append(reasons, fmt.Sprintf("%s cannot be counted: %s", units.Plural(n, "request"), reason))
		}
		slices.Sort(reasons)
		f.Broken = strings.Join(reasons, "; ")
	}
	return f
}

// lostBetween says whether the balancer answered for a server that it tried to reach while a hit was under way, and that heard nothing
// of it: a connection was lost, by the balancer or by the kernels between. It takes the recorder of attempts to tell.
func lostBetween(h history.History, hit history.Hit) bool {
	if hit.Err != "" || hit.Server != "" || hit.Code != 502 && hit.Code != 503 {
		return false
	}
	for a := range h.Arrivals {
		if a.Seq == hit.Seq {
			return false
		}
	}
	for a := range h.Attempts {
		if a.From != h.Env.Client && a.At >= hit.Sent && a.At <= hit.Done {
			return true
		}
	}
	return false
}

// saturated says why the sender could not keep up in a phase; empty where it could.
func saturated(h history.History, load int) string {
	if load >= len(h.Env.Phases) {
		return "" // the phase never ended, which Interrupted tells
	}
	p, l := h.Env.Phases[load], h.Plan.Phases[load]
	took := (p.End - p.Start).Seconds()
	if took <= 0 {
		return ""
	}
	if cores := p.CPU.Seconds() / took; cores > 0.9*float64(h.Env.CPUs) {
		return fmt.Sprintf("the sender was saturated in phase %s: it used %.1f of %d cores", l.Name, cores, h.Env.CPUs)
	}
	waited := p.Capped > p.Hits/20 // for answers, which is not the sender's doing
	sending := (p.LastSent - p.Start).Seconds()
	if sending <= 0 {
		sending = took
	}
	if achieved := float64(p.Hits) / sending; l.Open() && !waited && !p.Broke && !p.Known && achieved < 0.95*l.Rate {
		return fmt.Sprintf("the sender was saturated in phase %s: it sent %.0f of %.0f requests per second", l.Name, achieved, l.Rate)
	}
	return ""
}
