package plan

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Expectation is one line of a phase's expect.
type Expectation struct {
	Source  string  `json:"source"`            // the line
	Metric  string  `json:"metric"`            // p50 … p99.9, max, mean, errors, requests, rate
	Rank    float64 `json:"rank,omitempty"`    // of a percentile, in 0 to 1
	Alert   string  `json:"alert,omitempty"`   // instead: an alert of Prometheus, and Metric is AlertFires or AlertSilent
	Backend string  `json:"backend,omitempty"` // only hits that it answered
	Status  int     `json:"status,omitempty"`  // only hits with it
	Op      string  `json:"op,omitempty"`
	Bound   float64 `json:"bound,omitempty"` // seconds, a number, or a share
	Share   bool    `json:"share,omitempty"` // Bound is of all hits of the phase
}

var expectLine = regexp.MustCompile(`^(p\d+(?:\.\d+)?|max|mean|errors|requests|rate)\s*(?:\{\s*(backend|status)\s*:\s*([^}\s]+)\s*\})?\s*(<=|>=|==|<|>)\s*(\S+)$`)

// What alerts are expected to do.
const (
	AlertFires  = "fires"
	AlertSilent = "is silent"
)

var alertLine = regexp.MustCompile(`^alert (\w+) (` + AlertFires + `|` + AlertSilent + `)$`)

// ParseExpectation reads a line such as "p99 < 250ms", "errors == 0", "errors{backend: back-01} < 1%",
// "requests{status: 429} == 0" or "alert BackendDown fires":
//
//	line   = metric [ "{" ( "backend" | "status" ) ":" value "}" ] op bound | "alert" name ( "fires" | "is silent" )
//	metric = "p" number | "max" | "mean" | "errors" | "requests" | "rate"
//	op     = "<" | "<=" | ">" | ">=" | "=="
//	bound  = time | number | number "%"
func ParseExpectation(text string) (e Expectation, err error) {
	if m := alertLine.FindStringSubmatch(strings.TrimSpace(text)); m != nil {
		return Expectation{Source: text, Alert: m[1], Metric: m[2]}, nil
	}
	m := expectLine.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return e, fmt.Errorf("%q is no expectation: write for example p99 < 250ms, errors == 0, errors < 1%%, max{backend: back-01} < 2s, requests{status: 429} == 0, rate >= 240 or alert NAME fires", text)
	}
	e.Source, e.Metric, e.Op = text, m[1], m[4]
	switch m[2] {
	case "backend":
		e.Backend = m[3]
	case "status":
		if e.Status, err = strconv.Atoi(m[3]); err != nil {
			return e, fmt.Errorf("%q: %s is no status", text, m[3])
		}
	}
	if rank, ok := strings.CutPrefix(e.Metric, "p"); ok {
		percent, _ := strconv.ParseFloat(rank, 64) // the expression has seen to it
		if e.Rank = percent / 100; e.Rank <= 0 || e.Rank >= 1 {
			return e, fmt.Errorf("%q: a percentile lies between p0 and p100", text)
		}
	}
	value := m[5]
	switch {
	case e.Timed():
		d, bad := time.ParseDuration(value)
		if e.Op == "==" {
			return e, fmt.Errorf("%q: a latency is never exactly a value: write < or >", text)
		}
		if bad != nil {
			return e, fmt.Errorf("%q: %s is no time, as 250ms", text, value)
		}
		e.Bound = d.Seconds()
		return e, nil
	case strings.HasSuffix(value, "%") && e.Metric != "rate":
		e.Share, value = true, strings.TrimSuffix(value, "%")
	}
	if e.Bound, err = strconv.ParseFloat(value, 64); err != nil {
		return e, fmt.Errorf("%q: %s is no number", text, m[5])
	}
	if e.Share {
		e.Bound /= 100
	}
	return e, nil
}

// Timed reports whether the metric is a latency.
func (e Expectation) Timed() bool {
	return e.Metric == "max" || e.Metric == "mean" || strings.HasPrefix(e.Metric, "p")
}
