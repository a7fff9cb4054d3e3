package check

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/units"
)

// Reply is what is to come of a question. Fields that are not set do not matter.
type Reply struct {
	Given   []int               // answers with other statuses say nothing
	Backend bool                // answers of the balancer itself say nothing
	Codes   []int               // the status is one of these
	Not     int                 // the status is not this one
	Pool    string              // a server of this pool answers
	Self    bool                // no backend does
	Own     bool                // no backend does, and none has seen the request
	Spared  string              // no server of this pool does, and none has seen the request
	Paths   []string            // that backends see of it, each
	Arrives [2]int              // at how many backends the request arrives, least and most; 0, 0 is any
	Has     map[string][]string // fields of the answer, and all their values; none: it is absent
	Some    []string            // fields of the answer that are there, whatever their value
	Shake   map[string]string   // how the handshake goes
	Within  Interval            // from sending to the end of the answer
	Quiet   Interval            // how long the client is silent until the balancer ends it
	Access  []model.Access      // who is let in; others get 403
	From    string              // the address that it comes from, where that is not the worker's

	// Like says what else of the answer's fields is not as it is to be; empty: nothing.
	Like func(header url.Values) string
	// Instead says what is wrong in place of all that is above but Shake and Quiet, be there an answer or none.
	Instead func(header url.Values, arrived []history.Arrival) string
}

// Interval is a time from Least to Most; the zero value is any.
type Interval struct{ Least, Most time.Duration }

func (i Interval) String() string {
	return fmt.Sprintf("%s to %s", units.Span(i.Least), units.Span(i.Most))
}

func (i Interval) holds(d time.Duration) bool { return i == Interval{} || d >= i.Least && d <= i.Most }

// response is what came of a question.
type response struct {
	history.Hit
	cfg     model.Config
	header  url.Values
	arrived []history.Arrival
}

// matchers hold a response against what was to come, one part each, and say in what it differs; empty: not at all.
// The first difference is told.
var matchers = []func(Reply, response) string{
	Reply.unlikeStatus,
	Reply.unlikePool,
	Reply.unlikeOwn,
	Reply.unlikeSpared,
	Reply.unlikeTime,
	Reply.unlikeArrivals,
	Reply.unlikePaths,
	Reply.unlikeFields,
}

// Differs says in what an answer is not the one that was to come; empty where it is.
func (r Reply) Differs(h history.History, hit history.Hit, arrived []history.Arrival) string {
	switch {
	case r.Shake != nil:
		return r.handshake(hit)
	case r.Quiet != Interval{}:
		return r.silence(hit)
	case hit.Err != "" && r.Instead == nil:
		return fmt.Sprintf("no answer (%s)", hit.Err)
	}
	header, err := url.ParseQuery(hit.Header)
	if err != nil {
		return "its header fields cannot be read: " + err.Error()
	}
	if r.Instead != nil {
		return r.Instead(header, arrived)
	}
	want, got := r.forClient(h.Env.Client), response{hit, h.Plan.Config, header, arrived}
	for _, differs := range matchers {
		if what := differs(want, got); what != "" {
			return what
		}
	}
	return ""
}

// about reports whether an answer says anything.
func (r Reply) about(hit history.Hit) bool {
	given := len(r.Given) == 0 || slices.Contains(r.Given, hit.Code)
	return given && (hit.Server != "" || !r.Backend)
}

// forClient is the reply to the client that asks, unless From says another: who is not let in gets 403.
func (r Reply) forClient(client string) Reply {
	address, err := netip.ParseAddr(cmp.Or(r.From, client))
	if len(r.Access) > 0 && err == nil && !letIn(r.Access, address) {
		r.Codes, r.Not = []int{403}, 0
	}
	return r
}

func (r Reply) unlikeStatus(got response) string {
	switch {
	case len(r.Codes) > 0 && !slices.Contains(r.Codes, got.Code):
		return fmt.Sprintf("answered %d by %s instead of %s", got.Code, AnsweredBy(got.Hit), units.Alternatives(r.Codes))
	case r.Not != 0 && got.Code == r.Not:
		return fmt.Sprintf("answered %d by %s", got.Code, AnsweredBy(got.Hit))
	}
	return ""
}

func (r Reply) unlikePool(got response) string {
	if r.Pool == "" || Serves(got.cfg, r.Pool, got.Server) {
		return ""
	}
	return fmt.Sprintf("answered %d by %s, which is no server of %s", got.Code, AnsweredBy(got.Hit), r.Pool)
}

func (r Reply) unlikeOwn(got response) string {
	switch {
	case (r.Own || r.Self) && got.Server != "":
		return fmt.Sprintf("answered %d by %s, where the balancer is to answer by itself", got.Code, got.Server)
	case r.Own && len(got.arrived) > 0:
		return fmt.Sprintf("it reached %s", got.arrived[0].Server)
	}
	return ""
}

func (r Reply) unlikeSpared(got response) string {
	if r.Spared == "" {
		return ""
	}
	server := reaches(got.cfg, r.Spared, got.arrived)
	if server == "" {
		return ""
	}
	return fmt.Sprintf("answered %d, and it reached %s", got.Code, server)
}

func (r Reply) unlikeTime(got response) string {
	took := got.Done - got.Sent
	if r.Within.holds(took) {
		return ""
	}
	return fmt.Sprintf("answered %d after %s instead of %s", got.Code, units.Span(took.Round(time.Millisecond)), r.Within)
}

