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
		inner := outer.with(r.block(l))
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

// base is a route of a site before it has a path.
func (s site) base(pos model.Pos) model.Route {
	route := model.Route{Pos: pos, Hosts: s.hosts, Fallback: s.fallback, Rules: slices.Clone(s.rules)}
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
		return fmt.Errorf("%s: a location has no path", location.pos)
	}
	own := in.own()
	route := s.base(location.pos)
	readPath(location.Args, &route)
	route.Internal = route.Named || len(pick(own, "internal")) > 0
	for _, d := range own {
		if err := r.handler(&route, d); err != nil {
			return err
		}
	}
	if err := r.inherited(&route, in); err != nil {
		return err
	}
	r.unreadAll(own, inLocation)
	if err := r.policies(&route, in); err != nil {
		return err
	}
	r.locationProblems(route, in)
	if len(pick(own, "return")) > 0 { // which comes before anything that could refuse
		route.Limits, route.Access, route.Auth, route.Guarded = nil, nil, nil, false
		route.Guarded = slices.ContainsFunc(s.rules, model.Rule.Refuses)
	}
	if r.provides(route) {
		r.cfg.Routes = append(r.cfg.Routes, route)
	}
	return nil
}

// readPath reads what a location is called: [= | ~ | ~* | ^~] PATH, or @NAME.
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
		route.Final = true
	}
	route.Named = strings.HasPrefix(route.Path, "@")
}

// inherited reads what the blocks around a location do with its requests.
func (r *reader) inherited(route *model.Route, in scope) error {
	if route.Internal {
		return nil
	}
	own := in.own()
	// A return of the server comes before any location.
	if up, ok := in.one("return"); ok && !slices.Contains(own, up) {
		if err := r.answer(route, up); err != nil {
			return err
		}
		route.Pool = ""
	}
	root, ok := in.one("root")
	isLeaf := len(pick(own, "location")) == 0
	if ok && isLeaf && !r.provides(*route) {
		r.serves(route, root)
	}
	return nil
}

// provides says whether a location answers or proxies, or guards what its inner locations do.
func (r *reader) provides(route model.Route) bool {
	answers := route.Answer != nil || route.Redirect != nil
	return answers || route.Pool != "" || route.Own != nil
}

// groups are what an nginx replacement has of the groups of its regular expression.
var groups = regexp.MustCompile(`\$([1-9])`)

// handler reads the directives that say what becomes of a location's requests. They are not inherited.
func (r *reader) handler(route *model.Route, d item) error {
	switch d.Directive.Directive {
	case "proxy_pass":
		r.proxyPass(route, d)
	case "return":
		return r.answer(route, d)
	case "rewrite":
		when := []model.Condition{{Source: "the path matches " + d.arg(0)}}
		if flag := d.arg(2); flag == "permanent" || flag == "redirect" {
			route.Rules = append(route.Rules, model.Rule{
				Pos: d.pos, When: when, Code: map[string]int{"permanent": 301, "redirect": 302}[flag], To: d.arg(1),
			})
		} else {
			rule := model.Rule{Pos: d.pos, When: when, To: d.arg(1)}
			if flag == "break" && !strings.ContainsAny(groups.ReplaceAllString(d.arg(1), ""), "$?") {
				rule.Rewrite = &model.Rewrite{Match: d.arg(0), With: groups.ReplaceAllString(d.arg(1), "$${$1}"), Whole: true}
			}
			route.Rules = append(route.Rules, rule)
		}
	case "stub_status":
		route.Own = &model.Own{Pos: d.pos, What: "nginx's counters (stub_status)", Counter: &stubStatus}
	case "alias", "root":
		r.serves(route, d)
	case "if":
		r.condition(route, d)
	}
	return nil
}

// stubStatus is nginx's page (nginx.org/en/docs/http/ngx_http_stub_status_module.html): the third number counts
// requests.
var stubStatus = model.Counter{
	Form: model.CounterText, Number: `server accepts handled requests\s+\d+ \d+ (\d+)`, Itself: true,
	Exporter: "nginx-exporter",
}

// serves makes a route serve files of a directory.
func (r *reader) serves(route *model.Route, d item) {
	if route.Own != nil {
		return
	}
	route.Own = &model.Own{Pos: d.pos, What: "files of " + d.arg(0)}
	need := model.Need{Pos: d.pos, Kind: model.NeedDirectory, Path: strings.TrimSuffix(d.arg(0), "/")}
	if !slices.ContainsFunc(r.cfg.Needs, func(n model.Need) bool { return n.Kind == need.Kind && n.Path == need.Path }) {
		r.cfg.Needs = append(r.cfg.Needs, need)
	}
}

// condition reads an if whose only effect is an answer.
func (r *reader) condition(route *model.Route, d item) {
	when := []model.Condition{readCondition(strings.Join(d.Args, " "))}
	for _, inner := range r.block(d) {
		code, err := strconv.Atoi(inner.arg(0))
		if inner.Directive.Directive == "return" && err == nil {
			route.Rules = append(route.Rules, model.Rule{Pos: d.pos, When: when, Code: code, To: inner.arg(1)})
			return
		}
	}
	r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: d.pos, Text: d.text(), Why: "an if that does more than answer"})
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
	pool, uri, replaces := strings.Cut(strings.TrimSuffix(target, "$request_uri"), "/") // which begins with one
	route.Pool, route.PoolPos = r.spelled(pool), d.pos
	if replaces && !strings.Contains(uri, "$") {
		route.Rules = append(route.Rules, model.Rule{
			Pos: d.pos, To: fmt.Sprintf("/%s in place of %s", uri, route.Path),
			Rewrite: &model.Rewrite{Match: "^" + regexp.QuoteMeta(route.Path), With: "/" + strings.ReplaceAll(uri, "$", "$$")},
		})
	}
	if scheme == "https" {
		r.secure = append(r.secure, pool)
		r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: d.pos, Text: d.text(), Why: whyTowards})
	}
}

// answer reads return CODE [TEXT].
func (r *reader) answer(route *model.Route, d item) error {
	code, err := strconv.Atoi(d.arg(0))
	if err != nil && len(d.Args) == 1 {
		route.Redirect = &model.Redirect{Pos: d.pos, Code: 302, To: readTemplate(d.arg(0))}
		return nil
	}
	if err != nil || code < 0 || code > 999 {
		return fmt.Errorf("%s: return %s is no status", d.pos, d.arg(0))
	}
	if slices.Contains([]int{301, 302, 303, 307, 308}, code) {
		route.Redirect = &model.Redirect{Pos: d.pos, Code: code, To: readTemplate(d.arg(1))}
		return nil
	}
	route.Answer = &model.Answer{Pos: d.pos, Code: code, Body: readTemplate(unescape(d.arg(1)))}
	return nil
}

// unescape turns the escapes that nginx knows in a string into what they stand for.
var unescape = strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t", `\"`, `"`, `\'`, `'`, `\\`, `\`).Replace
