package model

import "strings"

// Variable is a part of a request, of its connection or of its answer that a configuration can name: in a condition, a
// key or a template.
type Variable string

// The variables. RequestHeader, Argument and Cookie need a name beside them.
const (
	Host           Variable = "host"     // that the request asks for: in lower case, without a port
	Path           Variable = "path"     // without the query
	Query          Variable = "query"    // all arguments, without the question mark
	URI            Variable = "uri"      // path and query, as the client sent them
	Argument       Variable = "argument" // one of the query's
	Method         Variable = "method"
	RequestLine    Variable = "request line"   // method, URI and protocol
	RequestHeader  Variable = "request header" // a field of it; several values are joined by commas
	Cookie         Variable = "cookie"
	Scheme         Variable = "scheme"         // http or https
	Port           Variable = "port"           // of the listener
	ServerName     Variable = "server name"    // the first host of the route
	ClientAddress  Variable = "client address" // of the connection's other end
	ForwardedFor   Variable = "forwarded for"  // the X-Forwarded-For of the request, with the client's address behind it
	RequestID      Variable = "request id"     // made by the balancer, another for each request
	ResponseStatus Variable = "status"         // of the answer
	OtherVariable  Variable = "other"          // lbproof does not know what it stands for
)

// Template is text with variables in it, as of a header field's value, a redirect's target or a log's line.
type Template struct {
	Pieces []Piece `json:"pieces,omitempty"`
	Source string  `json:"source,omitempty"` // as the user wrote it
}

// Piece is a part of a template: Text, or a Variable.
type Piece struct {
	Text     string   `json:"text,omitempty"`
	Variable Variable `json:"variable,omitempty"`
	Name     string   `json:"name,omitempty"` // of a RequestHeader in its canonical form, an Argument or a Cookie
	// Pattern is a regular expression of Go's for a value that nobody can predict.
	Pattern string `json:"pattern,omitempty"`
}

// Literal is a template without variables.
func Literal(text string) Template {
	if text == "" {
		return Template{}
	}
	return Template{Pieces: []Piece{{Text: text}}, Source: text}
}

// String is the template as the user wrote it.
func (t Template) String() string { return t.Source }

// IsEmpty reports whether the template makes no text at all.
func (t Template) IsEmpty() bool { return len(t.Pieces) == 0 }

// FixedText is the text of a template without variables; ok is false where it has some.
func (t Template) FixedText() (text string, ok bool) {
	var b strings.Builder
	for _, p := range t.Pieces {
		if p.Variable != "" {
			return "", false
		}
		b.WriteString(p.Text)
	}
	return b.String(), true
}
