package traefik

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// middleware applies a middleware to a route; false if Traefik ignores the router. A chain is followed only once, since
// chains of chains can expand to any number of middlewares.
func (r *reader) middleware(router, name *reading.Tree, route *model.Route, followed followedChains) bool {
	m := r.find("middlewares", name.Scalar)
	if m == nil {
		suggestion := reading.DidYouMean(name.Scalar, r.names("middlewares"))
		r.problem(model.Problem{
			Pos: name.Pos, Effect: model.Dropped,
			Text: fmt.Sprintf("middleware %s is not defined; Traefik ignores router %s%s",
				name.Scalar, router.Key, suggestion),
			Instead: "a middleware of that name under http.middlewares",
		})
		return false
	}
	for _, kind := range m.Parts() {
		if strings.EqualFold(kind.Key, "chain") {
			if !r.chain(router, m, kind, route, followed) {
				return false
			}
			continue
		}
		r.apply(kind, route)
	}
	return true
}

// followedChains are the chains that were entered, and whether they were followed to the end.
type followedChains map[*reading.Tree]bool

// chain applies the middlewares of a chain to a route.
func (r *reader) chain(router, m, kind *reading.Tree, route *model.Route, followed followedChains) bool {
	ended, begun := followed[m]
	if begun && !ended {
		r.problem(model.Problem{
			Pos: kind.Pos, Effect: model.Dropped,
			Text:    fmt.Sprintf("chain %s contains itself; Traefik ignores router %s", m.Key, router.Key),
			Instead: "a chain without itself",
		})
		return false
	}
	if ended {
		return true
	}
	followed[m] = false
	for _, inner := range kind.Get("middlewares").Items() {
		if !r.middleware(router, inner, route, followed) {
			return false
		}
	}
	followed[m] = true
	return true
}

// apply applies a middleware to a route.
func (r *reader) apply(m *reading.Tree, route *model.Route) {
	switch strings.ToLower(m.Key) {
	case "ratelimit":
		r.rateLimit(m, route)
	case "inflightreq":
		most, key := readNumber(m.Get("amount"), 0), readSource(m, model.Host)
		route.Limits = append(route.Limits, model.Limit{
			Pos: m.Pos, Algorithm: model.InFlight, MaxInFlight: most, Key: key, Status: 429,
		})
	case "circuitbreaker":
		route.Breaker = readBreaker(m)
	case "retry":
		route.Retry = readRetry(m)
	case "forwardauth":
		r.forwardAuth(m, route)
	case "basicauth", "digestauth":
		r.attachFile(m.Get("usersFile"))
		route.Auth = &model.Auth{Pos: m.Pos, Kind: model.AuthUsers, DeniedCode: 401}
	case "redirectscheme", "redirectregex":
		r.redirect(m, route)
	case "headers":
		r.headers(m, route)
	case "ipallowlist", "ipwhitelist":
		allowOnly(m, route)
	case "compress":
		route.Compress = &model.Compress{
			Pos: m.Pos, MinBytes: readNumber(m.Get("minResponseBodyBytes"), 1024),
			Types: m.Get("includedContentTypes").Texts(), Vary: true,
		}
	case "buffering":
		if most := m.Get("maxRequestBodyBytes"); most != nil {
			route.MaxBody = &model.Number{Pos: most.Pos, Value: int64(readNumber(most, 0))}
		}
	case "stripprefix", "stripprefixregex", "addprefix", "replacepath", "replacepathregex":
		route.Rules = append(route.Rules, model.Rule{Pos: m.Pos, To: describeRewrite(m), Rewrite: readRewrite(m)})
	case "errors":
		r.errors(m, route)
	default:
		r.unread(m, m.Key, reading.ReasonUnread)
	}
}

// allowOnly allows the listed addresses and denies all others.
func allowOnly(m *reading.Tree, route *model.Route) {
	for _, from := range m.Get("sourceRange").Items() {
		route.Access = append(route.Access, model.Access{Pos: from.Pos, Allow: true, Clients: from.Scalar})
	}
	route.Access = append(route.Access, model.Access{Pos: m.Pos, Clients: "all"})
}

// readBreaker reads a circuit breaker with its defaults (doc.traefik.io, "CircuitBreaker").
func readBreaker(m *reading.Tree) *model.Breaker {
	return &model.Breaker{
		Pos:              m.Pos,
		Trip:             readTrip(m.Get("expression").Text()),
		CheckPeriod:      readDuration(m.Get("checkPeriod"), 100*time.Millisecond),
		OpenDuration:     readDuration(m.Get("fallbackDuration"), 10*time.Second),
		RecoveryDuration: readDuration(m.Get("recoveryDuration"), 10*time.Second),
		Code:             readNumber(m.Get("responseCode"), 503),
	}
}

