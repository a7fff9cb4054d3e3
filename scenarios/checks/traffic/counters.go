package traffic

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Counters = check.Check{
	Name: plan.CheckCounters,
	Doc:  "The balancer's counters, on a page or a socket, count every request that clients send, once.",
	Law: "they are asked for before and after a known number of requests, one after another; a difference that is " +
		"another number refutes",
	Claims: counterClaims,
	Trials: counterTrials,
	Judge:  judgeCounters,
}

// total is the number that a counter has in a text; ok is false where the text is none with this counter.
func total(c model.Counter, text string) (n float64, ok bool) {
	switch c.Form {
	case model.CounterText:
		return numberIn(c, text)
	case model.CounterTable:
		return sumOfTable(c, text)
	case model.CounterMetrics:
		return sumOfMetrics(c, text)
	}
	return 0, false
}

func numberIn(c model.Counter, text string) (n float64, ok bool) {
	expression, err := regexp.Compile(c.Number)
	if err != nil || expression.NumSubexp() == 0 {
		return 0, false
	}
	m := expression.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n, err = strconv.ParseFloat(m[1], 64)
	return n, err == nil
}

func sumOfTable(c model.Counter, text string) (sum float64, ok bool) {
	head, rows, _ := strings.Cut(strings.TrimPrefix(text, "# "), "\n")
	names := strings.Split(head, ",")
	kind, column := slices.Index(names, c.Rows[0]), slices.Index(names, c.Number)
	if kind < 0 || column < 0 {
		return 0, false
	}
	for line := range strings.Lines(rows) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if len(fields) <= max(kind, column) || fields[kind] != c.Rows[1] {
			continue
		}
		if n, err := strconv.ParseFloat(fields[column], 64); err == nil {
			sum, ok = sum+n, true
		}
	}
	return sum, ok
}

// sumOfMetrics adds up a metric, which is 0 on a page that has others of its family only.
func sumOfMetrics(c model.Counter, text string) (sum float64, ok bool) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# TYPE "+c.Family) {
			ok = true
		}
		if !strings.HasPrefix(line, c.Number+"{") {
			continue
		}
		fields := strings.Fields(line)
		if n, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
			sum += n
		}
	}
	return sum, ok
}

// counts reports whether a route is a page of counters that anyone may ask for.
func counts(r model.Route) bool {
	return r.Own != nil && r.Own.Counter != nil && !r.Internal && r.Auth == nil
}

func counterClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	add := func(subject string, pos model.Pos, what string) {
		claim := check.NewClaim(plan.CheckCounters, subject, "", pos, what+" counts every request that clients send, once.")
		claim.Implicit = true
		claims = append(claims, claim)
	}
	for _, r := range cfg.Routes {
		if counts(r) {
			add(r.Key(), r.Own.Pos, r.Key())
		}
	}
	for _, s := range cfg.Sockets {
		add(s.Path, s.Pos, fmt.Sprintf("The command %s on %s", s.Command, s.Path))
	}
	return check.DistinctIDs(claims)
}

// countersOf are the counters that a claim is about, and the request that asks for them.
func countersOf(cfg model.Config, claim plan.Claim) (c model.Counter, look plan.Request, ok bool) {
	for _, s := range cfg.Sockets {
		if s.Pos == claim.Pos && s.Path == claim.Subject {
			look = plan.Request{Method: "GET", Path: "/" + url.PathEscape(s.Command), From: claim.Subject, Keep: true}
			return s.Counter, look, true
		}
	}
	r, _ := check.RouteOf(cfg, claim)
	asked, _ := check.OwnQuestions(cfg, claim)
	if !counts(r) || len(asked) == 0 || asked[0].Want.Codes[0] != 200 {
		return c, look, false
	}
	c, look = *r.Own.Counter, asked[0].Ask
	look.Path, look.Keep = look.Path+c.Query, true
	return c, look, true
}

// between is how many requests are sent between two looks at the page.
const between = 5

func counterTrials(cfg model.Config, claim plan.Claim, _ check.Terms) []check.Trial {
	_, look, ok := countersOf(cfg, claim)
	if !ok {
		return nil
	}
	t := check.Trial{Kind: plan.KindCounters, About: claim.ID, Shows: "a request that " + claim.Subject + " does not count, or counts twice"}
	t.Load = plan.Phase{Engine: plan.Prober, Concurrency: 1, Requests: []plan.Request{look}}
	for i := range between {
		for _, to := range check.ProxiedRoutes(cfg) {
			if request, ok := check.WishingRequest(cfg, to, fmt.Sprintf("status=200&for=count-%d",
				i)); ok && request.From == "" {
				t.Load.Requests = append(t.Load.Requests, request)
				break
			}
		}
	}
	t.Load.Count = check.Often * len(t.Load.Requests) // a look, requests, a look, requests, a look; what follows shows nothing
	return []check.Trial{t}
}

func judgeCounters(claim plan.Claim, h history.History) check.Finding {
	c, _, ok := countersOf(h.Plan.Config, claim)
	if !ok {
		return check.Finding{Cannot: "the counters are not for everybody"}
	}
	f := check.Finding{Need: check.Often - 1, Test: "counters before and after requests that were sent one after another"}
	find, sent, last, looks := check.Journeys(h), 0, 0., 0
	var wrong check.Examples
	var unread string
	for hit := range h.Hits {
		if l := h.Plan.Phases[hit.Load]; l.Kind != plan.KindCounters || l.About != claim.ID || hit.Err == history.Tester {
			continue
		}
		if j := find(hit.Seq); j == nil || !j.Request.Keep {
			sent++
			continue
		}
		header, _ := url.ParseQuery(hit.Header) // which cannot be read is unread below
		now, read := total(c, header.Get(history.KeptBody))
		if !read {
			unread = fmt.Sprintf("request %d: the page (status %d, %d bytes) has no counters that lbproof knows",
				hit.Seq, hit.Code, hit.Size)
			continue
		}
		if looks++; looks > 1 {
			f.N++
			counted := float64(sent)
			if c.Itself {
				counted++
			}
			if grown := now - last; grown != counted {
				wrong.Add("request %d: %g requests more are counted than at the look before, where %d were sent "+
					"and the page asked for", hit.Seq, grown, sent)
			}
		}
		last, sent = now, 0
	}
	f.Predicted = "each time as many more as were sent"
	f.Measured = fmt.Sprintf("%d of %d differences are others", wrong.Total, f.N)
	f.Power = "would have caught a request that is not counted, or counted twice"
	if f.Broken = check.NodeDied(h); f.Broken == "" && f.N == 0 {
		f.Broken = unread
	}
	if f.Broken == "" {
		f.Counter = wrong.List()
	}
	return f
}
