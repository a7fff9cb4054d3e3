package lbconfigs

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// haFirst is the priority of what comes before any rule; redirects and answers come before use_backend.
const haFirst = 1 << 24

// haMatch is one way in which a condition can hold: path, hosts, and what lbproof cannot ask for by a plain request.
type haMatch struct {
	path  string
	exact bool
	regex bool
	hosts []string
	when  []string
	plain bool // only requests without TLS
}

// apply narrows a route to the match.
func (m haMatch) apply(route model.Route) model.Route {
	if m.path != "" {
		route.Path, route.Exact, route.Regex = m.path, m.exact, m.regex
	}
	if m.hosts != nil {
		route.Hosts = m.hosts
	}
	route.When = append(slices.Clip(route.When), m.when...)
	return route
}

// term is one criterion of a condition, perhaps negated.
type haTerm struct {
	not  bool
	text []string // of the criterion, ACL names resolved
	name string   // as it was written
}

// terms takes a condition apart: alternatives, each a list of terms. ACL names become what they stand for.
func (r *haReader) terms(s haSection, l haLine, condition []string) (unless bool, alternatives [][]haTerm) {
	if len(condition) == 0 {
		return false, [][]haTerm{nil}
	}
	unless = condition[0] == "unless"
	alternatives = [][]haTerm{nil}
	words := condition[1:]
	for i := 0; i < len(words); i++ {
		word := words[i]
		if word == "or" || word == "||" {
			alternatives = append(alternatives, nil)
			continue
		}
		t := haTerm{not: strings.HasPrefix(word, "!"), name: strings.TrimPrefix(word, "!")}
		if t.name == "" && i+1 < len(words) { // "! name"
			i++
			t.name = words[i]
		}
		if t.name == "{" {
			end := i + 1
			for end < len(words) && words[end] != "}" {
				end++
			}
			t.text, i = words[i+1:end], end
			t.name = "{ " + strings.Join(t.text, " ") + " }"
			r.criterion(l, t.text)
		} else {
			t.text = r.acl(s, l, t.name)
		}
		last := len(alternatives) - 1
		alternatives[last] = append(alternatives[last], t)
	}
	return unless, alternatives
}

// haACLs are the ACLs that HAProxy brings (configuration manual, section 7.4).
var haACLs = strings.Fields(`TRUE FALSE LOCALHOST METH_GET METH_POST METH_HEAD METH_OPTIONS METH_CONNECT METH_DELETE METH_PUT METH_TRACE
HTTP HTTP_1.0 HTTP_1.1 HTTP_2.0 HTTP_CONTENT HTTP_URL_ABS HTTP_URL_SLASH HTTP_URL_STAR REQ_CONTENT WAIT_END
RDP_COOKIE`)

// acl is what an ACL's name stands for.
func (r *haReader) acl(s haSection, l haLine, name string) []string {
	if text, ok := r.acls[s.pos][name]; ok {
		return text
	}
	if !slices.Contains(haACLs, name) {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Rejected,
			Text:    "there is no ACL called " + name,
			Instead: fmt.Sprintf("acl %s …, in the section before this line", name),
		})
	}
	return []string{name}
}

var headerFetch = regexp.MustCompile(`(?i)^(req\.)?hdr(_(beg|dom|end|val|sub|reg|dir|len|cnt|ip))?\((.*)\)$`)

// criterion tells of a criterion that HAProxy does not take.
func (r *haReader) criterion(l haLine, text []string) {
	if len(text) < 2 {
		return
	}
	m := headerFetch.FindStringSubmatch(text[0])
	if m == nil || m[3] != "val" && m[3] != "len" && m[3] != "cnt" {
		return
	}
	for _, value := range text[1:] {
		if strings.HasPrefix(value, "-") || slices.Contains([]string{"eq", "ge", "gt", "le", "lt"}, value) {
			continue
		}
		if _, err := strconv.Atoi(strings.ReplaceAll(value, ":", "")); err != nil {
			p := model.Problem{
				Pos: l.pos, Effect: model.Rejected, Text: fmt.Sprintf("hdr_%s compares integers, and %q is none", m[3], value),
				Instead: fmt.Sprintf("hdr(%s) -i %s", m[4], value),
			}
			if !slices.Contains(r.cfg.Problems, p) {
				r.problem(p)
			}
		}
	}
}