// forwardAuth reads the service that decides about requests, which runs need as a host.
func (r *reader) forwardAuth(m *reading.Tree, route *model.Route) {
	address := m.Get("address")
	route.Auth = &model.Auth{Pos: m.Pos, Kind: model.AuthService, Target: address.Text()}
	_, host, _ := strings.Cut(address.Text(), "://")
	host, _, _ = strings.Cut(host, "/")
	r.cfg.Needs = append(r.cfg.Needs, model.Need{Pos: address.PosOr(m.Pos), Kind: model.NeedHost, Path: host})
}

// responseCodeRatio matches ResponseCodeRatio(from, to, of from, of to), whose ends are exclusive (vulcand/oxy,
// cbreaker/predicates.go).
var responseCodeRatio = regexp.MustCompile(`ResponseCodeRatio\((\d{1,3}), *(\d{1,3}), *(\d{1,3}), *(\d{1,3})\)`)

// readTrip reads the expression of a circuit breaker.
func readTrip(expression string) model.Trip {
	trip := model.Trip{Source: expression}
	for _, m := range responseCodeRatio.FindAllStringSubmatch(expression, -1) {
		var n [4]int
		for i, text := range m[1:] {
			n[i], _ = strconv.Atoi(text) // only digits
		}
		trip.Shares = append(trip.Shares, model.StatusShare{
			Numerator: model.StatusRange{From: n[0], To: n[1] - 1}, Denominator: model.StatusRange{From: n[2], To: n[3] - 1},
		})
	}
	return trip
}

func describeRewrite(m *reading.Tree) string {
	switch strings.ToLower(m.Key) {
	case "stripprefix":
		return "its path without " + strings.Join(m.Get("prefixes").Texts(), " or ")
	case "stripprefixregex":
		return "its path without what matches " + strings.Join(m.Get("regex").Texts(), " or ") + " at its start"
	case "addprefix":
		return m.Get("prefix").Text() + " before its path"
	case "replacepath":
		return m.Get("path").Text()
	}
	return m.Get("replacement").Text()
}

// readRewrite reads the middlewares that rewrite paths (doc.traefik.io: the first matching prefix is removed, and paths
// start with a slash).
func readRewrite(m *reading.Tree) *model.Rewrite {
	switch strings.ToLower(m.Key) {
	case "stripprefix":
		var prefixes []string
		for _, prefix := range m.Get("prefixes").Texts() {
			prefixes = append(prefixes, regexp.QuoteMeta(prefix))
		}
		return &model.Rewrite{Match: "^(?:" + strings.Join(prefixes, "|") + ")"}
	case "stripprefixregex":
		return &model.Rewrite{Match: "^(?:" + strings.Join(m.Get("regex").Texts(), "|") + ")"}
	case "addprefix":
		return &model.Rewrite{Match: "^", Replacement: reading.EscapeGroups(m.Get("prefix").Text())}
	case "replacepath":
		return &model.Rewrite{Match: "^", Replacement: reading.EscapeGroups(m.Get("path").Text()), ReplacesAll: true}
	}
	return &model.Rewrite{Match: m.Get("regex").Text(), Replacement: m.Get("replacement").Text()}
}

func (r *reader) rateLimit(m *reading.Tree, route *model.Route) {
	average := readNumber(m.Get("average"), 0)
	if average == 0 {
		r.problem(model.Problem{
			Pos: m.Pos, Effect: model.Inert,
			Text:    "a rateLimit without average limits nothing",
			Instead: "average: REQUESTS, per period",
		})
		return
	}
	each := readDuration(m.Get("period"), time.Second)
	route.Limits = append(route.Limits, model.Limit{
		Pos: m.Pos, Algorithm: model.TokenBucket, Key: readSource(m, model.ClientAddress),
		Rate:  float64(average) / each.Seconds(),
		Burst: max(1, readNumber(m.Get("burst"), 1)), Window: each, Status: 429,
	})
	if header := m.Get("sourceCriterion", "requestHeaderName"); reading.IsForgeable(header.Text()) {
		r.problem(model.Problem{
			Pos: header.Pos, Effect: model.Misleading,
			Text: fmt.Sprintf("clients choose the key themselves (%s): "+
				"a client that changes it with each request is not limited", header.Text()),
			Instead: "sourceCriterion.ipStrategy.depth, behind a trusted proxy",
		})
	}
}

// readSource reads the key of a limit.
func readSource(m *reading.Tree, otherwise model.Variable) model.Key {
	source := m.Get("sourceCriterion")
	switch {
	case source.Get("requestHeaderName") != nil:
		return model.Key{Variable: model.RequestHeader, Name: source.Get("requestHeaderName").Text()}
	case source.Get("requestHost").IsTrue():
		return model.Key{Variable: model.Host}
	case source.Get("ipStrategy") != nil:
		return model.Key{Variable: model.OtherVariable, Source: "the client address by ipStrategy"}
	}
	return model.Key{Variable: otherwise}
}

