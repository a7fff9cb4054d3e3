package nginx

import (
	"net/textproto"
	"regexp"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// variables are those with a known meaning or form (nginx.org/en/docs/varindex.html).
var variables = map[string]model.Piece{
	"host":                      {Variable: model.Host},
	"remote_addr":               {Variable: model.ClientAddress},
	"proxy_add_x_forwarded_for": {Variable: model.ForwardedFor},
	"scheme":                    {Variable: model.Scheme},
	"request":                   {Variable: model.RequestLine},
	"request_method":            {Variable: model.Method},
	"request_uri":               {Variable: model.URI},
	"uri":                       {Variable: model.Path},
	"document_uri":              {Variable: model.Path},
	"args":                      {Variable: model.Query},
	"query_string":              {Variable: model.Query},
	"server_port":               {Variable: model.Port},
	"server_name":               {Variable: model.ServerName},
	"status":                    {Variable: model.ResponseStatus},
	"request_id":                {Variable: model.RequestID, Pattern: "[0-9a-f]{32}"},
	"msec":                      {Variable: model.OtherVariable, Pattern: `\d+\.\d{3}`},
	"request_time":              {Variable: model.OtherVariable, Pattern: `\d+\.\d{3}`},
	"pid":                       {Variable: model.OtherVariable, Pattern: `\d+`},
	"connection":                {Variable: model.OtherVariable, Pattern: `\d+`},
	"remote_port":               {Variable: model.OtherVariable, Pattern: `\d+`},
	"ssl_protocol":              {Variable: model.OtherVariable, Pattern: `TLSv1(\.\d)?`},
	"ssl_cipher":                {Variable: model.OtherVariable, Pattern: `[\w-]+`},
}

// variableNotation matches $name and ${name}.
var variableNotation = regexp.MustCompile(`\$(?:\{(\w+)\}|(\w+))`)

// readTemplate parses a text with variables.
func readTemplate(text string) model.Template {
	return reading.Template(text, variableNotation, readVariable)
}

// readVariable returns the meaning of a variable, by its name without the dollar sign.
func readVariable(name string) model.Piece {
	if p, ok := variables[name]; ok {
		return p
	}
	if field, ok := strings.CutPrefix(name, "http_"); ok {
		return model.Piece{Variable: model.RequestHeader, Name: fieldName(field)}
	}
	if argument, ok := strings.CutPrefix(name, "arg_"); ok {
		return model.Piece{Variable: model.Argument, Name: argument}
	}
	if cookie, ok := strings.CutPrefix(name, "cookie_"); ok {
		return model.Piece{Variable: model.Cookie, Name: cookie}
	}
	return model.Piece{Variable: model.OtherVariable}
}

// fieldName returns the header that nginx's variables call by that name, as x_forwarded_for.
func fieldName(variable string) string {
	return textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(variable, "_", "-"))
}

// comparison matches the condition of an if that compares a header or the method: $http_x_beta != true.
var comparison = regexp.MustCompile(`^\$(http_(\w+)|request_method) (=|!=|~\*?|!~\*?) "?([^"]*)"?$`)

// readCondition reads the condition of an if.
func readCondition(text string) model.Condition {
	c := model.Condition{Source: text}
	m := comparison.FindStringSubmatch(text)
	if m == nil {
		return c
	}
	is := model.Term{Variable: model.Method, Op: model.OpEquals, Value: m[4], Negated: m[3][0] == '!'}
	if m[2] != "" {
		is.Variable, is.Name = model.RequestHeader, fieldName(m[2])
	}
	if strings.Contains(m[3], "~") {
		is.Op = model.OpMatches
	}
	c.Terms = []model.Term{is}
	return c
}
