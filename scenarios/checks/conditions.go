package checks

import (
	"net/textproto"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Conditions stand in a configuration in the balancer's own notation. Those that speak of one header field or of the method
// are read here, so that requests can be made on both sides of them.

// condition is one that lbproof can meet or miss.
type condition struct {
	header string // canonical name; empty is the method
	value  string // that it is compared with, or a regular expression
	regex  bool
	not    bool
}

var (
	// nginx: $http_x_beta != true
	nginxCondition = regexp.MustCompile(`^\$(http_(\w+)|request_method) (=|!=|~\*?|!~\*?) "?([^"]*)"?$`)
	// HAProxy: hdr(upgrade) -i websocket
	haproxyCondition = regexp.MustCompile(`^\{? ?(req\.)?(hdr|fhdr)\(([\w-]+)\)( -i)?( -m str)? ([^ ]+) ?\}?$`)
	haproxyMethod    = regexp.MustCompile(`^\{? ?(METH_|method )([A-Z]+) ?\}?$`)
	// Traefik: Header(X-Canary, true) and Method(GET)
	traefikCondition = regexp.MustCompile("^(not \\()?Header\\([`\"]?([\\w-]+)[`\"]?, *[`\"]?([^`\",)]*)[`\"]?\\)\\)?$")
	traefikMethod    = regexp.MustCompile("^(not \\()?Method\\([`\"]?(\\w+)[`\"]?\\)\\)?$")
)

// readCondition takes a condition apart; ok is false where lbproof does not know its form.
func readCondition(text string) (c condition, ok bool) {
	if m := nginxCondition.FindStringSubmatch(text); m != nil {
		c = condition{header: strings.ReplaceAll(m[2], "_", "-"), value: m[4], not: m[3][0] == '!', regex: strings.Contains(m[3], "~")}
		return c, true
	}
	if m := haproxyCondition.FindStringSubmatch(text); m != nil {
		return condition{header: m[3], value: m[6]}, true
	}
	if m := haproxyMethod.FindStringSubmatch(text); m != nil {
		return condition{value: m[2]}, true
	}
	if m := traefikCondition.FindStringSubmatch(text); m != nil {
		return condition{header: m[2], value: m[3], not: m[1] != ""}, true
	}
	if m := traefikMethod.FindStringSubmatch(text); m != nil {
		return condition{value: m[2], not: m[1] != ""}, true
	}
	return c, false
}

// meetCondition makes a request one that meets a condition.
func meetCondition(text string, r *plan.Request) bool { return apply(text, r, true) }

// missCondition makes a request one that does not meet a condition.
func missCondition(text string, r *plan.Request) bool { return apply(text, r, false) }

func apply(text string, r *plan.Request, meet bool) bool {
	c, ok := readCondition(text)
	if !ok {
		return false
	}
	value := c.value
	if c.regex {
		if value, ok = sample(value); !ok {
			return false
		}
	}
	if meet == c.not {
		value = "lbproof" // is not what is asked for
	}
	switch {
	case c.header != "":
		r.Header[textproto.CanonicalMIMEHeaderKey(c.header)] = value
	case meet != c.not:
		r.Method = c.value
	case c.value == "GET":
		r.Method = "POST"
	}
	return true
}

// sample is a text that a regular expression fits, the shortest in a way; ok is false where lbproof finds none.
func sample(expression string) (text string, ok bool) {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return "", false
	}
	var b strings.Builder
	write(&b, parsed)
	text = b.String()
	re, err := regexp.Compile(expression)
	if err != nil {
		return "", false
	}
	if strings.HasPrefix(expression, "\\.") || text == "" {
		text = "/lbproof" + text
	}
	return text, re.MatchString(text)
}

// write appends what an expression needs at least.
func write(b *strings.Builder, re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		if len(re.Rune) > 0 {
			b.WriteRune(re.Rune[0])
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('x')
	case syntax.OpCapture, syntax.OpPlus:
		write(b, re.Sub[0])
	case syntax.OpRepeat:
		for range re.Min {
			write(b, re.Sub[0])
		}
	case syntax.OpConcat:
		for _, s := range re.Sub {
			write(b, s)
		}
	case syntax.OpAlternate:
		write(b, re.Sub[0])
	}
}

// candidates are routes that single requests can be made for: the claim's subject, then others that share its promise.
func candidates(cfg model.Config, claim plan.Claim, shares func(model.Route) bool) []model.Route {
	const most = 2
	var out, tunnels []model.Route
	add := func(r model.Route) {
		switch request, ok := wishing(cfg, r, ""); {
		case !ok || len(out) == most:
		case request.Header["Upgrade"] != "":
			tunnels = append(tunnels, r)
		default:
			out = append(out, r)
		}
	}
	for _, r := range cfg.Routes {
		if r.Key() == claim.Subject && shares(r) {
			add(r)
		}
	}
	for _, r := range cfg.Routes {
		if r.Key() != claim.Subject && shares(r) {
			add(r)
		}
	}
	return append(out, tunnels...) // which are of use to few
}
