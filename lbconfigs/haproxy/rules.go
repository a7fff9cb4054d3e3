package haproxy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// requestRules reads http-request, http-response and redirect lines in order.
func (r *reader) requestRules(s section, route *model.Route, plain []int) error {
	redirected := model.Pos{}
	for _, l := range s.own {
		switch l.word(0) {
		case "redirect":
			redirected = l.pos
			r.redirect(s, l, l.words, route, plain)
		case "http-request":
			if redirected.Line > 0 {
				r.reportRuleAfterRedirect(l, redirected)
				redirected = model.Pos{}
			}
			if err := r.requestRule(s, l, route, plain); err != nil {
				return err
			}
		case "http-response", "http-after-response":
			r.responseRule(l, route)
		case "errorfile":
		case "compression":
			if l.word(1) == "algo" {
				route.Compress = &model.Compress{Pos: l.pos}
			}
			if l.word(1) == "type" && route.Compress != nil {
				route.Compress.Types = l.wordsFrom(2)
			}
		case "monitor-uri":
			own := *route
			own.Path, own.Exact, own.Pos, own.Priority = l.word(1), true, l.pos, topPriority
			own.StaticResponse = &model.StaticResponse{
				Pos: l.pos, Code: 200,
				Body: model.Literal("<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n"),
			}
			r.cfg.Routes = append(r.cfg.Routes, own)
		}
	}
	return nil
}

// reportRuleAfterRedirect reports a rule that runs before a redirect written above it.
func (r *reader) reportRuleAfterRedirect(l statement, redirected model.Pos) {
	r.problem(model.Problem{
		Pos: l.pos, Effect: model.Misleading,
		Text: fmt.Sprintf("http-request rules run before the redirect in line %d, regardless of line order: "+
			"redirected requests are counted and refused too", redirected.Line),
		Instead: "http-request redirect …, as the first http-request rule",
	})
}

// redirect reads "redirect scheme https [code N] [if …]" and similar rules.
func (r *reader) redirect(s section, l statement, words []string, route *model.Route, plain []int) {
	command, condition := splitCondition(words)
	at := statement{pos: l.pos, words: command}
	code := 302
	if n, err := strconv.Atoi(at.wordAfter("code")); err == nil {
		code = n
	}
	to := readTemplate(at.wordAfter("location"))
	if scheme := at.wordAfter("scheme"); scheme != "" {
		to = reading.SameURLInScheme(scheme)
	} else if prefix := at.wordAfter("prefix"); prefix != "" {
		to = readTemplate(prefix)
	}
	for _, m := range r.matches(s, l, condition) {
		own := m.apply(*route)
		own.Pos, own.Redirect = l.pos, &model.Redirect{Pos: l.pos, Code: code, To: to}
		r.priority--
		own.Priority = topPriority/2 + r.priority
		own.Retry, own.Timeouts, own.Rules = nil, nil, nil
		if m.plainOnly {
			if len(plain) == 0 {
				continue
			}
			own.Port, own.TLS, own.Ports = plain[0], false, plain
			if len(plain) == 1 {
				own.Ports = nil
			}
			if m.path == "" && len(m.when) == 0 {
				r.keepTLSPorts(route)
			}
		}
		r.cfg.Routes = append(r.cfg.Routes, own)
	}
}

// keepTLSPorts removes the ports without TLS from a route: their requests are redirected before anything else.
func (r *reader) keepTLSPorts(route *model.Route) {
	var left []int
	for _, port := range append(slices.Clip(route.Ports), route.Port) {
		isTLS := slices.ContainsFunc(r.cfg.Listeners, func(l model.Listener) bool { return l.Port == port && l.TLS })
		if isTLS && !slices.Contains(left, port) {
			left = append(left, port)
		}
	}
	if len(left) == 0 {
		return
	}
	route.Port, route.TLS, route.Ports = left[0], true, left
	if len(left) == 1 {
		route.Ports = nil
	}
}