func (r Reply) unlikeArrivals(got response) string {
	n := len(got.arrived)
	if r.Arrives[1] == 0 || n >= r.Arrives[0] && n <= r.Arrives[1] {
		return ""
	}
	return fmt.Sprintf("answered %d, and reached backends %d times instead of %s", got.Code, n, units.Times(r.Arrives))
}

func (r Reply) unlikePaths(got response) string {
	if r.Paths == nil {
		return ""
	}
	seen := paths(got.arrived)
	if slices.Equal(seen, slices.Sorted(slices.Values(r.Paths))) {
		return ""
	}
	return fmt.Sprintf("answered %d, and backends saw %s instead of %s", got.Code, units.Join(seen), units.Join(r.Paths))
}

func (r Reply) unlikeFields(got response) string {
	what := r.fields(got.header)
	if what == "" {
		return ""
	}
	return fmt.Sprintf("answered %d by %s %s", got.Code, AnsweredBy(got.Hit), what)
}

// reaches is the first server of a pool that a request arrived at; empty where none did.
func reaches(cfg model.Config, pool string, arrived []history.Arrival) string {
	i := slices.IndexFunc(arrived, func(a history.Arrival) bool { return Serves(cfg, pool, a.Server) })
	if i < 0 {
		return ""
	}
	return arrived[i].Server
}

// paths are those of a request's arrivals, each once.
func paths(arrived []history.Arrival) (seen []string) {
	for _, a := range arrived {
		if noted, err := url.ParseQuery(a.Header); err == nil {
			path, _, _ := strings.Cut(noted.Get(history.NotedPath), "?")
			seen = append(seen, path)
		}
	}
	slices.Sort(seen)
	return slices.Compact(seen)
}

// fields says which header field of an answer is not as it is to be.
func (r Reply) fields(header url.Values) string {
	for _, name := range slices.Sorted(maps.Keys(r.Has)) {
		got, want := header[name], r.Has[name]
		if slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
			continue
		}
		switch {
		case len(want) == 0:
			return fmt.Sprintf("with %s: %q, which is not to be there", name, strings.Join(got, ", "))
		case len(got) == 0:
			return fmt.Sprintf("without %s: %s", name, strings.Join(want, ", "))
		}
		return fmt.Sprintf("with %s: %q instead of %q", name, got, want)
	}
	for _, name := range r.Some {
		if len(header[name]) == 0 {
			return "without " + name
		}
	}
	if r.Like != nil {
		return r.Like(header)
	}
	return ""
}

// handshake says what of a TLS handshake is not as it is to be.
func (r Reply) handshake(hit history.Hit) string {
	got, err := url.ParseQuery(hit.Shake)
	if err != nil {
		return "the handshake cannot be read: " + err.Error()
	}
	for _, name := range slices.Sorted(maps.Keys(r.Shake)) {
		is, want := got.Get(name), r.Shake[name]
		switch {
		case is == want:
		case name == history.ShakenAlert && is == "":
			return fmt.Sprintf("accepted with %s %s", got.Get(history.ShakenVersion), got.Get(history.ShakenSuite))
		case got.Get(history.ShakenAlert) != "":
			return "refused with alert " + got.Get(history.ShakenAlert)
		case got.Get(history.ShakenVersion) == "":
			return fmt.Sprintf("no handshake (%s)", hit.Err)
		case name == history.ShakenTrust:
			return "the certificate is not to be trusted: " + is
		default:
			return fmt.Sprintf("%s is %q instead of %q", name, is, want)
		}
	}
	return ""
}

// silence says whether the balancer ended a silent client's connection at another time.
func (r Reply) silence(hit history.Hit) string {
	// The client may have heard the answer late.
	early := max(hit.Quiet, hit.Done-hit.Sent) < r.Quiet.Least
	switch {
	case hit.Quiet == 0 && hit.Err != "":
		return fmt.Sprintf("no answer (%s)", hit.Err)
	case hit.Err == history.Timeout && hit.Quiet < r.Quiet.Most:
		return "" // lbproof did not wait long enough, and it was not over before
	case hit.Err == history.Timeout:
		return fmt.Sprintf("not ended after %s", units.Span(hit.Quiet.Round(time.Millisecond)))
	case early || hit.Quiet > r.Quiet.Most:
		return fmt.Sprintf("ended after %s instead of %s", units.Span(hit.Quiet.Round(time.Millisecond)), r.Quiet)
	case hit.Code != 0 && len(r.Codes) > 0 && !slices.Contains(r.Codes, hit.Code):
		return fmt.Sprintf("answered %d instead of %s", hit.Code, units.Alternatives(r.Codes))
	}
	return ""
}

// Serves says whether a server is one of a pool, or of the pools of a split; where the configuration has neither, a
// program chose it.
func Serves(cfg model.Config, pool, server string) bool {
	if split, ok := cfg.Split(pool); ok {
		return slices.ContainsFunc(split.Shares, func(s model.Share) bool { return Serves(cfg, s.Pool, server) })
	}
	p, ok := cfg.Pool(pool)
	return !ok && server != "" || slices.ContainsFunc(p.Servers, func(s model.Server) bool { return s.Host == server })
}
