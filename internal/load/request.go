package load

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// requestTemplate is an encoded HTTP/1.1 request without its ID, key and cookies.
type requestTemplate struct {
	request    plan.Request
	head       []byte // up to the ID
	cookie     string // the request's own
	url        *url.URL
	serverName string // for SNI
}

// requestTemplates are the encoded requests of a phase.
type requestTemplates struct {
	phase *Phase
	all   []requestTemplate
	jars  []*cookiejar.Jar // per client; nil without cookies
}

func newTemplates(p *Phase) *requestTemplates {
	out := &requestTemplates{phase: p}
	for _, r := range p.Requests {
		out.all = append(out.all, newTemplate(p, r))
	}
	if p.Clients.Cookies {
		out.jars = make([]*cookiejar.Jar, max(1, p.Clients.Count))
		for i := range out.jars {
			out.jars[i], _ = cookiejar.New(nil) // never fails without options
		}
	}
	return out
}

func newTemplate(p *Phase, r plan.Request) requestTemplate {
	l := requestTemplate{request: r}
	host := net.JoinHostPort(p.DefaultHost, strconv.Itoa(r.Port))
	fields := map[string]string{"User-Agent": "lbproof"}
	hasBody := slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, r.Method)
	if size := int64(len(r.Body)) + r.PaddingSize; size > 0 || hasBody {
		fields["Content-Length"] = strconv.FormatInt(size, 10)
	}
	if p.NewConnections {
		fields["Connection"] = "close"
	}
	for name, value := range r.Header {
		switch name = textproto.CanonicalMIMEHeaderKey(name); name {
		case "Host":
			host = value
		case "Cookie":
			l.cookie = value
		default:
			fields[name] = value
		}
	}
	if r.TLS {
		l.serverName, _, _ = strings.Cut(host, ":")
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.Path, host)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		fmt.Fprintf(&text, "%s: %s\r\n", name, fields[name])
	}
	text.WriteString(history.IDHeader + ": ")
	l.head = []byte(text.String())
	l.url = &url.URL{Scheme: "http", Host: host, Path: strings.SplitN(r.Path, "?", 2)[0]}
	if r.TLS {
		l.url.Scheme = "https"
	}
	return l
}

// template returns the template of request number i.
func (l *requestTemplates) template(i int) *requestTemplate { return &l.all[l.phase.RequestIndex(i)] }

// write appends request number i to buf.
func (l *requestTemplates) write(buf []byte, i int, seq uint64) []byte {
	one := l.template(i)
	buf = append(buf, one.head...)
	buf = strconv.AppendUint(buf, seq, 10)
	key := l.phase.Key(i)
	if key != "" && l.phase.Keys.Header != "" {
		buf = append(append(append(append(buf, "\r\n"...), l.phase.Keys.Header...), ": "...), key...)
	}
	if cookie := l.cookieHeader(i, one, key); cookie != "" {
		buf = append(append(buf, "\r\nCookie: "...), cookie...)
	}
	buf = append(buf, "\r\n\r\n"...)
	return append(buf, one.request.Body...)
}

// cookieHeader returns the cookies of request number i: its own, its key, and those its client has received.
func (l *requestTemplates) cookieHeader(i int, one *requestTemplate, key string) string {
	if l.jars == nil && l.phase.Keys.Cookie == "" {
		return one.cookie
	}
	var all []string
	if one.cookie != "" {
		all = append(all, one.cookie)
	}
	if key != "" && l.phase.Keys.Cookie != "" {
		all = append(all, l.phase.Keys.Cookie+"="+key)
	}
	if l.jars != nil {
		for _, c := range l.jars[l.phase.ClientIndex(i)].Cookies(one.url) {
			all = append(all, c.Name+"="+c.Value)
		}
	}
	return strings.Join(all, "; ")
}

// storeCookies stores the cookies of a response in its client's jar, by browser rules.
func (l *requestTemplates) storeCookies(i int, set []string) {
	if l.jars == nil || len(set) == 0 {
		return
	}
	var cookies []*http.Cookie
	for _, field := range set {
		if c, err := http.ParseSetCookie(field); err == nil { // ignore invalid cookies, as browsers do
			cookies = append(cookies, c)
		}
	}
	l.jars[l.phase.ClientIndex(i)].SetCookies(l.template(i).url, cookies)
}
