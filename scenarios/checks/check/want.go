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

// Want is the expected response to a probe. Zero fields are not compared.
type Want struct {
	OnlyIfCodes    []int               // responses with other statuses are inconclusive
	OnlyIfBackend  bool                // responses of the balancer itself are inconclusive
	Codes          []int               // the status is one of these
	NotCode        int                 // the status is not this one
	Pool           string              // a server of this pool answers
	FromBalancer   bool                // the balancer answers, not a backend
	NotForwarded   bool                // the balancer answers, and no backend sees the request
	NotForwardedTo string              // no server of this pool sees the request
	BackendPaths   []string            // the paths that backends see, each once
	Arrivals       [2]int              // arrivals at backends, min and max; 0, 0: any
	Headers        map[string][]string // response headers with all their values; no values: the header is absent
	HeadersPresent []string            // response headers that are present, with any value
	Handshake      map[string]string   // the TLS handshake
	Latency        Interval            // from sending the request to the end of the response
	Silence        Interval            // how long a silent client waits until the balancer ends the connection
	Access         []model.Access      // who is allowed; others get 403
	ClientAddress  string              // the source address; empty: the worker's

	// HeaderMismatch describes any other difference in the response headers, or returns "".
	HeaderMismatch func(header url.Values) string
	// CustomMismatch replaces all comparisons above except Handshake and Silence, even without a response.
	CustomMismatch func(header url.Values, arrived []history.Arrival) string
}

// Interval is a range of durations, both ends included; the zero value contains all.
type Interval struct{ Min, Max time.Duration }

func (i Interval) String() string {
	return units.DurationRange(i.Min, i.Max)
}

func (i Interval) contains(d time.Duration) bool { return i == Interval{} || d >= i.Min && d <= i.Max }

// outcome is the actual response to a probe.
type outcome struct {
	history.Hit
	cfg      model.Config
	header   url.Values
	arrivals []history.Arrival
}

// mismatches compare one aspect of a response each and describe the difference, or return "". The first difference is
// reported.
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

// Mismatch describes how a response differs from the expected one, or returns "".
func (r Want) Mismatch(h history.History, hit history.Hit, arrived []history.Arrival) string {
	switch {
	case r.Handshake != nil:
		return r.handshakeMismatch(hit)
	case r.Silence != Interval{}:
		return r.silenceMismatch(hit)
	case hit.Err != "" && r.CustomMismatch == nil:
		return fmt.Sprintf("no response (%s)", OutcomeOf(hit))
	}
	header, err := url.ParseQuery(hit.Header)
	if err != nil {
		return "cannot parse the response headers: " + err.Error()
	}
	if r.CustomMismatch != nil {
		return r.CustomMismatch(header, arrived)
	}
	want, got := r.forClient(h.Env.ClientAddr), outcome{hit, h.Plan.Config, header, arrived}
	for _, compare := range mismatches {
		if what := compare(want, got); what != "" {
			return what
		}
	}
	return ""
}

// isConclusive reports whether a response counts as evidence.
func (r Want) isConclusive(hit history.Hit) bool {
	statusMatches := len(r.OnlyIfCodes) == 0 || slices.Contains(r.OnlyIfCodes, hit.Code)
	return statusMatches && (hit.Server != "" || !r.OnlyIfBackend)
}

// forClient returns the response expected by a client, or by ClientAddress if set: 403 if it is not allowed.
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
		return fmt.Sprintf("status %d from %s instead of %s", got.Code, ResponderOf(got.Hit), units.Alternatives(r.Codes))
	case r.NotCode != 0 && got.Code == r.NotCode:
		return fmt.Sprintf("unexpected status %d from %s", got.Code, ResponderOf(got.Hit))
	}
	return ""
}

func (r Want) poolMismatch(got outcome) string {
	if r.Pool == "" || HasServer(got.cfg, r.Pool, got.Server) {
		return ""
	}
	return fmt.Sprintf("status %d from %s, which is not a server of %s", got.Code, ResponderOf(got.Hit), r.Pool)
}

