package haproxy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// requestRules reads http-request, http-response and redirect lines in their order.
func (r *reader) requestRules(s section, route *model.Route, plain []int) error {
	redirected := model.Pos{}
	for _, l := range s.own {
		switch l.word(0) {
		case "redirect":
			redirected = l.pos
			r.redirect(s, l, l.words, route, plain)
		case "http-request":
			if redirected.Line > 0 {
				r.problem(model.Problem{
					Pos: l.pos, Effect: model.Differs,
					Text:    fmt.Sprintf("http-request rules come before the redirect of line %d, whatever the order of the lines: requests that will be redirected are counted and refused too", redirected.Line),
					Instead: "http-request redirect …, as the first http-request rule",
				})
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
				route.Compress.Types = l.from(2)
			}
		case "monitor-uri":
			own := *route
			own.Path, own.Exact, own.Pos, own.Priority = l.word(1), true, l.pos, firstOnly
			own.Answer = &model.Answer{Pos: l.pos, Code: 200, Body: model.Literal("<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n")}
			r.cfg.Routes = append(r.cfg.Routes, own)
		}
	}
	return nil
}

// redirect reads "redirect scheme https [code N] [if …]" and its kin.
func (r *reader) redirect(s section, l statement, words []string, route *model.Route, plain []int) {
	command, condition := splitCondition(words)
	at := statement{pos: l.pos, words: command}
	code := 302
	if n, err := strconv.Atoi(at.after("code")); err == nil {
		code = n
	}
	to := readTemplate(at.after("location"))
	if scheme := at.after("scheme"); scheme != "" {
		to = reading.InScheme(scheme)
	} else if prefix := at.after("prefix"); prefix != "" {
		to = readTemplate(prefix)
	}
	for _, m := range r.matches(s, l, condition) {
		own := m.apply(*route)
		own.Pos, own.Redirect = l.pos, &model.Redirect{Pos: l.pos, Code: code, To: to}
		r.priority--
		own.Priority = firstOnly/2 + r.priority
		own.Retry, own.Timeouts, own.Rules = nil, nil, nil
		if m.plain {
			if len(plain) == 0 {
				continue
			}
			own.Port, own.TLS, own.Ports = plain[0], false, plain
			if len(plain) == 1 {
				own.Ports = nil
			}
			if m.path == "" && len(m.when) == 0 {
				r.onlyTLS(route)
			}
		}
		r.cfg.Routes = append(r.cfg.Routes, own)
	}
}

