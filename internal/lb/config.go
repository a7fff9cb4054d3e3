package lb

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Pos is where a promise is written. Line counts from 1; 0 means the whole file.
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
}

// String gives file:line, the form that editors and CI logs turn into a link.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Config is the balancer-neutral reading of a configuration. Every part says where it is written.
type Config struct {
	Balancer   string     `json:"balancer"` // a name from the table lbconfigs.All
	Files      []File     `json:"files"`    // the main file first
	Workers    Workers    `json:"workers"`
	Foreground bool       `json:"foreground,omitempty"` // the file itself keeps the balancer from becoming a daemon
	Listeners  []Listener `json:"listeners"`
	Pools      []Pool     `json:"pools"`
	Routes     []Route    `json:"routes"`
	Unread     []Unread   `json:"unread,omitempty"`
}

// File is one file of a configuration, kept byte for byte.
type File struct {
	Name    string `json:"name"` // as the user named it
	SHA256  string `json:"sha256"`
	Content Bytes  `json:"content"`
}

// NewFile fills in the digest of content.
func NewFile(name string, content []byte) File {
	return File{Name: name, SHA256: Digest(content), Content: content}
}

// Digest is the hexadecimal SHA-256 of b.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Bytes is file content that reads as text in JSON wherever it is text, so that a plan can be read and diffed.
type Bytes []byte

// MarshalJSON writes a string for UTF-8 and {"base64": …} for anything else.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(b)})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*b = Bytes(text)
		return nil
	}
	var coded struct{ Base64 []byte }
	if err := json.Unmarshal(data, &coded); err != nil {
		return fmt.Errorf("file content is neither a string nor {\"base64\": …}: %w", err)
	}
	*b = coded.Base64
	return nil
}

// Workers is how many processes the balancer runs; where they share nothing, each keeps its own balancing state.
type Workers struct {
	Pos   Pos  `json:"pos"`
	Count int  `json:"count"` // 0 while Auto
	Auto  bool `json:"auto"`  // as many as the balancer sees processors
}

// Listener is a port on which the balancer takes traffic.
type Listener struct {
	Pos     Pos  `json:"pos"`
	Port    int  `json:"port"`
	Default bool `json:"default,omitempty"` // said to answer requests for any host
}

// Pool is a group of servers that share traffic (nginx: upstream, HAProxy: backend, Traefik: service).
type Pool struct {
	Pos         Pos      `json:"pos"`
	Name        string   `json:"name"`
	Method      string   `json:"method"` // RoundRobin or the balancer's own word for another
	SharedState bool     `json:"shared_state"`
	Servers     []Server `json:"servers"`
}

// RoundRobin is the Method of a pool whose servers take turns in proportion to their weights.
const RoundRobin = "round robin"

// Server is one member of a pool.
type Server struct {
	Pos    Pos    `json:"pos"`
	Host   string `json:"host"`
	Port   int    `json:"port"`
	Weight int    `json:"weight"`
	Backup bool   `json:"backup,omitempty"`
	Down   bool   `json:"down,omitempty"`
}

// Route is what the balancer does with the requests of one path prefix: proxy to Pool, or answer by itself.
type Route struct {
	Pos        Pos      `json:"pos"`
	Path       string   `json:"path"`
	Exact      bool     `json:"exact,omitempty"`
	Port       int      `json:"port"`
	Pool       string   `json:"pool,omitempty"`
	PoolPos    Pos      `json:"pool_pos,omitzero"`
	Answer     *Answer  `json:"answer,omitempty"`
	SetHeaders []Header `json:"set_headers,omitempty"` // on the request to the backend
	Guarded    bool     `json:"guarded,omitempty"`     // limits, access rules or rewrites may answer in the pool's place
}

// Answer is a response that the balancer gives without a backend.
type Answer struct {
	Pos  Pos    `json:"pos"`
	Code int    `json:"code"`
	Body string `json:"body,omitempty"`
}

// Header is a header field that the balancer sets; Value is in the balancer's own notation, variables included.
type Header struct {
	Pos   Pos    `json:"pos"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Unread is a part of the configuration that lbproof draws no claim from.
type Unread struct {
	Pos  Pos    `json:"pos"`
	Text string `json:"text"`
}

// Pool finds a pool by name; ok is false where there is none.
func (c Config) Pool(name string) (pool Pool, ok bool) {
	for _, p := range c.Pools {
		if p.Name == name {
			return p, true
		}
	}
	return Pool{}, false
}

// Addr is host:port.
func (s Server) Addr() string { return fmt.Sprintf("%s:%d", s.Host, s.Port) }

// Route finds the route of a path on a port by longest prefix, an exact route first, as nginx does.
func (c Config) Route(port int, path string) (route Route, ok bool) {
	for _, r := range c.Routes {
		switch {
		case r.Port != port:
		case r.Exact && r.Path == path:
			return r, true
		case !r.Exact && len(path) >= len(r.Path) && path[:len(r.Path)] == r.Path && (!ok || len(r.Path) > len(route.Path)):
			route, ok = r, true
		}
	}
	return route, ok
}
