package haproxy

import (
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// firstOnly is the priority of what comes before any rule; redirects and answers come before use_backend.
const firstOnly = 1 << 24

// match is one way in which a condition can hold: path, hosts, and what lbproof cannot ask for by a plain request.
type match struct {
	path  string
	exact bool
	regex bool
	hosts []string
	when  []model.Condition
	plain bool // only requests without TLS
}

// apply narrows a route to the match.
func (m match) apply(route model.Route) model.Route {
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
type term struct {
	not  bool
	text []string // of the criterion, ACL names resolved
	name string   // as it was written
}

// terms takes a condition apart: alternatives, each a list of terms. ACL names become what they stand for.
func (r *reader) terms(s section, l statement, condition []string) (unless bool, alternatives [][]term) {
	if len(condition) == 0 {
		return false, [][]term{nil}
	}
	unless = condition[0] == "unless"
	alternatives = [][]term{nil}
	words := condition[1:]
	for i := 0; i < len(words); i++ {
		word := words[i]
		if word == "or" || word == "||" {
			alternatives = append(alternatives, nil)
			continue
		}
		t := term{not: strings.HasPrefix(word, "!"), name: strings.TrimPrefix(word, "!")}
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

// predefined are the ACLs that HAProxy brings (configuration manual, section 7.4).
var predefined = strings.Fields(`TRUE FALSE LOCALHOST METH_GET METH_POST METH_HEAD METH_OPTIONS METH_CONNECT
METH_DELETE METH_PUT METH_TRACE HTTP HTTP_1.0 HTTP_1.1 HTTP_2.0 HTTP_CONTENT HTTP_URL_ABS HTTP_URL_SLASH
HTTP_URL_STAR REQ_CONTENT WAIT_END RDP_COOKIE`)

// acl is what an ACL's name stands for.
func (r *reader) acl(s section, l statement, name string) []string {
	if text, ok := r.acls[s.pos][name]; ok {
		return text
	}
	if !slices.Contains(predefined, name) {
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Rejected,
			Text:    "there is no ACL called " + name,
			Instead: fmt.Sprintf("acl %s …, in the section before this line", name),
		})
	}
	return []string{name}
}

var headerFetch = regexp.MustCompile(`(?i)^(req\.)?hdr(_(beg|dom|end|val|sub|reg|dir|len|cnt|ip))?\((.*)\)$`)

// integerFetches are the endings of header fetches that give an integer.
var integerFetches = []string{"val", "len", "cnt"}

// criterion tells of a criterion that HAProxy does not take.
func (r *reader) criterion(l statement, text []string) {
	if len(text) < 2 {
		return
	}
	m := headerFetch.FindStringSubmatch(text[0])
	if m == nil || !slices.Contains(integerFetches, m[3]) {
		return
	}
	for _, value := range text[1:] {
		if strings.HasPrefix(value, "-") || slices.Contains([]string{"eq", "ge", "gt", "le", "lt"}, value) {
			continue
		}
		if _, err := strconv.Atoi(strings.ReplaceAll(value, ":", "")); err != nil {
			p := model.Problem{
				Pos: l.pos, Effect: model.Rejected,
				Text:    fmt.Sprintf("hdr_%s compares integers, and %q is none", m[3], value),
				Instead: fmt.Sprintf("hdr(%s) -i %s", m[4], value),
			}
			if !slices.Contains(r.cfg.Problems, p) {
				r.problem(p)
			}
		}
	}
}

// matches are the ways in which a condition can hold.
func (r *reader) matches(s section, l statement, condition []string) []match {
	unless, alternatives := r.terms(s, l, condition)
	if unless {
		return []match{{when: []model.Condition{{Source: "not (" + strings.Join(condition[1:], " ") + ")"}}}}
	}
	var out []match
	for _, terms := range alternatives {
		found := []match{{}}
		for _, t := range terms {
			var next []match
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
func (m match) narrow(t term) []match {
	kind, values := t.compares()
	switch {
	case t.not && kind == "ssl_fc":
		m.plain = true
		return []match{m}
	case t.not || len(values) == 0:
		return []match{m.onlyIf(t)}
	case kind == "path_beg" || kind == "path" || kind == "path_reg":
		var out []match
		for _, v := range values {
			out = append(out, m.at(t, kind, v))
		}
		return out
	case m.hosts == nil && fetchesHost(kind):
		for _, v := range values {
			m.hosts = append(m.hosts, strings.ToLower(v))
		}
		return []match{m}
	}
	return []match{m.onlyIf(t)}
}

// at is the match for one path of a path list.
func (m match) at(t term, kind, path string) match {
	isPrefix := kind == "path_beg"
	switch {
	case isPrefix && (m.path == "" || strings.HasPrefix(path, m.path)):
		m.path, m.exact, m.regex = path, false, false
	case isPrefix && strings.HasPrefix(m.path, path): // which the path that it has implies
	case m.path == "":
		m.path, m.exact, m.regex = path, kind == "path", kind == "path_reg"
	default:
		return m.onlyIf(t)
	}
	return m
}

// onlyIf is the match where a term holds that is no path and no host.
func (m match) onlyIf(t term) match {
	m.when = append(slices.Clip(m.when), readCondition(t.describe()))
	return m
}

// compares is what a term fetches and the values that it compares that with; flags as -i are left out.
func (t term) compares() (kind string, values []string) {
	if len(t.text) == 0 {
		return "", nil
	}
	for _, v := range t.text[1:] {
		if !strings.HasPrefix(v, "-") {
			values = append(values, v)
		}
	}
	return t.text[0], values
}

// fetchesHost says whether a criterion compares the whole of the header Host.
func fetchesHost(kind string) bool {
	header := headerFetch.FindStringSubmatch(kind)
	return header != nil && header[3] == "" && strings.HasPrefix(strings.ToLower(header[4]), "host")
}

// describe is the term with its ACL's name resolved.
func (t term) describe() string {
	text := strings.Join(t.text, " ")
	if t.not {
		return "not " + text
	}
	return text
}

// splitCondition splits words into what is done and the condition for it, which begins with if or unless.
func splitCondition(words []string) (command, condition []string) {
	i := slices.IndexFunc(words, func(w string) bool { return w == "if" || w == "unless" })
	if i < 0 {
		return words, nil
	}
	return words[:i], words[i:]
}

var (
	// headerComparison matches a criterion that compares a header field: hdr(upgrade) -i websocket.
	headerComparison = regexp.MustCompile(`^\{? ?(req\.)?(hdr|fhdr)\(([\w-]+)\)( -i)?( -m str)? ([^ ]+) ?\}?$`)
	methodComparison = regexp.MustCompile(`^\{? ?(METH_|method )([A-Z]+) ?\}?$`)
)

// readCondition reads a criterion, alone and not negated.
func readCondition(text string) model.Condition {
	c := model.Condition{Source: text}
	if m := headerComparison.FindStringSubmatch(text); m != nil {
		c.All = []model.Term{
			{Variable: model.RequestHeader, Name: textproto.CanonicalMIMEHeaderKey(m[3]), Op: model.Is, Value: m[6]},
		}
	}
	if m := methodComparison.FindStringSubmatch(text); m != nil {
		c.All = []model.Term{{Variable: model.Method, Op: model.Is, Value: m[2]}}
	}
	return c
}