// requestRule reads one http-request rule; plain are the ports without TLS.
func (r *reader) requestRule(s section, l statement, route *model.Route, plain []int) error {
	command, condition := splitCondition(l.words)
	when := strings.TrimPrefix(strings.Join(condition, " "), "if ")
	r.matches(s, l, condition) // reports problems of the condition
	switch l.word(1) {
	case "redirect":
		r.redirect(s, l, l.wordsFrom(1), route, plain)
	case "track-sc0", "track-sc1", "track-sc2", "disable-l7-retry":
	case "auth":
		route.Auth = &model.Auth{Pos: l.pos, Kind: model.AuthUsers, DeniedCode: 401}
	case "deny", "tarpit", "reject":
		return r.deny(s, l, route, condition, when)
	case "return":
		r.answer(s, l, route, condition, when)
	case "use-service":
		if l.word(2) != "prometheus-exporter" {
			r.unreadRule(l)
			break
		}
		r.branch(s, l, route, condition, func(own *model.Route) {
			own.Pool = ""
			own.LocalContent = &model.LocalContent{Pos: l.pos, Description: "HAProxy's Prometheus exporter", Counter: &exporter}
		})
	default:
		if when != "" || !changeRequest(s, l, command, route) {
			r.unreadRule(l)
		}
	}
	return nil
}

// changeRequest reads an unconditional rule that changes the request to the servers; false if it is not evaluated.
func changeRequest(s section, l statement, command []string, route *model.Route) bool {
	switch action := l.word(1); action {
	case "set-header", "add-header":
		value := readTemplate(strings.Join(statement{words: command}.wordsFrom(3), " "))
		route.SetHeaders = append(slices.Clip(route.SetHeaders), model.Header{
			Pos: l.pos, Name: l.word(2), Value: value, Append: action == "add-header",
		})
		return true
	case "del-header":
		route.SetHeaders = append(slices.Clip(route.SetHeaders), model.Header{Pos: l.pos, Name: l.word(2)})
		return true
	case "set-path", "replace-path":
		rewrite, to := readRewrite(command)
		if rewrite == nil || s.kind != "backend" { // in a frontend, use_backend sees the new path
			return false
		}
		route.Rules = append(slices.Clip(route.Rules), model.Rule{Pos: l.pos, To: to, Rewrite: rewrite})
		return true
	}
	return false
}

// answer reads http-request return.
func (r *reader) answer(s section, l statement, route *model.Route, condition []string, when string) {
	code := 200
	if n, err := strconv.Atoi(l.wordAfter("status")); err == nil {
		code = n
	}
	body := model.Literal(l.wordAfter("string"))
	if when == "" {
		route.StaticResponse = &model.StaticResponse{Pos: l.pos, Code: code, Body: body}
		route.Pool = ""
		return
	}
	r.branch(s, l, route, condition, func(own *model.Route) {
		own.StaticResponse = &model.StaticResponse{Pos: l.pos, Code: code, Body: body}
	})
}

// branch adds a route for each way to meet the condition of a rule; fill sets how its requests are handled.
func (r *reader) branch(s section, l statement, route *model.Route, condition []string, fill func(own *model.Route)) {
	for _, m := range r.matches(s, l, condition) {
		own := m.apply(*route)
		own.Pos = l.pos
		fill(&own)
		r.priority--
		own.Priority = topPriority/2 + r.priority
		r.cfg.Routes = append(r.cfg.Routes, own)
	}
}

// unreadRule lists a rule that makes no claim.
func (r *reader) unreadRule(l statement) {
	r.unread(l, "lbproof derives no claim from this rule")
}

// groupReferences matches the references to groups in a replacement.
var groupReferences = regexp.MustCompile(`\\([0-9])`)

// readRewrite reads set-path PATH and replace-path REGEX PATH, which replace the whole path and keep the query
// (configuration manual, section 4.2). It returns nil if the new path has unknown variables, or if the expression is
// not one of Go's.
func readRewrite(command []string) (rewrite *model.Rewrite, to string) {
	rewrite = &model.Rewrite{Match: "^.*$", ReplacesAll: true}
	if command[1] == "replace-path" && len(command) == 4 {
		rewrite.Match = command[2]
	} else if len(command) != 3 {
		return nil, ""
	}
	to = command[len(command)-1]
	rewrite.Replacement = strings.ReplaceAll(reading.EscapeGroups(to), "%[path]", "${0}")
	if command[1] == "replace-path" {
		rewrite.Replacement = groupReferences.ReplaceAllString(reading.EscapeGroups(to), "$${$1}")
		to += " instead of a path that matches " + rewrite.Match
	}
	if _, err := regexp.Compile(rewrite.Match); err != nil || strings.Contains(rewrite.Replacement, "%") {
		return nil, ""
	}
	return rewrite, to
}

