package traefik

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// ruleMatch is one way to match a router's rule.
type ruleMatch struct {
	hosts []string
	path  string
	exact bool
	regex bool
	when  []model.Condition
}

// matchers are the matchers of Traefik v3, with their numbers of arguments.
var matchers = map[string][]int{
	"Host": {1}, "HostRegexp": {1},
	"Path": {1}, "PathPrefix": {1}, "PathRegexp": {1},
	"Method": {1},
	"Header": {2}, "HeaderRegexp": {2},
	"Query": {1, 2}, "QueryRegexp": {1, 2},
	"ClientIP": {1},
}

// v2Matchers are matchers of Traefik v2, with their names in v3.
var v2Matchers = map[string]string{"Headers": "Header", "HeadersRegexp": "HeaderRegexp", "HostHeader": "Host"}

// parseRule parses a router's rule, whose syntax is that of Go expressions. problem is why v3 rejects it.
func parseRule(rule string) (matches []ruleMatch, problem, instead string) {
	if len(rule) > 4096 {
		return nil, "the rule is longer than 4,096 characters", ""
	}
	expr, err := parser.ParseExpr(rule)
	if err != nil {
		return nil, "the rule cannot be parsed: " + err.Error(), ""
	}
	r := ruleReader{}
	matches = r.alternatives(expr)
	return matches, r.problem, r.instead
}

type ruleReader struct{ problem, instead string }

// alternatives returns the ways to match an expression.
func (r *ruleReader) alternatives(e ast.Expr) []ruleMatch {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return r.alternatives(e.X)
	case *ast.BinaryExpr:
		left, right := r.alternatives(e.X), r.alternatives(e.Y)
		if e.Op == token.LOR {
			return append(left, right...)
		}
		var both []ruleMatch
		for _, a := range left {
			for _, b := range right {
				if len(both) < 256 {
					both = append(both, a.and(b))
				}
			}
		}
		return both
	case *ast.CallExpr:
		return []ruleMatch{r.call(e)}
	case *ast.UnaryExpr:
		return []ruleMatch{{when: []model.Condition{negated(r.alternatives(e.X))}}}
	}
	r.problem = "the rule is not an expression of matchers"
	return []ruleMatch{{}}
}

func (r *ruleReader) call(e *ast.CallExpr) ruleMatch {
	name := ""
	if id, ok := e.Fun.(*ast.Ident); ok {
		name = id.Name
	}
	var args []string
	for _, a := range e.Args {
		if lit, ok := a.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				args = append(args, text)
			}
		}
	}
	known := name
	for f := range matchers {
		if strings.EqualFold(f, name) {
			known = f
		}
	}
	counts, ok := matchers[known]
	switch {
	case !ok && v2Matchers[name] != "":
		r.problem, r.instead = fmt.Sprintf("%s is a matcher of Traefik v2", name), v2Matchers[name]
	case !ok:
		r.problem = fmt.Sprintf("unknown matcher %s%s", name, reading.DidYouMean(name, slices.Sorted(maps.Keys(matchers))))
	case !slices.Contains(counts, len(args)):
		r.problem = fmt.Sprintf("%s takes %d argument in Traefik v3, but has %d here", known, counts[0], len(args))
		if len(args) > 1 {
			var each []string
			for _, a := range args {
				each = append(each, fmt.Sprintf("%s(`%s`)", known, a))
			}
			r.instead = strings.Join(each, " || ")
		}
	case strings.HasPrefix(known, "Path") && !strings.HasSuffix(known, "Regexp") && strings.Contains(args[0], "{"):
		r.problem, r.instead = "patterns in braces are of Traefik v2", "PathRegexp"
	}
	return readMatcher(known, args)
}

func readMatcher(name string, args []string) ruleMatch {
	if len(args) == 1 {
		switch name {
		case "Host":
			return ruleMatch{hosts: []string{strings.ToLower(args[0])}}
		case "PathPrefix":
			return ruleMatch{path: args[0]}
		case "Path":
			return ruleMatch{path: args[0], exact: true}
		case "PathRegexp":
			return ruleMatch{path: args[0], regex: true}
		}
	}
	c := model.Condition{Source: fmt.Sprintf("%s(%s)", name, strings.Join(args, ", "))}
	switch {
	case name == "Header" && len(args) == 2:
		c.Terms = []model.Term{
			{Variable: model.RequestHeader, Name: textproto.CanonicalMIMEHeaderKey(args[0]), Op: model.OpEquals, Value: args[1]},
		}
	case name == "Method" && len(args) == 1:
		c.Terms = []model.Term{{Variable: model.Method, Op: model.OpEquals, Value: args[0]}}
	}
	return ruleMatch{when: []model.Condition{c}}
}

// negated returns the condition that no alternative matches.
func negated(alternatives []ruleMatch) model.Condition {
	var texts []string
	for _, m := range alternatives {
		texts = append(texts, m.String())
	}
	c := model.Condition{Source: "not (" + strings.Join(texts, " or ") + ")"}
	if len(alternatives) != 1 {
		return c
	}
	only := alternatives[0]
	isCondition := only.hosts == nil && only.path == "" && len(only.when) == 1
	if isCondition && len(only.when[0].Terms) == 1 {
		is := only.when[0].Terms[0]
		is.Negated = !is.Negated
		c.Terms = []model.Term{is}
	}
	return c
}

// and returns the match that requires both.
func (m ruleMatch) and(o ruleMatch) ruleMatch {
	out := ruleMatch{
		hosts: m.hosts, path: m.path, exact: m.exact, regex: m.regex, when: append(slices.Clip(m.when), o.when...),
	}
	switch {
	case m.path == "":
		out.path, out.exact, out.regex = o.path, o.exact, o.regex
	case o.path != "":
		out.when = append(out.when, model.Condition{Source: "the path matches " + o.path})
	}
	if m.hosts == nil {
		out.hosts = o.hosts
	} else if o.hosts != nil {
		out.when = append(out.when, model.Condition{Source: "the host is " + o.hosts[0]})
	}
	return out
}

func (m ruleMatch) String() string {
	var parts []string
	if m.hosts != nil {
		parts = append(parts, "the host is "+m.hosts[0])
	}
	if m.path != "" {
		parts = append(parts, "the path fits "+m.path)
	}
	return strings.Join(append(parts, model.Sources(m.when)...), " and ")
}

// apply restricts a route to the match.
func (m ruleMatch) apply(route model.Route) model.Route {
	route.Path, route.Exact, route.Regex = "/", false, false
	if m.path != "" {
		route.Path, route.Exact, route.Regex = m.path, m.exact, m.regex
	}
	route.Hosts, route.Conditions = m.hosts, m.when
	return route
}
