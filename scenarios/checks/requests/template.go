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

// exchange is what the variables of a template stand for: a request, and what its client does not write into it.
type exchange struct {
	route   model.Route
	request plan.Request
	client  string // the client's address
	host    string // that the client asks for where the request names none
}

// expand fills in a template; ok is false where it has a variable whose value cannot be predicted.
func (e exchange) expand(t model.Template) (text string, ok bool) {
	var b strings.Builder
	for _, p := range t.Pieces {
		is, known := e.value(p)
		if !known {
			return "", false
		}
		b.WriteString(is)
	}
	return b.String(), true
}

// pattern is an expression that fits a template when it is filled in; ok is false where it has a variable of unknown
// form.
func (e exchange) pattern(t model.Template) (expression *regexp.Regexp, ok bool) {
	var b strings.Builder
	b.WriteString("^")
	for _, p := range t.Pieces {
		is, known := e.value(p)
		switch {
		case known:
			b.WriteString(regexp.QuoteMeta(is))
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

// value is what a piece of a template comes to.
func (e exchange) value(p model.Piece) (is string, known bool) {
	r := e.request
	asked := cmp.Or(r.Header["Host"], e.host)
	path, query, _ := strings.Cut(r.Path, "?")
	switch p.Variable {
	case "":
		return p.Text, true
	case model.Host:
		bare, _, _ := strings.Cut(asked, ":")
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
			return asked, true
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
