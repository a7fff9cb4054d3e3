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

// middleware adds to a route what a middleware does; false where Traefik leaves the router out. A chain that was
// followed once is not followed again: chains of chains can stand for more middlewares than anyone could count.
func (r *reader) middleware(router, name *reading.Tree, route *model.Route, followed chains) bool {
	m := r.find("middlewares", name.Scalar)
	if m == nil {
		r.problem(model.Problem{
			Pos: name.Pos, Effect: model.Dropped,
			Text:    fmt.Sprintf("there is no middleware %s: Traefik leaves out the router %s", name.Scalar, router.Key),
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

// chains are the chains that were begun, and whether they were followed to their end.
type chains map[*reading.Tree]bool

// chain adds to a route what the middlewares of a chain do.
func (r *reader) chain(router, m, kind *reading.Tree, route *model.Route, followed chains) bool {
	ended, begun := followed[m]
	if begun && !ended {
		r.problem(model.Problem{
			Pos: kind.Pos, Effect: model.Dropped,
			Text:    fmt.Sprintf("the chain %s leads back to itself: Traefik leaves out the router %s", m.Key, router.Key),
			Instead: "a chain of other middlewares",
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

// apply is what one middleware does to a route's requests.
func (r *reader) apply(m *reading.Tree, route *model.Route) {
	switch strings.ToLower(m.Key) {
	case "ratelimit":
		r.rateLimit(m, route)
	case "inflightreq":
		most, key := number(m.Get("amount"), 0), readSource(m, model.Host)
		route.Limits = append(route.Limits, model.Limit{Pos: m.Pos, Law: model.InFlight, Most: most, Key: key, Status: 429})
	case "circuitbreaker":
		route.Breaker = readBreaker(m)
	case "retry":
		route.Retry = readRetry(m)
	case "forwardauth":
		r.forwardAuth(m, route)
	case "basicauth", "digestauth":
		r.takeAlong(m.Get("usersFile"))
		route.Auth = &model.Auth{Pos: m.Pos, Kind: model.AuthUsers, Code: 401}
	case "redirectscheme", "redirectregex":
		r.redirect(m, route)
	case "headers":
		r.headers(m, route)
	case "ipallowlist", "ipwhitelist":
		allowOnly(m, route)
	case "compress":
		route.Compress = &model.Compress{
			Pos: m.Pos, Least: number(m.Get("minResponseBodyBytes"), 1024),
			Types: m.Get("includedContentTypes").Texts(), Vary: true,
		}
	case "buffering":
		if most := m.Get("maxRequestBodyBytes"); most != nil {
			route.MaxBody = &model.Number{Pos: most.Pos, Value: int64(number(most, 0))}
		}
	case "stripprefix", "stripprefixregex", "addprefix", "replacepath", "replacepathregex":
		route.Rules = append(route.Rules, model.Rule{Pos: m.Pos, To: rewritten(m), Rewrite: rewrite(m)})
	case "errors":
		r.errors(m, route)
	default:
		r.unread(m, m.Key, reading.WhyUnread)
	}
}

// allowOnly lets in the listed addresses, and refuses all others.
func allowOnly(m *reading.Tree, route *model.Route) {
	for _, from := range m.Get("sourceRange").Items() {
		route.Access = append(route.Access, model.Access{Pos: from.Pos, Allow: true, From: from.Scalar})
	}
	route.Access = append(route.Access, model.Access{Pos: m.Pos, From: "all"})
}

// readBreaker reads a circuit breaker with its defaults (doc.traefik.io, "CircuitBreaker").
func readBreaker(m *reading.Tree) *model.Breaker {
	return &model.Breaker{
		Pos:      m.Pos,
		Trips:    readTrip(m.Get("expression").Text()),
		Every:    period(m.Get("checkPeriod"), 100*time.Millisecond),
		Open:     period(m.Get("fallbackDuration"), 10*time.Second),
		Recovery: period(m.Get("recoveryDuration"), 10*time.Second),
		Code:     number(m.Get("responseCode"), 503),
	}
}

// forwardAuth has a service decide, which is a host that a run needs.
func (r *reader) forwardAuth(m *reading.Tree, route *model.Route) {
	address := m.Get("address")
	route.Auth = &model.Auth{Pos: m.Pos, Kind: model.AuthService, By: address.Text()}
	_, host, _ := strings.Cut(address.Text(), "://")
	host, _, _ = strings.Cut(host, "/")
	r.cfg.Needs = append(r.cfg.Needs, model.Need{Pos: address.PosOr(m.Pos), Kind: model.NeedHost, Path: host})
}

// ratio matches ResponseCodeRatio(from, to, of from, of to), whose ends are not included (vulcand/oxy,
// cbreaker/predicates.go).
var ratio = regexp.MustCompile(`ResponseCodeRatio\((\d{1,3}), *(\d{1,3}), *(\d{1,3}), *(\d{1,3})\)`)

// readTrip reads the expression of a circuit breaker.
func readTrip(expression string) model.Trip {
	trip := model.Trip{Source: expression}
	for _, m := range ratio.FindAllStringSubmatch(expression, -1) {
		var n [4]int
		for i, text := range m[1:] {
			n[i], _ = strconv.Atoi(text) // which are digits
		}
		trip.Shares = append(trip.Shares, model.StatusShare{
			Of: model.StatusRange{From: n[0], To: n[1] - 1}, Among: model.StatusRange{From: n[2], To: n[3] - 1},
		})
	}
	return trip
}

func rewritten(m *reading.Tree) string {
	switch strings.ToLower(m.Key) {
	case "stripprefix":
		return "its path without " + strings.Join(m.Get("prefixes").Texts(), " or ")
	case "stripprefixregex":
		return "its path without what fits " + strings.Join(m.Get("regex").Texts(), " or ") + " at its beginning"
	case "addprefix":
		return m.Get("prefix").Text() + " before its path"
	case "replacepath":
		return m.Get("path").Text()
	}
	return m.Get("replacement").Text()
}

// rewrite is what a middleware makes of a path (doc.traefik.io: the first prefix that fits goes, and a path begins with
// a slash).
func rewrite(m *reading.Tree) *model.Rewrite {
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
		return &model.Rewrite{Match: "^", With: reading.EscapeGroups(m.Get("prefix").Text())}
	case "replacepath":
		return &model.Rewrite{Match: "^", With: reading.EscapeGroups(m.Get("path").Text()), Whole: true}
	}
	return &model.Rewrite{Match: m.Get("regex").Text(), With: m.Get("replacement").Text()}
}

func (r *reader) rateLimit(m *reading.Tree, route *model.Route) {
	average := number(m.Get("average"), 0)
	if average == 0 {
		r.problem(model.Problem{
			Pos: m.Pos, Effect: model.Inert,
			Text:    "a rateLimit without average limits nothing",
			Instead: "average: REQUESTS, per period",
		})
		return
	}
	each := period(m.Get("period"), time.Second)
	route.Limits = append(route.Limits, model.Limit{
		Pos: m.Pos, Law: model.TokenBucket, Key: readSource(m, model.ClientAddress), Rate: float64(average) / each.Seconds(),
		Burst: max(1, number(m.Get("burst"), 1)), Window: each, Status: 429,
	})
	if header := m.Get("sourceCriterion", "requestHeaderName"); reading.IsForgeable(header.Text()) {
		r.problem(model.Problem{
			Pos: header.Pos, Effect: model.Differs,
			Text: fmt.Sprintf("clients choose the key themselves (%s): "+
				"whoever sends another value each time is not limited", header.Text()),
			Instead: "sourceCriterion.ipStrategy.depth, behind a trusted proxy",
		})
	}
}

// readSource is what a limit counts by.
func readSource(m *reading.Tree, otherwise model.Variable) model.Key {
	source := m.Get("sourceCriterion")
	switch {
	case source.Get("requestHeaderName") != nil:
		return model.Key{Variable: model.RequestHeader, Name: source.Get("requestHeaderName").Text()}
	case source.Get("requestHost").IsTrue():
		return model.Key{Variable: model.Host}
	case source.Get("ipStrategy") != nil:
		return model.Key{Variable: model.Other, Source: "the client's address by ipStrategy"}
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
		route.Rules = append(route.Rules, model.Rule{Pos: m.Pos, When: when, Code: code, To: m.Get("replacement").Text()})
		return
	}
	if m.Get("scheme").Text() == "https" && route.TLS {
		return
	}
	route.Redirect, route.Pool = redirectTo(m.Pos, code, m.Get("scheme").Text()), ""
}

// redirectTo sends requests to another scheme. Other methods than GET stay what they are (Traefik's
// middlewares/redirect).
func redirectTo(pos model.Pos, code int, scheme string) *model.Redirect {
	unsafe := map[int]int{301: 308, 302: 307}
	return &model.Redirect{Pos: pos, Code: code, To: reading.InScheme(scheme), CodeUnsafe: unsafe[code]}
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
	if t := m.Get("stsSeconds"); number(t, 0) > 0 && (route.TLS || m.Get("forceSTSHeader").IsTrue()) {
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
	f := model.Fallback{Pos: m.Pos, To: m.Get("service").Text(), Code: -1, Backend: true}
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
	route.Fallbacks = append(route.Fallbacks, f)
}

// readRetry is what the middleware retry does: whose turn it is gets the next attempt.
func readRetry(m *reading.Tree) *model.Retry {
	retry := &model.Retry{
		Pos: m.Pos, Attempts: number(m.Get("attempts"), 1), Each: period(m.Get("initialInterval"), 0),
		Wait: model.ExponentialWait, Next: model.NextTurn, Methods: model.AllMethods,
	}
	retry.On.Causes = []model.Cause{model.CauseConnect, model.CauseBroken}
	retry.On.Source = "no answer from the server"
	if retry.Each == 0 {
		retry.Wait = model.NoWait
	}
	if retry.Attempts == 0 {
		retry.Attempts = model.Unlimited
	}
	return retry
}
