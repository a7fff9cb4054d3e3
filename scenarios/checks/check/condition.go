package check

import (
	"net/textproto"
	"regexp"
	"strings"

	"github.com/lbproof/lbproof/internal/plan"
)

// Conditions stand in a configuration in the balancer's own notation. Those that speak of one header field or of the method
// are read here, so that requests can be made on both sides of them.

// condition is one that lbproof can meet or miss.
type condition struct {
	Header string // canonical name; empty is the method
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

// ReadCondition takes a condition apart; ok is false where lbproof does not know its form.
func ReadCondition(text string) (c condition, ok bool) {
	if m := nginxCondition.FindStringSubmatch(text); m != nil {
		c = condition{Header: strings.ReplaceAll(m[2], "_", "-"), value: m[4], not: m[3][0] == '!', regex: strings.Contains(m[3], "~")}
		return c, true
	}
	if m := haproxyCondition.FindStringSubmatch(text); m != nil {
		return condition{Header: m[3], value: m[6]}, true
	}
	if m := haproxyMethod.FindStringSubmatch(text); m != nil {
		return condition{value: m[2]}, true
	}
	if m := traefikCondition.FindStringSubmatch(text); m != nil {
		return condition{Header: m[2], value: m[3], not: m[1] != ""}, true
	}
	if m := traefikMethod.FindStringSubmatch(text); m != nil {
		return condition{value: m[2], not: m[1] != ""}, true
	}
	return c, false
}

// MeetCondition makes a request one that meets a condition.
func MeetCondition(text string, r *plan.Request) bool { return apply(text, r, true) }

// MissCondition makes a request one that does not meet a condition.
func MissCondition(text string, r *plan.Request) bool { return apply(text, r, false) }

func apply(text string, r *plan.Request, meet bool) bool {
	c, ok := ReadCondition(text)
	if !ok {
		return false
	}
	value := c.value
	if c.regex {
		if value, ok = Sample(value); !ok {
			return false
		}
	}
	if meet == c.not {
		value = "lbproof" // is not what is asked for
	}
	switch {
	case c.Header != "":
		r.Header[textproto.CanonicalMIMEHeaderKey(c.Header)] = value
	case meet != c.not:
		r.Method = c.value
	case c.value == "GET":
		r.Method = "POST"
	}
	return true
}