func (r *reader) redirect(m *reading.Tree, route *model.Route) {
	code := 302
	if m.Get("permanent").IsTrue() {
		code = 301
	}
	if strings.EqualFold(m.Key, "redirectRegex") {
		when := []model.Condition{{Source: "the URL matches " + m.Get("regex").Text()}}
		to := m.Get("replacement").Text()
		route.Rules = append(route.Rules, model.Rule{Pos: m.Pos, Conditions: when, Code: code, To: to})
		return
	}
	if m.Get("scheme").Text() == "https" && route.TLS {
		return
	}
	route.Redirect, route.Pool = redirectTo(m.Pos, code, m.Get("scheme").Text()), ""
}

// redirectTo returns a redirect to another scheme, which keeps methods other than GET (Traefik's middlewares/redirect).
func redirectTo(pos model.Pos, code int, scheme string) *model.Redirect {
	unsafe := map[int]int{301: 308, 302: 307}
	return &model.Redirect{Pos: pos, Code: code, To: reading.SameURLInScheme(scheme), NonGetCode: unsafe[code]}
}

func (r *reader) headers(m *reading.Tree, route *model.Route) {
	for _, h := range m.Get("customRequestHeaders").Parts() {
		route.SetHeaders = append(route.SetHeaders, model.Header{Pos: h.Pos, Name: h.Key, Value: model.Literal(h.Scalar)})
	}
	for _, h := range m.Get("customResponseHeaders").Parts() {
		route.AddHeaders = append(route.AddHeaders, model.Header{Pos: h.Pos, Name: h.Key, Value: model.Literal(h.Scalar)})
	}
	for _, h := range []struct{ key, name, value string }{
		{"frameDeny", "X-Frame-Options", "DENY"},
		{"contentTypeNosniff", "X-Content-Type-Options", "nosniff"},
		{"browserXssFilter", "X-XSS-Protection", "1; mode=block"},
	} {
		if t := m.Get(h.key); t.IsTrue() {
			route.AddHeaders = append(route.AddHeaders, model.Header{Pos: t.Pos, Name: h.name, Value: model.Literal(h.value)})
		}
	}
	for _, h := range []struct{ key, name string }{
		{"customFrameOptionsValue", "X-Frame-Options"},
		{"contentSecurityPolicy", "Content-Security-Policy"},
		{"referrerPolicy", "Referrer-Policy"},
		{"permissionsPolicy", "Permissions-Policy"},
	} {
		if t := m.Get(h.key); t.Text() != "" {
			route.AddHeaders = append(route.AddHeaders, model.Header{Pos: t.Pos, Name: h.name, Value: model.Literal(t.Text())})
		}
	}
	if t := m.Get("stsSeconds"); readNumber(t, 0) > 0 && (route.TLS || m.Get("forceSTSHeader").IsTrue()) {
		value := "max-age=" + t.Text()
		if m.Get("stsIncludeSubdomains").IsTrue() {
			value += "; includeSubDomains"
		}
		if m.Get("stsPreload").IsTrue() {
			value += "; preload"
		}
		route.AddHeaders = append(route.AddHeaders, model.Header{
			Pos: t.Pos, Name: "Strict-Transport-Security", Value: model.Literal(value),
		})
	}
}

func (r *reader) errors(m *reading.Tree, route *model.Route) {
	f := model.ErrorPage{Pos: m.Pos, Target: m.Get("service").Text(), Code: -1, InterceptsBackend: true}
	for _, s := range m.Get("status").Texts() {
		low, high, ranged := strings.Cut(s, "-")
		from, err := strconv.Atoi(low)
		to, err2 := strconv.Atoi(high)
		if !ranged {
			to, err2 = from, nil
		}
		if err != nil || err2 != nil {
			continue
		}
		for code := from; code <= min(to, 599); code++ {
			f.Codes = append(f.Codes, code)
		}
	}
	route.ErrorPages = append(route.ErrorPages, f)
}

// readRetry reads the middleware retry, whose attempts follow the rotation.
func readRetry(m *reading.Tree) *model.Retry {
	retry := &model.Retry{
		Pos: m.Pos, Attempts: readNumber(m.Get("attempts"), 1), Delay: readDuration(m.Get("initialInterval"), 0),
		Backoff: model.ExponentialBackoff, Next: model.NextInRotation, Methods: model.AllMethods,
	}
	retry.Failures.Causes = []model.Cause{model.CauseConnect, model.CauseClosed}
	retry.Failures.Source = "no response from the server"
	if retry.Delay == 0 {
		retry.Backoff = model.NoBackoff
	}
	if retry.Attempts == 0 {
		retry.Attempts = model.Unlimited
	}
	return retry
}
