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
	Name:         plan.CheckCounters,
	Doc:          "The balancer's counters, on a page or a socket, count every client request exactly once.",
	Law:          "counters are read before and after a known number of sequential requests; a different increase refutes",
	Claims:       counterClaims,
	Requirements: counterRequirements,
	Judge:        judgeCounters,
}

// readCounter returns the value of a counter in a text; ok is false if the text does not contain it.
func readCounter(c model.Counter, text string) (n float64, ok bool) {
	switch c.Form {
	case model.CounterText:
		return readNumber(c, text)
	case model.CounterTable:
		return sumTable(c, text)
	case model.CounterMetrics:
		return sumMetrics(c, text)
	}
	return 0, false
}

func readNumber(c model.Counter, text string) (n float64, ok bool) {
	expression, err := regexp.Compile(c.Selector)
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

func sumTable(c model.Counter, text string) (sum float64, ok bool) {
	head, rows, _ := strings.Cut(strings.TrimPrefix(text, "# "), "\n")
	names := strings.Split(head, ",")
	kind, column := slices.Index(names, c.RowFilter[0]), slices.Index(names, c.Selector)
	if kind < 0 || column < 0 {
		return 0, false
	}
	for line := range strings.Lines(rows) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if len(fields) <= max(kind, column) || fields[kind] != c.RowFilter[1] {
			continue
		}
		if n, err := strconv.ParseFloat(fields[column], 64); err == nil {
			sum, ok = sum+n, true
		}
	}
	return sum, ok
}

// sumMetrics adds up a metric; it is 0 on a page that only has others of its family.
func sumMetrics(c model.Counter, text string) (sum float64, ok bool) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# TYPE "+c.MetricPrefix) {
			ok = true
		}
		if !strings.HasPrefix(line, c.Selector+"{") {
			continue
		}
		fields := strings.Fields(line)
		if n, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
			sum += n
		}
	}
	return sum, ok
}

// isCounterPage reports whether a route serves a page of counters that needs no credentials.
func isCounterPage(r model.Route) bool {
	return r.LocalContent != nil && r.LocalContent.Counter != nil && !r.Internal && r.Auth == nil
}

func counterClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	add := func(subject string, pos model.Pos, what string) {
		claim := check.NewClaim(plan.CheckCounters, subject, "", pos, what+" counts every client request exactly once.")
		claim.Implicit = true
		claims = append(claims, claim)
	}
	for _, r := range cfg.Routes {
		if isCounterPage(r) {
			add(r.Key(), r.LocalContent.Pos, r.Key())
		}
	}
	for _, s := range cfg.Sockets {
		add(s.Path, s.Pos, fmt.Sprintf("The command %s on %s", s.Command, s.Path))
	}
	return check.DistinctIDs(claims)
}

// claimedCounter returns the counter that a claim is about, and the request that reads it.
func claimedCounter(cfg model.Config, claim plan.Claim) (c model.Counter, read plan.Request, ok bool) {
	for _, s := range cfg.Sockets {
		if s.Pos == claim.Pos && s.Path == claim.Subject {
			read = plan.Request{
				Method: "GET", Path: "/" + url.PathEscape(s.Command), LocalEndpoint: claim.Subject,
				KeepBody: true,
			}
			return s.Counter, read, true
		}
	}
	r, _ := check.RouteOf(cfg, claim)
	probes, _ := check.AdminPageProbes(cfg, claim)
	if !isCounterPage(r) || len(probes) == 0 || probes[0].Want.Codes[0] != 200 {
		return c, read, false
	}
	c, read = *r.LocalContent.Counter, probes[0].Request
	read.Path, read.KeepBody = read.Path+c.Query, true
	return c, read, true
}

// requestsBetweenReads is how many requests are sent between two reads of a counter.
const requestsBetweenReads = 5

func counterRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	_, read, ok := claimedCounter(cfg, claim)
	if !ok {
		return nil
	}
	t := check.Requirement{
		Kind: plan.KindCounters, About: claim.ID,
		Detects: "requests that " + claim.Subject + " misses or counts twice",
	}
	t.Phase = plan.Phase{Engine: plan.Prober, Concurrency: 1, Requests: []plan.Request{read}}
	for i := range requestsBetweenReads {
		for _, to := range check.ProxiedRoutes(cfg) {
			if request, ok := check.RequestWithSpec(cfg, to, fmt.Sprintf("status=200&for=count-%d",
				i)); ok && request.LocalEndpoint == "" {
				t.Phase.Requests = append(t.Phase.Requests, request)
				break
			}
		}
	}
	// Read, requests, read, requests, read; the rest shows nothing.
	t.Phase.Count = check.Repetitions * len(t.Phase.Requests)
	return []check.Requirement{t}
}

func judgeCounters(claim plan.Claim, h history.History) check.Finding {
	c, _, ok := claimedCounter(h.Plan.Config, claim)
	if !ok {
		return check.Finding{Untestable: "access to the counters is restricted"}
	}
	n, wrong, unread := compareIncreases(h, claim, c)
	f := check.Finding{
		N: n, Need: check.Repetitions - 1, Test: "counters read before and after sequential requests",
		Predicted: "increases equal the requests sent",
		Measured:  fmt.Sprintf("%d of %d increases wrong", wrong.Total, n),
		Power:     "detects requests missed or counted twice",
	}
	if f.Inconclusive = check.WhyNodeExited(h); f.Inconclusive == "" && f.N == 0 {
		f.Inconclusive = unread
	}
	if f.Inconclusive == "" {
		f.CounterExamples = wrong.List()
	}
	return f
}

// compareIncreases compares the n increases of a counter between reads with the requests in between. unread describes
// the last read without the counter.
func compareIncreases(
	h history.History, claim plan.Claim, c model.Counter,
) (n int, wrong check.Examples, unread string) {
	find, sent, last, reads := check.RouteFinder(h), 0, 0., 0
	for hit := range h.Hits {
		l := h.Plan.Phases[hit.Phase]
		if l.Kind != plan.KindCounters || l.About != claim.ID || hit.Err == history.Tester {
			continue
		}
		if j := find(hit.Seq); j == nil || !j.Request.KeepBody {
			sent++
			continue
		}
		header, _ := url.ParseQuery(hit.Header) // an unreadable one is reported as unread below
		now, ok := readCounter(c, header.Get(history.BodyField))
		if !ok {
			unread = fmt.Sprintf("request %d: the page (status %d, %d B) has no known counter",
				hit.Seq, hit.Code, hit.Size)
			continue
		}
		if reads++; reads > 1 {
			n++
			counted := float64(sent)
			if c.CountsItself {
				counted++
			}
			if grown := now - last; grown != counted {
				wrong.Add("request %d: the counter grew by %g since the previous read, for %d requests and the read itself",
					hit.Seq, grown, sent)
			}
		}
		last, sent = now, 0
	}
	return n, wrong, unread
}
