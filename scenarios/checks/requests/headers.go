package requests

import (
	"cmp"
	"fmt"
	"net/textproto"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Headers = check.Check{
	Name: plan.CheckHeaders,
	Doc: "The request headers that a route sets reach the backend with the values that the configuration gives, also where " +
		"the client sent such headers itself.",
	Law:      "one arrival with another value refutes the claim",
	Evidence: check.Evidence{Joined: true},
	Observes: observed,
	Claims:   headerClaims,
	Probes:   check.Probe,
	Trials:   check.InnerTrials,
	Judge:    judgeHeaders,
}

func headerClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, r := range check.ProxiedRoutes(cfg) {
		for _, header := range r.SetHeaders {
			text := fmt.Sprintf("Requests to %s reach the backend with %s: %s.", r.Key(), header.Name, header.Value)
			if header.Value == "" {
				text = fmt.Sprintf("Requests to %s reach the backend without %s.", r.Key(), header.Name)
			}
			claims = append(claims, plan.Claim{
				ID: check.ClaimID(plan.CheckHeaders, r.Key(), header.Name), Check: plan.CheckHeaders, Subject: r.Key(), Pos: header.Pos, Text: text,
			})
		}
	}
	return check.DistinctIDs(claims)
}

// observed lists the request headers that backends must keep for the claims to be judged.
func observed(cfg model.Config) []string {
	var names []string
	seen := map[string]bool{}
	for _, r := range check.ProxiedRoutes(cfg) {
		for _, header := range r.SetHeaders {
			if name := textproto.CanonicalMIMEHeaderKey(header.Name); !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

// variable matches those of nginx ($name, ${name}) and the fetches of HAProxy (%[name]).
var variable = regexp.MustCompile(`\$\{?(\w+)\}?|%\[([^]]+)\]`)

// formed are variables whose value lbproof cannot know, but its form (nginx.org/en/docs/varindex.html; HAProxy, section 7.3).
var formed = map[string]string{
	"request_id": "[0-9a-f]{32}", "uuid": "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "uuid()": "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
	"msec": `\d+\.\d{3}`, "request_time": `\d+\.\d{3}`, "pid": `\d+`, "connection": `\d+`, "remote_port": `\d+`, "src_port": `\d+`,
	"ssl_protocol": `TLSv1(\.\d)?`, "ssl_cipher": `[\w-]+`, "date()": `\d+`, "rand()": `\d+`,
}

// expand replaces the variables of a header value by what they stand for in one request; ok is false where lbproof does
// not know one of them.
func expand(value string, route model.Route, r plan.Request, client, host string) (text string, ok bool) {
	ok = true
	text = variable.ReplaceAllStringFunc(value, func(v string) string {
		is, known := valueOf(strings.Trim(v, "${}%[]"), route, r, client, host)
		ok = ok && known
		return is
	})
	return text, ok
}

// form is a regular expression for what a header value comes to; ok is false where lbproof does not know a variable's form.
func form(value string, route model.Route, r plan.Request, client, host string) (expression *regexp.Regexp, ok bool) {
	var b strings.Builder
	last := 0
	for _, at := range variable.FindAllStringIndex(value, -1) {
		name := strings.Trim(value[at[0]:at[1]], "${}%[]")
		b.WriteString(regexp.QuoteMeta(value[last:at[0]]))
		last = at[1]
		if is, known := valueOf(name, route, r, client, host); known {
			b.WriteString(regexp.QuoteMeta(is))
		} else if is, known := formed[name]; known {
			b.WriteString(is)
		} else {
			return nil, false
		}
	}
	expression, err := regexp.Compile("^" + b.String() + regexp.QuoteMeta(value[last:]) + "$")
	return expression, err == nil
}

// valueOf is what a variable stands for in one request.
func valueOf(name string, route model.Route, r plan.Request, client, host string) (value string, known bool) {
	asked := host
	if h := r.Header["Host"]; h != "" {
		asked = h
	}
	bare, _, _ := strings.Cut(asked, ":")
	path, query, _ := strings.Cut(r.Path, "?")
	switch name {
	case "http_host":
		return asked, true
	case "host":
		return strings.ToLower(bare), true
	case "remote_addr", "src":
		return client, true
	case "proxy_add_x_forwarded_for":
		if before := r.Header["X-Forwarded-For"]; before != "" {
			return before + ", " + client, true
		}
		return client, true
	case "scheme":
		return scheme(r), true
	case "request_method":
		return r.Method, true
	case "request_uri":
		return r.Path, true
	case "uri", "document_uri":
		return path, true
	case "args", "query_string":
		return query, true
	case "server_port":
		return strconv.Itoa(r.Port), true
	case "server_name":
		return strings.Join(route.Hosts[:min(1, len(route.Hosts))], ""), len(route.Hosts) > 0
	}
	if field, isField := strings.CutPrefix(name, "http_"); isField {
		return r.Header[textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(field, "_", "-"))], true
	}
	return "", false
}

func scheme(r plan.Request) string {
	if r.TLS {
		return "https"
	}
	return "http"
}

func judgeHeaders(claim plan.Claim, h history.History) check.Finding {
	r, ok := check.RouteOf(h.Plan.Config, claim)
	if !ok {
		return check.Finding{Cannot: "the configuration has no route " + claim.Subject}
	}
	_, name, _ := strings.Cut(claim.ID, "#")
	var header model.Header
	for _, set := range r.SetHeaders {
		if set.Name == name || set.Pos == claim.Pos {
			header = set
		}
	}
	name = header.Name
	if _, ok := form(header.Value, r, plan.Request{}, "", ""); !ok {
		return check.Finding{Broken: check.NoExperiment + ": lbproof cannot say what " + header.Value + " should be"}
	}
	f := check.Finding{Need: check.NeedAll(h), Test: "value seen by the backend against the one configured, for every arrival", Predicted: header.Value}
	if len(r.Access) > 0 {
		f.Need = check.Often
	}
	var wrong check.Examples
	seen := decoded{}
	last, shapes := "", map[string]*regexp.Regexp{}
	find, wanted, field := check.PlainJourneys(h), map[*check.Journey]string{}, textproto.CanonicalMIMEHeaderKey(name)
	for a := range h.Arrivals {
		j := find(a.Seq)
		if j == nil || j.Key != claim.Subject || j.Tunnel {
			continue
		}
		f.N++
		want, known := wanted[j]
		if !known || h.Plan.Phases[j.Load].Clients.Addresses {
			client, asked := cmp.Or(j.Request.From, check.ClientAddress(h, j.Load, a.Seq)), check.HostOf(h, j.Request)
			if want, known = expand(header.Value, r, j.Request, client, asked); !known {
				shape, _ := form(header.Value, r, j.Request, client, asked)
				want = shape.String()
				shapes[want] = shape
			}
			if before := j.Request.Header[field]; header.Adds && before != "" {
				want = before + ", " + want
			}
			wanted[j] = want
		}
		got := seen.get(a.Header, field)
		if shape := shapes[want]; shape != nil && !shape.MatchString(got) || shape == nil && got != want {
			wrong.Add("request %d reached %s with %s: %q instead of %q", a.Seq, a.Server, name, got, want)
		}
		last = got
	}
	f.Counter = wrong.List()
	f.Measured = fmt.Sprintf("%s of %s wrong, last %q", units.Number(wrong.Total), units.Number(f.N), last)
	f.Power = check.PowerAll(f.N, h)
	return f
}

// decoded remembers the header sets that it has taken apart: most rows have one of a few.
type decoded map[string]url.Values

// maxDecoded bounds what is remembered where every request has a set of its own.
const maxDecoded = 100

// get gives one field of a header set, several values joined as HTTP joins them; empty where it is absent.
func (d decoded) get(set, name string) string {
	values, known := d[set]
	if !known {
		values, _ = url.ParseQuery(set) // what cannot be read is absent, and so contradicts the claim
		if len(d) >= maxDecoded {
			clear(d)
		}
		d[set] = values
	}
	if one := values[name]; len(one) == 1 {
		return one[0]
	}
	return strings.Join(values[name], ", ")
}
