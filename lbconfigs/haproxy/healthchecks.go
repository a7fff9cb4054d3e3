package haproxy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
)

// serverOptions are the options of a server by name; flags have an empty value.
type serverOptions map[string]string

// read adds the options of a line, which override earlier ones.
func (o serverOptions) read(words []string) {
	for i := 0; i < len(words); i++ {
		name, _, _ := strings.Cut(words[i], "(") // set-proxy-v2-tlv-fmt(ID) VALUE
		switch {
		case !slices.Contains(serverValues, name):
			o[words[i]] = ""
		case i+1 < len(words):
			o[words[i]] = words[i+1]
			i++
		}
	}
}

func (o serverOptions) has(name string) bool { _, ok := o[name]; return ok }

// number returns the value of an option; default: otherwise.
func (o serverOptions) number(name string, otherwise int) (int, error) {
	text, ok := o[name]
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s %s: not a number", name, text)
	}
	return n, nil
}

func (o serverOptions) time(name string, otherwise time.Duration) (time.Duration, error) {
	text, ok := o[name]
	if !ok {
		return otherwise, nil
	}
	d, err := parseTime(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return d, nil
}

// checks reads a server's health checks and its ejection by traffic.
func (r *reader) checks(s section, l statement, o serverOptions, server *model.Server) (err error) {
	if o.has("check") {
		if server.HealthCheck, err = r.active(s, l, o); err != nil {
			return err
		}
	}
	if o.has("observe") {
		if server.Ejection, err = readEjection(l, o); err != nil {
			return err
		}
	}
	return nil
}

// active reads the settings of a server's health checks.
func (r *reader) active(s section, l statement, o serverOptions) (a *model.HealthCheck, err error) {
	_, spread := r.global.last("spread-checks")
	a = &model.HealthCheck{Pos: l.pos, TimeoutScope: model.TimeoutOfCheck, Jitter: spread}
	r.readHealthRequest(s, a)
	if a.Interval, err = o.time("inter", defaultInter); err != nil {
		return nil, err
	}
	if a.FastInterval, err = o.time("fastinter", a.Interval); err != nil {
		return nil, err
	}
	if a.DownInterval, err = o.time("downinter", a.Interval); err != nil {
		return nil, err
	}
	if a.Fall, err = o.number("fall", defaultFall); err != nil {
		return nil, err
	}
	if a.Rise, err = o.number("rise", defaultRise); err != nil {
		return nil, err
	}
	for _, name := range []string{"inter", "fall", "rise"} {
		if !o.has(name) {
			a.Implicit = append(a.Implicit, name)
		}
	}
	a.Timeout = a.Interval
	t, ok := s.last("timeout", "check")
	if !ok {
		a.Implicit = append(a.Implicit, "timeout")
		return a, nil
	}
	if d, err := parseTime(t.word(2)); err == nil {
		a.Timeout, a.TimeoutScope = d, model.TimeoutOfResponse
	}
	return a, nil
}

// readEjection reads how errors in traffic eject a server.
func readEjection(l statement, o serverOptions) (*model.Ejection, error) {
	n, err := o.number("error-limit", defaultErrorLimit)
	if err != nil {
		return nil, err
	}
	then := o["on-error"]
	if then == "" {
		then = "fail-check"
	}
	on := observedFailures(o["observe"])
	on.Source = fmt.Sprintf("observe %s, then %s", o["observe"], then)
	return &model.Ejection{
		Pos: l.pos, Rule: model.ConsecutiveErrors, Failures: on, MaxFails: n,
		EndedBy: model.EndedByHealthChecks, Action: errorActions[then],
	}, nil
}

// errorActions are the values of on-error.
var errorActions = map[string]model.EjectionAction{
	"mark-down":    model.ActionEject,
	"fail-check":   model.ActionFailCheck,
	"fastinter":    model.ActionFastChecks,
	"sudden-death": model.ActionOneCheckLeft,
}

// observedFailures returns the errors of observe layer4 or layer7: of statuses, 500 and up except 501 and 505
// (docs.haproxy.org/2.6/configuration.html#5.2-observe).
func observedFailures(layer string) model.Failures {
	if layer != "layer7" {
		return model.Failures{Causes: []model.Cause{model.CauseConnect}}
	}
	return model.Failures{
		Causes:   []model.Cause{model.CauseConnect, model.CauseClosed, model.CauseTimeout, model.CauseMalformed},
		Statuses: []model.StatusRange{model.Status(500), {From: 502, To: 504}, {From: 506, To: 599}},
	}
}

// readHealthRequest reads the request and the expected response of health checks.
func (r *reader) readHealthRequest(s section, a *model.HealthCheck) {
	l, ok := s.option("httpchk")
	if !ok {
		return
	}
	a.Request, a.Expect.Statuses = model.HealthRequest{Method: "OPTIONS", Path: "/"}, model.StatusRange{From: 200, To: 399}
	switch {
	case len(l.words) == 3:
		a.Request.Path = l.word(2)
	case len(l.words) > 3:
		a.Request = model.HealthRequest{Method: l.word(2), Path: l.word(3)}
	}
	if expect, ok := s.last("http-check", "expect"); ok {
		a.Expect = model.HealthExpectation{Source: strings.Join(expect.wordsFrom(2), " ")}
	}
	if send, ok := s.last("http-check", "send"); ok && send.wordAfter("uri") != "" {
		method := send.wordAfter("meth")
		if method == "" {
			method = "GET"
		}
		a.Request = model.HealthRequest{Method: method, Path: send.wordAfter("uri")}
	}
}
