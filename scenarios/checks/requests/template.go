package requests

import (
	"cmp"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// exchange holds the values of the variables in a template: a request, and what its client does not write into it.
type exchange struct {
	route   model.Route
	request plan.Request
	client  string // the client's address
	host    string // default host, if the request names none
}

// expand fills in a template; ok is false if it has a variable whose value is not predictable.
func (e exchange) expand(t model.Template) (text string, ok bool) {
	var b strings.Builder
	for _, p := range t.Pieces {
		piece, known := e.value(p)
		if !known {
			return "", false
		}
		b.WriteString(piece)
	}
	return b.String(), true
}

// pattern returns an expression that matches the filled-in template; ok is false if a variable has no known form.
func (e exchange) pattern(t model.Template) (expression *regexp.Regexp, ok bool) {
	var b strings.Builder
	b.WriteString("^")
	for _, p := range t.Pieces {
		text, known := e.value(p)
		switch {
		case known:
			b.WriteString(regexp.QuoteMeta(text))
		case p.Pattern != "":
			b.WriteString(p.Pattern)
		default:
			return nil, false
		}
	}
	b.WriteString("$")
	expression, err := regexp.Compile(b.String())
	return expression, err == nil
}

// value returns the text of one piece of a template.
func (e exchange) value(p model.Piece) (text string, known bool) {
	r := e.request
	probes := cmp.Or(r.Header["Host"], e.host)
	path, query, _ := strings.Cut(r.Path, "?")
	switch p.Variable {
	case "":
		return p.Text, true
	case model.Host:
		bare, _, _ := strings.Cut(probes, ":")
		return strings.ToLower(bare), true
	case model.ClientAddress:
		return e.client, true
	case model.ForwardedFor:
		return strings.TrimPrefix(r.Header["X-Forwarded-For"]+", "+e.client, ", "), true
	case model.Scheme:
		return scheme(r), true
	case model.Method:
		return r.Method, true
	case model.URI:
		return r.Path, true
	case model.Path:
		return path, true
	case model.Query:
		return query, true
	case model.Port:
		return strconv.Itoa(r.Port), true
	case model.ServerName:
		return strings.Join(e.route.Hosts[:min(1, len(e.route.Hosts))], ""), len(e.route.Hosts) > 0
	case model.RequestHeader:
		if p.Name == "Host" {
			return probes, true
		}
		return r.Header[textproto.CanonicalMIMEHeaderKey(p.Name)], true
	}
	return "", false
}

func scheme(r plan.Request) string {
	if r.TLS {
		return "https"
	}
	return "http"
}