func (r Want) balancerMismatch(got outcome) string {
	switch {
	case (r.NotForwarded || r.FromBalancer) && got.Server != "":
		return fmt.Sprintf("status %d from %s; the balancer must answer itself", got.Code, got.Server)
	case r.NotForwarded && len(got.arrivals) > 0:
		return fmt.Sprintf("forwarded to %s", got.arrivals[0].Server)
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
	return fmt.Sprintf("status %d, and forwarded to %s", got.Code, server)
}

func (r Want) latencyMismatch(got outcome) string {
	took := got.Done - got.Sent
	if r.Latency.contains(took) {
		return ""
	}
	return fmt.Sprintf("status %d after %s instead of %s", got.Code, units.Duration(took), r.Latency)
}

func (r Want) arrivalsMismatch(got outcome) string {
	n := len(got.arrivals)
	if r.Arrivals[1] == 0 || n >= r.Arrivals[0] && n <= r.Arrivals[1] {
		return ""
	}
	return fmt.Sprintf("status %d, and reached backends %d times instead of %s", got.Code, n, units.CountRange(r.Arrivals))
}

func (r Want) pathsMismatch(got outcome) string {
	if r.BackendPaths == nil {
		return ""
	}
	paths := arrivedPaths(got.arrivals)
	if slices.Equal(paths, slices.Sorted(slices.Values(r.BackendPaths))) {
		return ""
	}
	return fmt.Sprintf("status %d, and backends saw %s instead of %s",
		got.Code, units.Join(paths), units.Join(r.BackendPaths))
}

func (r Want) fieldsMismatch(got outcome) string {
	what := r.headersMismatch(got.header)
	if what == "" {
		return ""
	}
	return fmt.Sprintf("status %d from %s %s", got.Code, ResponderOf(got.Hit), what)
}

// firstServerOf returns the first server of a pool that a request reached, or "".
func firstServerOf(cfg model.Config, pool string, arrived []history.Arrival) string {
	i := slices.IndexFunc(arrived, func(a history.Arrival) bool { return HasServer(cfg, pool, a.Server) })
	if i < 0 {
		return ""
	}
	return arrived[i].Server
}

// arrivedPaths returns the paths of a request's arrivals, each once.
func arrivedPaths(arrived []history.Arrival) (paths []string) {
	for _, a := range arrived {
		if noted, err := url.ParseQuery(a.Header); err == nil {
			path, _, _ := strings.Cut(noted.Get(history.PathField), "?")
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// headersMismatch describes the first response header that differs, or returns "".
func (r Want) headersMismatch(header url.Values) string {
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		got, want := header[name], r.Headers[name]
		if slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
			continue
		}
		switch {
		case len(want) == 0:
			return fmt.Sprintf("with unexpected %s: %q", name, strings.Join(got, ", "))
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

// handshakeMismatch describes how a TLS handshake differs, or returns "".
func (r Want) handshakeMismatch(hit history.Hit) string {
	got, err := url.ParseQuery(hit.HandshakeInfo)
	if err != nil {
		return "cannot parse the handshake: " + err.Error()
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
			return fmt.Sprintf("no handshake (%s)", OutcomeOf(hit))
		case name == history.HandshakeTrust:
			return "untrusted certificate: " + is
		default:
			return fmt.Sprintf("%s is %q instead of %q", name, is, want)
		}
	}
	return ""
}

// silenceMismatch describes how the balancer treated a silent client differently, or returns "".
func (r Want) silenceMismatch(hit history.Hit) string {
	// The client may have received the response late.
	early := max(hit.Silence, hit.Done-hit.Sent) < r.Silence.Min
	switch {
	case hit.Silence == 0 && hit.Err != "":
		return fmt.Sprintf("no response (%s)", OutcomeOf(hit))
	case hit.Err == history.Timeout && hit.Silence < r.Silence.Max:
		return "" // the client gave up first, and the connection was not closed too early
	case hit.Err == history.Timeout:
		return fmt.Sprintf("still open after %s", units.Duration(hit.Silence.Round(time.Millisecond)))
	case early || hit.Silence > r.Silence.Max:
		return fmt.Sprintf("closed after %s instead of %s", units.Duration(hit.Silence.Round(time.Millisecond)), r.Silence)
	case hit.Code != 0 && len(r.Codes) > 0 && !slices.Contains(r.Codes, hit.Code):
		return fmt.Sprintf("status %d instead of %s", hit.Code, units.Alternatives(r.Codes))
	}
	return ""
}

// HasServer reports whether a server belongs to a pool, or to a pool of a split. It is true for any server if the
// configuration has neither: a program chose the server.
func HasServer(cfg model.Config, pool, server string) bool {
	if split, ok := cfg.Split(pool); ok {
		return slices.ContainsFunc(split.Shares, func(s model.Share) bool { return HasServer(cfg, s.Pool, server) })
	}
	p, ok := cfg.Pool(pool)
	return !ok && server != "" || slices.ContainsFunc(p.Servers, func(s model.Server) bool { return s.Host == server })
}