// onlyTLS takes the ports without TLS from a route: what comes in there is redirected before anything else.
func (r *reader) onlyTLS(route *model.Route) {
	var left []int
	for _, port := range append(slices.Clip(route.Ports), route.Port) {
		if slices.ContainsFunc(r.cfg.Listeners, func(l model.Listener) bool { return l.Port == port && l.TLS }) && !slices.Contains(left, port) {
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

func (r *reader) requestRule(s section, l statement, route *model.Route, plain []int) error {
	command, condition := splitCondition(l.words)
	when := strings.TrimPrefix(strings.Join(condition, " "), "if ")
	r.matches(s, l, condition) // for what it complains of
	switch action := l.word(1); action {
	case "set-header", "add-header":
		if when == "" {
			value := readTemplate(strings.Join(statement{words: command}.from(3), " "))
			route.SetHeaders = append(slices.Clip(route.SetHeaders), model.Header{Pos: l.pos, Name: l.word(2), Value: value, Adds: action == "add-header"})
			return nil
		}
	case "del-header":
		if when == "" {
			route.SetHeaders = append(slices.Clip(route.SetHeaders), model.Header{Pos: l.pos, Name: l.word(2)})
			return nil
		}
	case "redirect":
		r.redirect(s, l, l.from(1), route, plain)
		return nil
	case "set-path", "replace-path":
		if rewrite, to := readRewrite(command); rewrite != nil && when == "" && s.kind == "backend" { // in a frontend use_backend goes by the new path
			route.Rules = append(slices.Clip(route.Rules), model.Rule{Pos: l.pos, To: to, Rewrite: rewrite})
			return nil
		}
	case "track-sc0", "track-sc1", "track-sc2", "disable-l7-retry":
		return nil
	case "auth":
		route.Auth = &model.Auth{Pos: l.pos, Kind: model.AuthUsers, Code: 401}
		return nil
	case "deny", "tarpit", "reject":
		return r.deny(s, l, route, condition, when)
	case "use-service":
		if l.word(2) != "prometheus-exporter" {
			break
		}
		for _, m := range r.matches(s, l, condition) {
			own := m.apply(*route)
			own.Pos, own.Pool, own.Own = l.pos, "", &model.Own{Pos: l.pos, What: "HAProxy's Prometheus exporter", Counter: &exporter}
			r.priority--
			own.Priority = firstOnly/2 + r.priority
			r.cfg.Routes = append(r.cfg.Routes, own)
		}
		return nil
	case "return":
		code := 200
		if n, err := strconv.Atoi(l.after("status")); err == nil {
			code = n
		}
		if when == "" {
			route.Answer = &model.Answer{Pos: l.pos, Code: code, Body: model.Literal(l.after("string"))}
			route.Pool = ""
			return nil
		}
		for _, m := range r.matches(s, l, condition) {
			own := m.apply(*route)
			own.Pos, own.Answer = l.pos, &model.Answer{Pos: l.pos, Code: code, Body: model.Literal(l.after("string"))}
			r.priority--
			own.Priority = firstOnly/2 + r.priority
			r.cfg.Routes = append(r.cfg.Routes, own)
		}
		return nil
	}
	r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: l.pos, Text: l.text(), Why: "lbproof draws no promise from this rule"})
	return nil
}

// groups are what a replacement of HAProxy has of the groups of its regular expression.
var groups = regexp.MustCompile(`\\([0-9])`)

// readRewrite is what set-path PATH and replace-path REGEX PATH make of a path: the whole of it is replaced, its query stays (configuration
// manual, section 4.2). nil where the new path has parts of the request that lbproof does not know, or the expression parts that Go's lack.
func readRewrite(command []string) (rewrite *model.Rewrite, to string) {
	rewrite = &model.Rewrite{Match: "^.*$", Whole: true}
	if command[1] == "replace-path" && len(command) == 4 {
		rewrite.Match = command[2]
	} else if len(command) != 3 {
		return nil, ""
	}
	to = command[len(command)-1]
	rewrite.With = strings.ReplaceAll(reading.EscapeGroups(to), "%[path]", "${0}")
	if command[1] == "replace-path" {
		rewrite.With = groups.ReplaceAllString(reading.EscapeGroups(to), "$${$1}")
		to += " in place of a path that fits " + rewrite.Match
	}
	if _, err := regexp.Compile(rewrite.Match); err != nil || strings.Contains(rewrite.With, "%") {
		return nil, ""
	}
	return rewrite, to
}

var rateRule = regexp.MustCompile(`(?:sc_|src_|sc\d_)(http_req_rate|conn_rate|conn_cur|http_err_rate|http_req_cnt|conn_cnt)(?:\((\d*)[^)]*\))?$`)

// counted is what counters of a stick table count (configuration manual, section 4.2, stick-table). conn_cur is how many there are.
var counted = map[string]model.Counted{
	"http_req_rate": model.CountsRequests, "http_req_cnt": model.CountsRequests,
	"conn_rate": model.CountsConnections, "conn_cnt": model.CountsConnections,
	"http_err_rate": model.CountsErrors,
}

// deny reads a refusal: a limit where its condition compares a rate, else a rule.
func (r *reader) deny(s section, l statement, route *model.Route, condition []string, when string) error {
	status := 403
	n, err := strconv.Atoi(l.after("deny_status"))
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
			if len(t.text) < 3 || t.not {
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
		rule.When = []model.Condition{readCondition(when)}
	}
	route.Rules = append(slices.Clip(route.Rules), rule)
	return nil
}

// limit is what a comparison with a counter of a stick table allows.
func (r *reader) limit(s section, l statement, counter string, most int, compare string) (model.Limit, bool) {
	if compare == "ge" {
		most--
	}
	limit := model.Limit{Pos: l.pos, Law: model.CountWindow, Counts: counted[counter], Name: counter, Burst: most, Key: readKey("src")}
	for _, t := range s.own {
		if strings.HasPrefix(t.word(1), "track-sc") {
			limit.Key = readKey(t.word(2))
		}
	}
	if reading.IsForgeable(limit.Key.Source) {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Differs,
			Text:    fmt.Sprintf("clients choose the key themselves (%s): whoever sends another value each time is not limited", limit.Key),
			Instead: "http-request track-sc0 src",
		})
	}
	table, ok := s.last("stick-table")
	for _, stored := range table.words {
		name, args, _ := strings.Cut(stored, "(")
		for one := range strings.SplitSeq(stored, ",") {
			n, a, _ := strings.Cut(one, "(")
			if n == counter {
				name, args = n, a
			}
		}
		if name == counter {
			limit.Window, _ = parseTime(strings.TrimSuffix(args, ")"))
		}
	}
	if counter == "conn_cur" {
		limit.Law, limit.Most, limit.Burst = model.InFlight, most, 0
	}
	if !ok && !strings.Contains(l.text(), ",") {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Inert,
			Text:    "no stick-table in this section counts what the rule compares",
			Instead: fmt.Sprintf("stick-table type ip size 100k expire 30s store %s(10s)", counter),
		})
		return limit, false
	}
	if limit.Window > 0 {
		limit.Rate = float64(most) / limit.Window.Seconds()
	}
	return limit, true
}

func (r *reader) responseRule(l statement, route *model.Route) {
	command, condition := splitCondition(l.words)
	action := l.word(1)
	if (action == "set-header" || action == "add-header") && len(condition) == 0 && len(command) > 3 {
		route.AddHeaders = append(slices.Clip(route.AddHeaders), model.Header{
			Pos: l.pos, Name: l.word(2), Value: readTemplate(strings.Join(statement{words: command}.from(3), " ")), Proxied: l.word(0) == "http-response",
		})
		return
	}
	r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: l.pos, Text: l.text(), Why: "lbproof draws no promise from this rule"})
}
