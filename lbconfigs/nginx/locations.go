package nginx

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

func (r *reader) locations(locations []item, s site, outer scope) error {
	for _, l := range locations {
		inner := outer.nested(r.block(l))
		if err := r.location(l, s, inner); err != nil {
			return err
		}
		nested := pick(r.block(l), "location")
		if err := r.locations(nested, s, inner); err != nil {
			return err
		}
	}
	return nil
}

// newRoute returns a route of the site without a path.
func (s site) newRoute(pos model.Pos) model.Route {
	route := model.Route{Pos: pos, Hosts: s.hosts, DefaultHost: s.isDefault, Rules: slices.Clone(s.rules)}
	for _, l := range s.listens {
		if route.Port == 0 {
			route.Port, route.TLS = l.Port, l.TLS
		}
		route.Ports = append(route.Ports, l.Port)
	}
	if len(route.Ports) == 1 {
		route.Ports = nil
	}
	return route
}

func (r *reader) location(location item, s site, in scope) error {
	if len(location.Args) == 0 {
		return fmt.Errorf("%s: location without a path", location.pos)
	}
	own := in.innermost()
	route := s.newRoute(location.pos)
	readPath(location.Args, &route)
	route.Internal = route.Named || len(pick(own, "internal")) > 0
	for _, d := range own {
		if err := r.handler(&route, d); err != nil {
			return err
		}
	}
	if err := r.inheritHandlers(&route, in); err != nil {
		return err
	}
	r.unreadAll(own, inLocation)
	if err := r.policies(&route, in); err != nil {
		return err
	}
	r.locationProblems(route, in)
	if len(pick(own, "return")) > 0 { // runs before anything that could refuse
		route.Limits, route.Access, route.Auth, route.MayRefuse = nil, nil, nil, false
		route.MayRefuse = slices.ContainsFunc(s.rules, model.Rule.MayRefuse)
	}
	if r.handlesRequests(route) {
		r.cfg.Routes = append(r.cfg.Routes, route)
	}
	return nil
}

// readPath reads the arguments of a location: [= | ~ | ~* | ^~] PATH, or @NAME.
func readPath(args []string, route *model.Route) {
	last := len(args) - 1
	route.Path = args[last]
	switch strings.Join(args[:last], "") {
	case "=":
		route.Exact = true
	case "~":
		route.Regex = true
	case "~*":
		route.Regex, route.Path = true, "(?i)"+route.Path
	case "^~":
		route.BeatsRegex = true
	}
	route.Named = strings.HasPrefix(route.Path, "@")
}

// inheritHandlers reads what outer blocks do with the requests of a location.
func (r *reader) inheritHandlers(route *model.Route, in scope) error {
	if route.Internal {
		return nil
	}
	own := in.innermost()
	// A return in the server block runs before any location.
	if up, ok := in.directive("return"); ok && !slices.Contains(own, up) {
		if err := r.readReturn(route, up); err != nil {
			return err
		}
		route.Pool = ""
	}
	root, ok := in.directive("root")
	isLeaf := len(pick(own, "location")) == 0
	if ok && isLeaf && !r.handlesRequests(*route) {
		r.serveFiles(route, root)
	}
	return nil
}

// handlesRequests reports whether a location proxies or responds by itself.
func (r *reader) handlesRequests(route model.Route) bool {
	answers := route.StaticResponse != nil || route.Redirect != nil
	return answers || route.Pool != "" || route.LocalContent != nil
}

// groupReferences matches the references to groups in a replacement.
var groupReferences = regexp.MustCompile(`\$([1-9])`)

// handler reads the directives that handle a location's requests. They are not inherited.
func (r *reader) handler(route *model.Route, d item) error {
	switch d.Directive.Directive {
	case "proxy_pass":
		r.proxyPass(route, d)
	case "return":
		return r.readReturn(route, d)
	case "rewrite":
		when := []model.Condition{{Source: "the path matches " + d.arg(0)}}
		if flag := d.arg(2); flag == "permanent" || flag == "redirect" {
			route.Rules = append(route.Rules, model.Rule{
				Pos: d.pos, Conditions: when, Code: map[string]int{"permanent": 301, "redirect": 302}[flag], To: d.arg(1),
			})
		} else {
			rule := model.Rule{Pos: d.pos, Conditions: when, To: d.arg(1)}
			if flag == "break" && !strings.ContainsAny(groupReferences.ReplaceAllString(d.arg(1), ""), "$?") {
				replacement := groupReferences.ReplaceAllString(d.arg(1), "$${$1}")
				rule.Rewrite = &model.Rewrite{Match: d.arg(0), Replacement: replacement, ReplacesAll: true}
			}
			route.Rules = append(route.Rules, rule)
		}
	case "stub_status":
		const description = "nginx's counters (stub_status)"
		route.LocalContent = &model.LocalContent{Pos: d.pos, Description: description, Counter: &stubStatus}
	case "alias", "root":
		r.serveFiles(route, d)
	case "if":
		r.readIf(route, d)
	}
	return nil
}

