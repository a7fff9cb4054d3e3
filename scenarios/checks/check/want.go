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

// Want is what is to come of a question. Fields that are not set do not matter.
type Want struct {
	OnlyIfCodes    []int               // answers with other statuses say nothing
	OnlyIfBackend  bool                // answers of the balancer itself say nothing
	Codes          []int               // the status is one of these
	NotCode        int                 // the status is not this one
	Pool           string              // a server of this pool answers
	FromBalancer   bool                // no backend does
	NotForwarded   bool                // no backend does, and none has seen the request
	NotForwardedTo string              // no server of this pool does, and none has seen the request
	BackendPaths   []string            // that backends see of it, each
	Arrivals       [2]int              // at how many backends the request arrives, least and most; 0, 0 is any
	Headers        map[string][]string // fields of the answer, and all their values; none: it is absent
	HeadersPresent []string            // fields of the answer that are there, whatever their value
	Handshake      map[string]string   // how the handshake goes
	Latency        Interval            // from sending to the end of the answer
	Silence        Interval            // how long the client is silent until the balancer ends it
	Access         []model.Access      // who is let in; others get 403
	ClientAddress  string              // the address that it comes from, where that is not the worker's

	// HeaderMismatch says what else of the answer's fields is not as it is to be; empty: nothing.
	HeaderMismatch func(header url.Values) string
	// CustomMismatch says what is wrong in place of all that is above but Shake and Quiet, be there an answer or none.
	CustomMismatch func(header url.Values, arrived []history.Arrival) string
}

// Interval is a time from Least to Most; the zero value is any.
type Interval struct{ Min, Max time.Duration }

func (i Interval) String() string {
	return fmt.Sprintf("%s to %s", units.Duration(i.Min), units.Duration(i.Max))
}

func (i Interval) contains(d time.Duration) bool { return i == Interval{} || d >= i.Min && d <= i.Max }

// outcome is what came of a question.
type outcome struct {
	history.Hit
	cfg      model.Config
	header   url.Values
	arrivals []history.Arrival
}

// mismatches hold a response against what was to come, one part each, and say in what it differs; empty: not at all.
// The first difference is told.
var mismatches = []func(Want, outcome) string{
	Want.statusMismatch,
	Want.poolMismatch,
	Want.balancerMismatch,
	Want.forwardingMismatch,
	Want.latencyMismatch,
	Want.arrivalsMismatch,
	Want.pathsMismatch,
	Want.fieldsMismatch,
}

// Mismatch says in what an answer is not the one that was to come; empty where it is.
func (r Want) Mismatch(h history.History, hit history.Hit, arrived []history.Arrival) string {
	switch {
	case r.Handshake != nil:
		return r.handshakeMismatch(hit)
	case r.Silence != Interval{}:
		return r.silenceMismatch(hit)
	case hit.Err != "" && r.CustomMismatch == nil:
		return fmt.Sprintf("no answer (%s)", hit.Err)
	}
	header, err := url.ParseQuery(hit.Header)
	if err != nil {
		return "its header fields cannot be read: " + err.Error()
	}
	if r.CustomMismatch != nil {
		return r.CustomMismatch(header, arrived)
	}
	want, got := r.forClient(h.Env.ClientAddr), outcome{hit, h.Plan.Config, header, arrived}
	for _, differs := range mismatches {
		if what := differs(want, got); what != "" {
			return what
		}
	}
	return ""
}

// isConclusive reports whether an answer says anything.
func (r Want) isConclusive(hit history.Hit) bool {
	given := len(r.OnlyIfCodes) == 0 || slices.Contains(r.OnlyIfCodes, hit.Code)
	return given && (hit.Server != "" || !r.OnlyIfBackend)
}

// forClient is the reply to the client that asks, unless From says another: who is not let in gets 403.
func (r Want) forClient(client string) Want {
	address, err := netip.ParseAddr(cmp.Or(r.ClientAddress, client))
	if len(r.Access) > 0 && err == nil && !isAllowed(r.Access, address) {
		r.Codes, r.NotCode = []int{403}, 0
	}
	return r
}

func (r Want) statusMismatch(got outcome) string {
	switch {
	case len(r.Codes) > 0 && !slices.Contains(r.Codes, got.Code):
		return fmt.Sprintf("answered %d by %s instead of %s", got.Code, ResponderOf(got.Hit), units.Alternatives(r.Codes))
	case r.NotCode != 0 && got.Code == r.NotCode:
		return fmt.Sprintf("answered %d by %s", got.Code, ResponderOf(got.Hit))
	}
	return ""
}

func (r Want) poolMismatch(got outcome) string {
	if r.Pool == "" || HasServer(got.cfg, r.Pool, got.Server) {
		return ""
	}
	return fmt.Sprintf("answered %d by %s, which is no server of %s", got.Code, ResponderOf(got.Hit), r.Pool)
}

func (r Want) balancerMismatch(got outcome) string {
	switch {
	case (r.NotForwarded || r.FromBalancer) && got.Server != "":
		return fmt.Sprintf("answered %d by %s, where the balancer is to answer by itself", got.Code, got.Server)
	case r.NotForwarded && len(got.arrivals) > 0:
		return fmt.Sprintf("it reached %s", got.arrivals[0].Server)
	}
	return ""
}

