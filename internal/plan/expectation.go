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
	Source       string  `json:"source"`             // the line
	Metric       string  `json:"metric"`             // p50 … p99.9, max, mean, errors, requests, rate
	Quantile     float64 `json:"quantile,omitempty"` // of a percentile, in 0 to 1
	Alert        string  `json:"alert,omitempty"`    // instead: an alert of Prometheus, and Metric is AlertFires or AlertSilent
	Backend      string  `json:"backend,omitempty"`  // only hits that it answered
	Status       int     `json:"status,omitempty"`   // only hits with it
	Op           string  `json:"op,omitempty"`
	Bound        float64 `json:"bound,omitempty"`          // seconds, a number, or a share
	BoundIsShare bool    `json:"bound_is_share,omitempty"` // Bound is of all hits of the phase
}

var expectationPattern = regexp.MustCompile(`^(p\d+(?:\.\d+)?|max|mean|errors|requests|rate)\s*` +
	`(?:\{\s*(backend|status)\s*:\s*([^}\s]+)\s*\})?\s*` +
	`(<=|>=|==|<|>)\s*(\S+)$`)

// What alerts are expected to do.
const (
	AlertFires  = "fires"
	AlertSilent = "is silent"
)

var alertPattern = regexp.MustCompile(`^alert (\w+) (` + AlertFires + `|` + AlertSilent + `)$`)

// ParseExpectation reads a line such as "p99 < 250ms", "errors == 0", "errors{backend: back-01} < 1%",
// "requests{status: 429} == 0" or "alert BackendDown fires":
//
//	line   = metric [ "{" ( "backend" | "status" ) ":" value "}" ] op bound | "alert" name ( "fires" | "is silent" )
//	metric = "p" number | "max" | "mean" | "errors" | "requests" | "rate"
//	op     = "<" | "<=" | ">" | ">=" | "=="
//	bound  = time | number | number "%"
func ParseExpectation(text string) (e Expectation, err error) {
	if m := alertPattern.FindStringSubmatch(strings.TrimSpace(text)); m != nil {
		return Expectation{Source: text, Alert: m[1], Metric: m[2]}, nil
	}
	m := expectationPattern.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return e, fmt.Errorf("%q is no expectation: write for example p99 < 250ms, errors == 0, errors < 1%%, "+
			"max{backend: back-01} < 2s, requests{status: 429} == 0, rate >= 240 or alert NAME fires", text)
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
		if e.Quantile = percent / 100; e.Quantile <= 0 || e.Quantile >= 1 {
			return e, fmt.Errorf("%q: a percentile lies between p0 and p100", text)
		}
	}
	err = e.parseBound(m[5])
	return e, err
}

// parseBound reads the bound of an expectation that has its metric and its operator.
func (e *Expectation) parseBound(text string) (err error) {
	if e.IsLatency() {
		d, err := time.ParseDuration(text)
		if e.Op == "==" {
			return fmt.Errorf("%q: a latency is never exactly a value: write < or >", e.Source)
		}
		if err != nil {
			return fmt.Errorf("%q: %s is no time, as 250ms", e.Source, text)
		}
		e.Bound = d.Seconds()
		return nil
	}
	number := text
	if e.Metric != "rate" {
		number, e.BoundIsShare = strings.CutSuffix(text, "%")
	}
	if e.Bound, err = strconv.ParseFloat(number, 64); err != nil {
		return fmt.Errorf("%q: %s is no number", e.Source, text)
	}
	if e.BoundIsShare {
		e.Bound /= 100
	}
	return nil
}

// IsLatency reports whether the metric is a latency.
func (e Expectation) IsLatency() bool {
	return e.Metric == "max" || e.Metric == "mean" || strings.HasPrefix(e.Metric, "p")
}
