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
	Name:   plan.CheckCounters,
	Doc:    "The balancer's counters, on a page or a socket, count every request that clients send, once.",
	Law:    "they are asked for before and after a known number of requests, one after another; a difference that is another number refutes",
	Claims: counterClaims,
	Trials: counterTrials,
	Judge:  judgeCounters,
}

// page is a kind of page with counters.
type page struct {
	what  string // begins model.Own's
	query string // that makes the page one of plain text
	// total adds up the requests so far.
	total  func(body string) (float64, bool)
	itself float64 // how many requests asking for the page is, once it has been answered
}

var pages = []page{
	{what: "nginx's counters", total: stubStatus, itself: 1},
	{what: "HAProxy's statistics", query: ";csv", total: haproxyCSV, itself: 1},
	{what: "HAProxy's Prometheus exporter", total: metricsOf("haproxy_", "haproxy_frontend_http_requests_total{"), itself: 1},
	{what: "Prometheus metrics", total: metricsOf("traefik_", "traefik_entrypoint_requests_total{")},
}

var threeCounts = regexp.MustCompile(`server accepts handled requests\s+\d+ \d+ (\d+)`)

// stubStatus reads nginx's page (nginx.org/en/docs/http/ngx_http_stub_status_module.html): the third number counts requests.
func stubStatus(body string) (float64, bool) {
	m := threeCounts.FindStringSubmatch(body)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(m[1], 64)
	return n, err == nil
}

// haproxyCSV adds up req_tot of all frontends (HAProxy's management guide, section 9.1).
func haproxyCSV(body string) (sum float64, ok bool) {
	head, rows, _ := strings.Cut(strings.TrimPrefix(body, "# "), "\n")
	names := strings.Split(head, ",")
	kind, total := slices.Index(names, "svname"), slices.Index(names, "req_tot")
	for line := range strings.Lines(rows) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if kind < 0 || total < 0 || len(fields) <= max(kind, total) || fields[kind] != "FRONTEND" {
			continue
		}
		if n, err := strconv.ParseFloat(fields[total], 64); err == nil {
			sum, ok = sum+n, true
		}
	}
	return sum, ok
}

// metricsOf adds up a metric on a page for Prometheus that has others of the same kind: of all frontends (HAProxy's
// addons/promex/README) or entry points (doc.traefik.io).
func metricsOf(kind, metric string) func(body string) (float64, bool) {
	return func(body string) (sum float64, ok bool) {
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, "# TYPE "+kind) {
				ok = true
			}
			if !strings.HasPrefix(line, metric) {
				continue
			}
			fields := strings.Fields(line)
			if n, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
				sum += n
			}
		}
		return sum, ok
	}
}

// pageOf is the kind of a route's page.
func pageOf(r model.Route) (page, bool) {
	i := slices.IndexFunc(pages, func(p page) bool { return r.Own != nil && strings.HasPrefix(r.Own.What, p.what) })
	if i < 0 || r.Internal || r.Auth != nil {
		return page{}, false
	}
	return pages[i], true
}

func counterClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, r := range cfg.Routes {
		if _, ok := pageOf(r); ok {
			claims = append(claims, plan.Claim{
				ID: check.ClaimID(plan.CheckCounters, r.Key(), ""), Check: plan.CheckCounters, Subject: r.Key(), Pos: r.Own.Pos, Implicit: true,
				Text: fmt.Sprintf("%s counts every request that clients send, once.", r.Key()),
			})
		}
	}
	for _, s := range cfg.Sockets {
		claims = append(claims, plan.Claim{
			ID: check.ClaimID(plan.CheckCounters, s.Path, ""), Check: plan.CheckCounters, Subject: s.Path, Pos: s.Pos, Implicit: true,
			Text: fmt.Sprintf("The command show stat on %s counts every request that clients send, once.", s.Path),
		})
	}
	return check.DistinctIDs(claims)
}

// countersOf are the counters that a claim is about, and the request that asks for them.
func countersOf(cfg model.Config, claim plan.Claim) (p page, look plan.Request, ok bool) {
	if slices.ContainsFunc(cfg.Sockets, func(s model.Socket) bool { return s.Pos == claim.Pos && s.Path == claim.Subject }) {
		return page{total: haproxyCSV}, plan.Request{Method: "GET", Path: "/show%20stat", From: claim.Subject, Keep: true}, true
	}
	r, _ := check.RouteOf(cfg, claim)
	p, ok = pageOf(r)
	asked, _ := check.OwnQuestions(cfg, claim)
	if !ok || len(asked) == 0 || asked[0].Want.Codes[0] != 200 {
		return p, look, false
	}
	look = asked[0].Ask
	look.Path, look.Keep = look.Path+p.query, true
	return p, look, true
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
			if request, ok := check.WishingRequest(cfg, to, fmt.Sprintf("status=200&for=count-%d", i)); ok && request.From == "" {
				t.Load.Requests = append(t.Load.Requests, request)
				break
			}
		}
	}
	t.Load.Count = check.Often * len(t.Load.Requests) // a look, requests, a look, requests, a look; what follows shows nothing
	return []check.Trial{t}
}

func judgeCounters(claim plan.Claim, h history.History) check.Finding {
	p, _, ok := countersOf(h.Plan.Config, claim)
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
		total, read := p.total(header.Get(history.KeptBody))
		if !read {
			unread = fmt.Sprintf("request %d: the page (status %d, %d bytes) has no counters that lbproof knows", hit.Seq, hit.Code, hit.Size)
			continue
		}
		if looks++; looks > 1 {
			f.N++
			if grown := total - last; grown != float64(sent)+p.itself {
				wrong.Add("request %d: %g requests more are counted than at the look before, where %d were sent and the page asked for", hit.Seq, grown, sent)
			}
		}
		last, sent = total, 0
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