// matches are the ways in which a condition can hold.
func (r *haReader) matches(s haSection, l haLine, condition []string) []haMatch {
	unless, alternatives := r.terms(s, l, condition)
	if unless {
		return []haMatch{{when: []string{"not (" + strings.Join(condition[1:], " ") + ")"}}}
	}
	var out []haMatch
	for _, terms := range alternatives {
		found := []haMatch{{}}
		for _, t := range terms {
			var next []haMatch
			for _, m := range found {
				next = append(next, m.narrow(t)...)
			}
			found = next
		}
		out = append(out, found...)
	}
	return out
}

// narrow adds one term to a match; a path list makes several.
func (m haMatch) narrow(t haTerm) []haMatch {
	text := t.text
	kind, values := "", []string(nil)
	if len(text) > 0 {
		kind = text[0]
		for _, v := range text[1:] {
			if !strings.HasPrefix(v, "-") {
				values = append(values, v)
			}
		}
	}
	if t.not || len(values) == 0 {
		if kind == "ssl_fc" && t.not {
			m.plain = true
			return []haMatch{m}
		}
		m.when = append(slices.Clip(m.when), t.describe())
		return []haMatch{m}
	}
	header := headerFetch.FindStringSubmatch(kind)
	switch {
	case kind == "path_beg" || kind == "path" || kind == "path_reg":
		var out []haMatch
		for _, v := range values {
			n := m
			switch {
			case kind == "path_beg" && (m.path == "" || strings.HasPrefix(v, m.path)):
				n.path, n.exact, n.regex = v, false, false
			case kind == "path_beg" && strings.HasPrefix(m.path, v):
			case m.path == "":
				n.path, n.exact, n.regex = v, kind == "path", kind == "path_reg"
			default:
				n.when = append(slices.Clip(m.when), t.describe())
			}
			out = append(out, n)
		}
		return out
	case header != nil && header[3] == "" && strings.HasPrefix(strings.ToLower(header[4]), "host") && m.hosts == nil:
		for _, v := range values {
			m.hosts = append(m.hosts, strings.ToLower(v))
		}
		return []haMatch{m}
	}
	m.when = append(slices.Clip(m.when), t.describe())
	return []haMatch{m}
}

func (t haTerm) describe() string {
	text := strings.Join(t.text, " ")
	if t.not {
		return "not " + text
	}
	return text
}

// requestRules reads http-request, http-response and redirect lines in their order.
func (r *haReader) requestRules(s haSection, route *model.Route, plain []int) error {
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
			own.Path, own.Exact, own.Pos, own.Priority = l.word(1), true, l.pos, haFirst
			own.Answer = &model.Answer{Pos: l.pos, Code: 200, Body: "<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n"}
			r.cfg.Routes = append(r.cfg.Routes, own)
		}
	}
	return nil
}

