package checks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

var answered = Check{
	Name: "answered",
	Doc: "Every request of a proxied route is answered by a backend, with a status below 400, and below 500 where the request " +
		"was lbproof's own probe of a path that the backend may not know.",
	Law:    "one that is not refutes the claim; a lone one that a server was tried for in vain leaves it undecided",
	Claims: answeredClaims,
	Probes: probe,
	Judge:  judgeAnswered,
}

func answeredClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, r := range proxied(cfg) {
		if r.Guarded { // its configuration promises refusals too
			continue
		}
		claims = append(claims, plan.Claim{
			ID: id("answered", r.Key(), ""), Check: "answered", Subject: r.Key(), Pos: r.PoolPos,
			Text:    fmt.Sprintf("Every request to %s is answered by a backend of %s; none is lost or failed.", r.Key(), r.Pool),
			Assumes: []string{"the requests are ones that a healthy backend answers without an error"},
		})
	}
	return claims
}

func judgeAnswered(claim plan.Claim, h history.History) Finding {
	f := Finding{Need: needAll(h), Test: "count of failed requests, none allowed", Predicted: "0 failed"}
	var failed examples
	unsure := map[string]int{}
	during := 0          // while a fault was in force
	var last history.Hit // that failed
	find, failedIn := journeys(h), map[int]bool{}
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.key != claim.Subject {
			continue
		}
		if faulty(h, hit) {
			during++
			continue
		}
		before := failed.total
		switch r := j.request; {
		case hit.Err == history.Tester:
			unsure["the sender could not send"]++
			continue
		case hit.Err == history.Timeout && saturated(h, j.load) != "":
			unsure[saturated(h, j.load)]++
			continue
		case hit.Err != "":
			failed.add("request %d (%s %s) got no answer: %s after %s", hit.Seq, r.Method, r.Path, hit.Err, hit.Done-hit.Sent)
		case hit.Code >= 500, hit.Code >= 400 && r.Claim == "":
			failed.add("request %d (%s %s) was answered %d by %s", hit.Seq, r.Method, r.Path, hit.Code, who(hit))
		case hit.Server == "":
			failed.add("request %d (%s %s) was answered %d, but by no backend", hit.Seq, r.Method, r.Path, hit.Code)
		}
		f.N++
		if failed.total > before {
			last, failedIn[j.load] = hit, true
		}
	}
	if f.Broken = died(h); f.Broken == "" && failed.total == 1 && f.N > 1 && lostBetween(h, last) {
		f.Broken = failed.list()[0] + ", which had tried a server that never saw the request: a kernel resets a new connection now and then; " +
			"run it again, a balancer that loses requests does so anew"
	}
	if f.Broken == "" {
		f.Counter = failed.list()
	}
	for load := range h.Plan.Phases {
		if failedIn[load] {
			f.Note = cmp.Or(f.Note, overload(h, load))
		}
	}
	if during > 0 && f.Note == "" {
		f.Note = plural(during, "request") + " while faults were in force, or only just healed, are left to the promises on failures"
	}
	f.Measured = fmt.Sprintf("%s of %s failed", number(failed.total), number(f.N))
	f.Power = powerAll(f.N, h)
	if f.Broken == "" {
		var reasons []string
		for reason, n := range unsure {
			reasons = append(reasons, fmt.Sprintf("%s cannot be counted: %s", plural(n, "request"), reason))
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

// healed is how long after a fault requests may still meet its effects.
const healed = 15 * time.Second

// faulty says whether a fault was in force, or only just healed, while a hit was under way.
func faulty(h history.History, hit history.Hit) bool {
	return slices.ContainsFunc(h.Env.Marks, func(m history.Mark) bool { return hit.Done >= m.Ordered && hit.Sent <= m.To+healed })
}

// who answered a hit.
func who(hit history.Hit) string {
	switch {
	case hit.Err != "":
		return "nobody"
	case hit.Server == "":
		return "the balancer"
	}
	return hit.Server
}