func (r Want) forwardingMismatch(got outcome) string {
	if r.NotForwardedTo == "" {
		return ""
	}
	server := firstServerOf(got.cfg, r.NotForwardedTo, got.arrivals)
	if server == "" {
		return ""
	}
	return fmt.Sprintf("answered %d, and it reached %s", got.Code, server)
}

func (r Want) latencyMismatch(got outcome) string {
	took := got.Done - got.Sent
	if r.Latency.contains(took) {
		return ""
	}
	return fmt.Sprintf("answered %d after %s instead of %s", got.Code, units.Duration(took.Round(time.Millisecond)), r.Latency)
}

func (r Want) arrivalsMismatch(got outcome) string {
	n := len(got.arrivals)
	if r.Arrivals[1] == 0 || n >= r.Arrivals[0] && n <= r.Arrivals[1] {
		return ""
	}
	return fmt.Sprintf("answered %d, and reached backends %d times instead of %s", got.Code, n, units.CountRange(r.Arrivals))
}

func (r Want) pathsMismatch(got outcome) string {
	if r.BackendPaths == nil {
		return ""
	}
	seen := arrivedPaths(got.arrivals)
	if slices.Equal(seen, slices.Sorted(slices.Values(r.BackendPaths))) {
		return ""
	}
	return fmt.Sprintf("answered %d, and backends saw %s instead of %s", got.Code, units.Join(seen), units.Join(r.BackendPaths))
}

func (r Want) fieldsMismatch(got outcome) string {
	what := r.headersMismatch(got.header)
	if what == "" {
		return ""
	}
	return fmt.Sprintf("answered %d by %s %s", got.Code, ResponderOf(got.Hit), what)
}

// firstServerOf is the first server of a pool that a request arrived at; empty where none did.
func firstServerOf(cfg model.Config, pool string, arrived []history.Arrival) string {
	i := slices.IndexFunc(arrived, func(a history.Arrival) bool { return HasServer(cfg, pool, a.Server) })
	if i < 0 {
		return ""
	}
	return arrived[i].Server
}

// arrivedPaths are those of a request's arrivals, each once.
func arrivedPaths(arrived []history.Arrival) (seen []string) {
	for _, a := range arrived {
		if noted, err := url.ParseQuery(a.Header); err == nil {
			path, _, _ := strings.Cut(noted.Get(history.PathField), "?")
			seen = append(seen, path)
		}
	}
	slices.Sort(seen)
	return slices.Compact(seen)
}

// headersMismatch says which header field of an answer is not as it is to be.
func (r Want) headersMismatch(header url.Values) string {
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		got, want := header[name], r.Headers[name]
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
	for _, name := range r.HeadersPresent {
		if len(header[name]) == 0 {
			return "without " + name
		}
	}
	if r.HeaderMismatch != nil {
		return r.HeaderMismatch(header)
	}
	return ""
}

// handshakeMismatch says what of a TLS handshake is not as it is to be.
func (r Want) handshakeMismatch(hit history.Hit) string {
	got, err := url.ParseQuery(hit.HandshakeInfo)
	if err != nil {
		return "the handshake cannot be read: " + err.Error()
	}
	for _, name := range slices.Sorted(maps.Keys(r.Handshake)) {
		is, want := got.Get(name), r.Handshake[name]
		switch {
		case is == want:
		case name == history.HandshakeAlert && is == "":
			return fmt.Sprintf("accepted with %s %s", got.Get(history.HandshakeVersion), got.Get(history.HandshakeSuite))
		case got.Get(history.HandshakeAlert) != "":
			return "refused with alert " + got.Get(history.HandshakeAlert)
		case got.Get(history.HandshakeVersion) == "":
			return fmt.Sprintf("no handshake (%s)", hit.Err)
		case name == history.HandshakeTrust:
			return "the certificate is not to be trusted: " + is
		default:
			return fmt.Sprintf("%s is %q instead of %q", name, is, want)
		}
	}
	return ""
}

// silenceMismatch says whether the balancer ended a silent client's connection at another time.
func (r Want) silenceMismatch(hit history.Hit) string {
	// The client may have heard the answer late.
	early := max(hit.Silence, hit.Done-hit.Sent) < r.Silence.Min
	switch {
	case hit.Silence == 0 && hit.Err != "":
		return fmt.Sprintf("no answer (%s)", hit.Err)
	case hit.Err == history.Timeout && hit.Silence < r.Silence.Max:
		return "" // lbproof did not wait long enough, and it was not over before
	case hit.Err == history.Timeout:
		return fmt.Sprintf("not ended after %s", units.Duration(hit.Silence.Round(time.Millisecond)))
	case early || hit.Silence > r.Silence.Max:
		return fmt.Sprintf("ended after %s instead of %s", units.Duration(hit.Silence.Round(time.Millisecond)), r.Silence)
	case hit.Code != 0 && len(r.Codes) > 0 && !slices.Contains(r.Codes, hit.Code):
		return fmt.Sprintf("answered %d instead of %s", hit.Code, units.Alternatives(r.Codes))
	}
	return ""
}

// HasServer says whether a server is one of a pool, or of the pools of a split; where the configuration has neither, a
// program chose it.
func HasServer(cfg model.Config, pool, server string) bool {
	if split, ok := cfg.Split(pool); ok {
		return slices.ContainsFunc(split.Shares, func(s model.Share) bool { return HasServer(cfg, s.Pool, server) })
	}
	p, ok := cfg.Pool(pool)
	return !ok && server != "" || slices.ContainsFunc(p.Servers, func(s model.Server) bool { return s.Host == server })
}