// rateRule matches the fetch of a stick table's counter.
var rateRule = regexp.MustCompile(`(?:sc_|src_|sc\d_)` +
	`(http_req_rate|conn_rate|conn_cur|http_err_rate|http_req_cnt|conn_cnt)(?:\((\d*)[^)]*\))?$`)

// countedEvents are the events of the counters of a stick table (configuration manual, section 4.2, stick-table).
// conn_cur is a current number.
var countedEvents = map[string]model.CountedEvent{
	"http_req_rate": model.CountsRequests, "http_req_cnt": model.CountsRequests,
	"conn_rate": model.CountsConnections, "conn_cnt": model.CountsConnections,
	"http_err_rate": model.CountsErrors,
}

// deny reads a refusal: a limit if its condition compares a rate, else a rule.
func (r *reader) deny(s section, l statement, route *model.Route, condition []string, when string) error {
	status := 403
	n, err := strconv.Atoi(l.wordAfter("deny_status"))
	set := err == nil
	if set {
		status = n
	}
	if l.word(1) == "tarpit" && !set {
		status = 500
	}
	_, alternatives := r.terms(s, l, condition)
	for _, terms := range alternatives {
		for _, t := range terms {
			if len(t.text) < 3 || t.negated {
				continue
			}
			m := rateRule.FindStringSubmatch(t.text[0])
			most, err := strconv.Atoi(t.text[len(t.text)-1])
			if m == nil || err != nil {
				continue
			}
			limit, ok := r.limit(s, l, m[1], most, t.text[1])
			if !ok {
				return nil
			}
			limit.Status = status
			route.Limits = append(slices.Clip(route.Limits), limit)
			return nil
		}
	}
	rule := model.Rule{Pos: l.pos, Code: status}
	if when != "" {
		rule.Conditions = []model.Condition{readCondition(when)}
	}
	route.Rules = append(slices.Clip(route.Rules), rule)
	return nil
}

// limit reads a comparison with a counter of a stick table.
func (r *reader) limit(s section, l statement, counter string, most int, compare string) (model.Limit, bool) {
	if compare == "ge" {
		most--
	}
	limit := model.Limit{
		Pos: l.pos, Algorithm: model.CountWindow, Counts: countedEvents[counter], Name: counter, Burst: most,
		Key: readKey("src"),
	}
	for _, t := range s.own {
		if strings.HasPrefix(t.word(1), "track-sc") {
			limit.Key = readKey(t.word(2))
		}
	}
	if reading.IsForgeable(limit.Key.Source) {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Misleading,
			Text: fmt.Sprintf("clients choose the key themselves (%s): "+
				"a client that changes it with each request is not limited", limit.Key),
			Instead: "http-request track-sc0 src",
		})
	}
	table, ok := s.last("stick-table")
	limit.Window = readWindow(table, counter)
	if counter == "conn_cur" {
		limit.Algorithm, limit.MaxInFlight, limit.Burst = model.InFlight, most, 0
	}
	if !ok && !strings.Contains(l.text(), ",") {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Inert,
			Text:    "no stick-table in this section has the counter of this rule",
			Instead: fmt.Sprintf("stick-table type ip size 100k expire 30s store %s(10s)", counter),
		})
		return limit, false
	}
	if limit.Window > 0 {
		limit.Rate = float64(most) / limit.Window.Seconds()
	}
	return limit, true
}

// readWindow returns the period of a counter, as in store http_req_rate(10s),conn_cur; 0 if there is none.
func readWindow(table statement, counter string) (window time.Duration) {
	for _, stored := range table.words {
		name, args, _ := strings.Cut(stored, "(")
		for one := range strings.SplitSeq(stored, ",") {
			n, a, _ := strings.Cut(one, "(")
			if n == counter {
				name, args = n, a
			}
		}
		if name == counter {
			window, _ = parseTime(strings.TrimSuffix(args, ")"))
		}
	}
	return window
}

func (r *reader) responseRule(l statement, route *model.Route) {
	command, condition := splitCondition(l.words)
	action := l.word(1)
	sets := action == "set-header" || action == "add-header"
	if sets && len(condition) == 0 && len(command) > 3 {
		route.AddHeaders = append(slices.Clip(route.AddHeaders), model.Header{
			Pos: l.pos, Name: l.word(2), Value: readTemplate(strings.Join(statement{words: command}.wordsFrom(3), " ")),
			ProxiedOnly: l.word(0) == "http-response",
		})
		return
	}
	r.unreadRule(l)
}