// stubStatus is nginx's status page, whose third number counts requests
// (nginx.org/en/docs/http/ngx_http_stub_status_module.html).
var stubStatus = model.Counter{
	Form: model.CounterText, Selector: `server accepts handled requests\s+\d+ \d+ (\d+)`, CountsItself: true,
	Exporter: "nginx-exporter",
}

// serveFiles makes a route serve files from a directory.
func (r *reader) serveFiles(route *model.Route, d item) {
	if route.LocalContent != nil {
		return
	}
	route.LocalContent = &model.LocalContent{Pos: d.pos, Description: "files from " + d.arg(0)}
	need := model.Need{Pos: d.pos, Kind: model.NeedDirectory, Path: strings.TrimSuffix(d.arg(0), "/")}
	if !slices.ContainsFunc(r.cfg.Needs, func(n model.Need) bool { return n.Kind == need.Kind && n.Path == need.Path }) {
		r.cfg.Needs = append(r.cfg.Needs, need)
	}
}

// readIf reads an if that only returns.
func (r *reader) readIf(route *model.Route, d item) {
	when := []model.Condition{readCondition(strings.Join(d.Args, " "))}
	for _, inner := range r.block(d) {
		code, err := strconv.Atoi(inner.arg(0))
		if inner.Directive.Directive == "return" && err == nil {
			route.Rules = append(route.Rules, model.Rule{Pos: d.pos, Conditions: when, Code: code, To: inner.arg(1)})
			return
		}
	}
	r.cfg.Unread = append(r.cfg.Unread, model.Unread{
		Pos: d.pos, Text: d.text(), Reason: "only an if with a return is evaluated",
	})
}

func (r *reader) proxyPass(route *model.Route, d item) {
	scheme, target, _ := strings.Cut(d.arg(0), "://")
	if strings.HasPrefix(d.arg(0), "$") {
		scheme, target = "", d.arg(0)
	}
	if strings.HasPrefix(target, "unix:") {
		route.Pool, route.PoolPos = target, d.pos
		return
	}
	pool, uri, replaces := strings.Cut(strings.TrimSuffix(target, "$request_uri"), "/") // which starts with a slash
	route.Pool, route.PoolPos = r.canonicalPool(pool), d.pos
	if replaces && !strings.Contains(uri, "$") {
		route.Rules = append(route.Rules, model.Rule{
			Pos: d.pos, To: fmt.Sprintf("/%s instead of %s", uri, route.Path),
			Rewrite: &model.Rewrite{
				Match: "^" + regexp.QuoteMeta(route.Path), Replacement: "/" + strings.ReplaceAll(uri, "$", "$$"),
			},
		})
	}
	if scheme == "https" {
		r.tlsPools = append(r.tlsPools, pool)
		r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: d.pos, Text: d.text(), Reason: reasonBackendTLS})
	}
}

// readReturn reads return CODE [TEXT], or return URL.
func (r *reader) readReturn(route *model.Route, d item) error {
	code, err := strconv.Atoi(d.arg(0))
	if err != nil && len(d.Args) == 1 {
		route.Redirect = &model.Redirect{Pos: d.pos, Code: 302, To: readTemplate(d.arg(0))}
		return nil
	}
	if err != nil || code < 0 || code > 999 {
		return fmt.Errorf("%s: return %s: not a status code", d.pos, d.arg(0))
	}
	if slices.Contains([]int{301, 302, 303, 307, 308}, code) {
		route.Redirect = &model.Redirect{Pos: d.pos, Code: code, To: readTemplate(d.arg(1))}
		return nil
	}
	route.StaticResponse = &model.StaticResponse{Pos: d.pos, Code: code, Body: readTemplate(unescape(d.arg(1)))}
	return nil
}

// unescape resolves nginx's escapes in a string.
var unescape = strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t", `\"`, `"`, `\'`, `'`, `\\`, `\`).Replace
