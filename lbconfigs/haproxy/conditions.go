package haproxy

import (
	"fmt"
	"maps"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// topPriority is the priority of what runs before any rule; redirects and responses run before use_backend.
const topPriority = 1 << 24

// ruleMatch is one way to meet a condition: by path, by hosts, and by what a plain request cannot meet.
type ruleMatch struct {
	path      string
	exact     bool
	regex     bool
	hosts     []string
	when      []model.Condition
	plainOnly bool // only requests without TLS
}

// apply restricts a route to the match.
func (m ruleMatch) apply(route model.Route) model.Route {
	if m.path != "" {
		route.Path, route.Exact, route.Regex = m.path, m.exact, m.regex
	}
	if m.hosts != nil {
		route.Hosts = m.hosts
	}
	route.Conditions = append(slices.Clip(route.Conditions), m.when...)
	return route
}

// term is one criterion of a condition, possibly negated.
type term struct {
	negated bool
	text    []string // of the criterion, with its ACL resolved
	name    string   // as written
}

// terms parses a condition into alternatives, each a list of terms, and resolves ACL names.
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
		t := term{negated: strings.HasPrefix(word, "!"), name: strings.TrimPrefix(word, "!")}
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
			r.checkCriterion(l, t.text)
		} else {
			t.text = r.acl(s, l, t.name)
		}
		last := len(alternatives) - 1
		alternatives[last] = append(alternatives[last], t)
	}
	return unless, alternatives
}

// predefinedACLs are HAProxy's own ACLs (configuration manual, section 7.4).
var predefinedACLs = strings.Fields(`TRUE FALSE LOCALHOST METH_GET METH_POST METH_HEAD METH_OPTIONS METH_CONNECT
METH_DELETE METH_PUT METH_TRACE HTTP HTTP_1.0 HTTP_1.1 HTTP_2.0 HTTP_CONTENT HTTP_URL_ABS HTTP_URL_SLASH
HTTP_URL_STAR REQ_CONTENT WAIT_END RDP_COOKIE`)

// acl returns the criterion of an ACL.
func (r *reader) acl(s section, l statement, name string) []string {
	if text, ok := r.acls[s.pos][name]; ok {
		return text
	}
	if !slices.Contains(predefinedACLs, name) {
		suggestion := reading.DidYouMean(name, slices.Sorted(maps.Keys(r.acls[s.pos])))
		if strings.EqualFold(name, "or") {
			suggestion = "; did you mean or?"
		}
		r.problem(model.Problem{
			Pos: l.pos, Effect: model.Rejected,
			Text:    fmt.Sprintf("ACL %s is not defined%s", name, suggestion),
			Instead: fmt.Sprintf("acl %s … in this section, before this line", name),
		})
	}
	return []string{name}
}

var headerFetch = regexp.MustCompile(`(?i)^(req\.)?hdr(_(beg|dom|end|val|sub|reg|dir|len|cnt|ip))?\((.*)\)$`)

// integerFetches are the suffixes of header fetches that return an integer.
var integerFetches = []string{"val", "len", "cnt"}

// checkCriterion reports a criterion that HAProxy rejects.
func (r *reader) checkCriterion(l statement, text []string) {
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
				Text:    fmt.Sprintf("hdr_%s compares integers, but %q is not an integer", m[3], value),
				Instead: fmt.Sprintf("hdr(%s) -i %s", m[4], value),
			}
			if !slices.Contains(r.cfg.Problems, p) {
				r.problem(p)
			}
		}
	}
}

// matches returns the ways to meet a condition.
func (r *reader) matches(s section, l statement, condition []string) []ruleMatch {
	unless, alternatives := r.terms(s, l, condition)
	if unless {
		return []ruleMatch{{when: []model.Condition{{Source: "not (" + strings.Join(condition[1:], " ") + ")"}}}}
	}
	var out []ruleMatch
	for _, terms := range alternatives {
		found := []ruleMatch{{}}
		for _, t := range terms {
			var next []ruleMatch
			for _, m := range found {
				next = append(next, m.narrow(t)...)
			}
			found = next
		}
		out = append(out, found...)
	}
	return out
}

// narrow adds a term to a match; a list of paths makes several matches.
func (m ruleMatch) narrow(t term) []ruleMatch {
	kind, values := t.fetchAndValues()
	switch {
	case t.negated && kind == "ssl_fc":
		m.plainOnly = true
		return []ruleMatch{m}
	case t.negated || len(values) == 0:
		return []ruleMatch{m.withCondition(t)}
	case kind == "path_beg" || kind == "path" || kind == "path_reg":
		var out []ruleMatch
		for _, v := range values {
			out = append(out, m.withPath(t, kind, v))
		}
		return out
	case m.hosts == nil && isHostFetch(kind):
		for _, v := range values {
			m.hosts = append(m.hosts, strings.ToLower(v))
		}
		return []ruleMatch{m}
	}
	return []ruleMatch{m.withCondition(t)}
}

// withPath returns the match for one path of a list.
func (m ruleMatch) withPath(t term, kind, path string) ruleMatch {
	isPrefix := kind == "path_beg"
	switch {
	case isPrefix && (m.path == "" || strings.HasPrefix(path, m.path)):
		m.path, m.exact, m.regex = path, false, false
	case isPrefix && strings.HasPrefix(m.path, path): // implied by the path of the match
	case m.path == "":
		m.path, m.exact, m.regex = path, kind == "path", kind == "path_reg"
	default:
		return m.withCondition(t)
	}
	return m
}

// withCondition returns the match with a term that is neither a path nor a host.
func (m ruleMatch) withCondition(t term) ruleMatch {
	m.when = append(slices.Clip(m.when), readCondition(t.describe()))
	return m
}

// fetchAndValues returns the fetch of a term and the values it is compared with, without flags such as -i.
func (t term) fetchAndValues() (kind string, values []string) {
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

// isHostFetch reports whether a criterion compares the whole Host header.
func isHostFetch(kind string) bool {
	header := headerFetch.FindStringSubmatch(kind)
	return header != nil && header[3] == "" && strings.HasPrefix(strings.ToLower(header[4]), "host")
}

// describe returns the term with its ACL resolved.
func (t term) describe() string {
	text := strings.Join(t.text, " ")
	if t.negated {
		return "not " + text
	}
	return text
}

// splitCondition splits words into the command and its condition, which starts with if or unless.
func splitCondition(words []string) (command, condition []string) {
	i := slices.IndexFunc(words, func(w string) bool { return w == "if" || w == "unless" })
	if i < 0 {
		return words, nil
	}
	return words[:i], words[i:]
}

var (
	// headerComparison matches a criterion that compares a header: hdr(upgrade) -i websocket.
	headerComparison = regexp.MustCompile(`^\{? ?(req\.)?(hdr|fhdr)\(([\w-]+)\)( -i)?( -m str)? ([^ ]+) ?\}?$`)
	methodComparison = regexp.MustCompile(`^\{? ?(METH_|method )([A-Z]+) ?\}?$`)
)

// readCondition reads a single criterion that is not negated.
func readCondition(text string) model.Condition {
	c := model.Condition{Source: text}
	if m := headerComparison.FindStringSubmatch(text); m != nil {
		c.Terms = []model.Term{
			{Variable: model.RequestHeader, Name: textproto.CanonicalMIMEHeaderKey(m[3]), Op: model.OpEquals, Value: m[6]},
		}
	}
	if m := methodComparison.FindStringSubmatch(text); m != nil {
		c.Terms = []model.Term{{Variable: model.Method, Op: model.OpEquals, Value: m[2]}}
	}
	return c
}