// redirect reads "redirect scheme https [code N] [if …]" and its kin.
func (r *haReader) redirect(s haSection, l haLine, words []string, route *model.Route, plain []int) {
	command, condition := haCondition(words)
	at := haLine{pos: l.pos, words: command}
	code := 302
	if n, err := strconv.Atoi(at.after("code")); err == nil {
		code = n
	}
	to := at.after("location")
	if scheme := at.after("scheme"); scheme != "" {
		to = scheme + "://"
	} else if prefix := at.after("prefix"); prefix != "" {
		to = prefix
	}
	for _, m := range r.matches(s, l, condition) {
		own := m.apply(*route)
		own.Pos, own.Redirect = l.pos, &model.Redirect{Pos: l.pos, Code: code, To: to}
		r.priority--
		own.Priority = haFirst/2 + r.priority
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
func (r *haReader) onlyTLS(route *model.Route) {
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

func (r *haReader) requestRule(s haSection, l haLine, route *model.Route, plain []int) error {
	command, condition := haCondition(l.words)
	when := strings.TrimPrefix(strings.Join(condition, " "), "if ")
	r.matches(s, l, condition) // for what it complains of
	switch action := l.word(1); action {
	case "set-header", "add-header":
		if when == "" {
			route.SetHeaders = append(slices.Clip(route.SetHeaders), model.Header{Pos: l.pos, Name: l.word(2), Value: strings.Join(haLine{words: command}.from(3), " "), Adds: action == "add-header"})
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
		if rewrite, to := haRewrite(command); rewrite != nil && when == "" && s.kind == "backend" { // in a frontend use_backend goes by the new path
			route.Rules = append(slices.Clip(route.Rules), model.Rule{Pos: l.pos, When: model.Always, To: to, Rewrite: rewrite})
			return nil
		}
	case "track-sc0", "track-sc1", "track-sc2", "disable-l7-retry":
		return nil
	case "auth":
		route.Auth = &model.Auth{Pos: l.pos, By: "a list of users", Code: 401}
		return nil
	case "deny", "tarpit", "reject":
		return r.deny(s, l, route, condition, when)
	case "use-service":
		if l.word(2) != "prometheus-exporter" {
			break
		}
		for _, m := range r.matches(s, l, condition) {
			own := m.apply(*route)
			own.Pos, own.Pool, own.Own = l.pos, "", &model.Own{Pos: l.pos, What: "HAProxy's Prometheus exporter"}
			r.priority--
			own.Priority = haFirst/2 + r.priority
			r.cfg.Routes = append(r.cfg.Routes, own)
		}
		return nil
	case "return":
		code := 200
		if n, err := strconv.Atoi(l.after("status")); err == nil {
			code = n
		}
		if when == "" {
			route.Answer = &model.Answer{Pos: l.pos, Code: code, Body: l.after("string")}
			route.Pool = ""
			return nil
		}
		for _, m := range r.matches(s, l, condition) {
			own := m.apply(*route)
			own.Pos, own.Answer = l.pos, &model.Answer{Pos: l.pos, Code: code, Body: l.after("string")}
			r.priority--
			own.Priority = haFirst/2 + r.priority
			r.cfg.Routes = append(r.cfg.Routes, own)
		}
		return nil
	}
	r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: l.pos, Text: l.text(), Why: "lbproof draws no promise from this rule"})
	return nil
}

// haGroups are what a replacement of HAProxy has of the groups of its regular expression.
var haGroups = regexp.MustCompile(`\\([0-9])`)

// haRewrite is what set-path PATH and replace-path REGEX PATH make of a path: the whole of it is replaced, its query stays (configuration
// manual, section 4.2). nil where the new path has parts of the request that lbproof does not know, or the expression parts that Go's lack.
func haRewrite(command []string) (rewrite *model.Rewrite, to string) {
	rewrite = &model.Rewrite{Match: "^.*$", Whole: true}
	if command[1] == "replace-path" && len(command) == 4 {
		rewrite.Match = command[2]
	} else if len(command) != 3 {
		return nil, ""
	}
	to = command[len(command)-1]
	rewrite.With = strings.ReplaceAll(literal(to), "%[path]", "${0}")
	if command[1] == "replace-path" {
		rewrite.With = haGroups.ReplaceAllString(literal(to), "$${$1}")
		to += " in place of a path that fits " + rewrite.Match
	}
	if _, err := regexp.Compile(rewrite.Match); err != nil || strings.Contains(rewrite.With, "%") {
		return nil, ""
	}
	return rewrite, to
}

var rateRule = regexp.MustCompile(`(?:sc_|src_|sc\d_)(http_req_rate|conn_rate|conn_cur|http_err_rate|http_req_cnt|conn_cnt)(?:\((\d*)[^)]*\))?$`)

// deny reads a refusal: a limit where its condition compares a rate, else a rule.
func (r *haReader) deny(s haSection, l haLine, route *model.Route, condition []string, when string) error {
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
			limit.Status, limit.StatusIsSet = status, set
			route.Limits = append(slices.Clip(route.Limits), limit)
			return nil
		}
	}
	route.Rules = append(slices.Clip(route.Rules), model.Rule{Pos: l.pos, When: when, Code: status})
	return nil
}

// limit is what a comparison with a counter of a stick table allows.
func (r *haReader) limit(s haSection, l haLine, counter string, most int, compare string) (model.Limit, bool) {
	if compare == "ge" {
		most--
	}
	limit := model.Limit{Pos: l.pos, Law: model.CountWindow, Name: counter, Burst: most, Key: "src"}
	for _, t := range s.own {
		if strings.HasPrefix(t.word(1), "track-sc") {
			limit.Key = t.word(2)
		}
	}
	if forgeable(limit.Key) {
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
			limit.Window, _ = haproxyTime(strings.TrimSuffix(args, ")"))
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

func (r *haReader) responseRule(l haLine, route *model.Route) {
	command, condition := haCondition(l.words)
	action := l.word(1)
	if (action == "set-header" || action == "add-header") && len(condition) == 0 && len(command) > 3 {
		route.AddHeaders = append(slices.Clip(route.AddHeaders), model.Header{
			Pos: l.pos, Name: l.word(2), Value: strings.Join(haLine{words: command}.from(3), " "), Proxied: l.word(0) == "http-response",
		})
		return
	}
	r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: l.pos, Text: l.text(), Why: "lbproof draws no promise from this rule"})
}
