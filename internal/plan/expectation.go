package plan

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Expectation is one line of expect in a phase.
type Expectation struct {
	Source       string  `json:"source"`             // the line as written
	Metric       string  `json:"metric"`             // p50 … p99.9, max, mean, errors, requests, rate
	Quantile     float64 `json:"quantile,omitempty"` // of a percentile, between 0 and 1
	Alert        string  `json:"alert,omitempty"`    // of Prometheus; Metric is AlertFires or AlertSilent
	Backend      string  `json:"backend,omitempty"`  // only hits that it answered, if set
	Status       int     `json:"status,omitempty"`   // only hits with this status, if set
	Op           string  `json:"op,omitempty"`
	Bound        float64 `json:"bound,omitempty"`          // in seconds, a number or a share
	BoundIsShare bool    `json:"bound_is_share,omitempty"` // Bound is a share of all hits of the phase
}

var expectationPattern = regexp.MustCompile(`^(p\d+(?:\.\d+)?|max|mean|errors|requests|rate)\s*` +
	`(?:\{\s*(backend|status)\s*:\s*([^}\s]+)\s*\})?\s*` +
	`(<=|>=|==|<|>)\s*(\S+)$`)

// The expectations about alerts.
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
		return e, fmt.Errorf("%q is not an expectation; write e.g. p99 < 250ms, errors == 0, errors < 1%%, "+
			"max{backend: back-01} < 2s, requests{status: 429} == 0, rate >= 240 or alert NAME fires", text)
	}
	e.Source, e.Metric, e.Op = text, m[1], m[4]
	switch m[2] {
	case "backend":
		e.Backend = m[3]
	case "status":
		if e.Status, err = strconv.Atoi(m[3]); err != nil {
			return e, fmt.Errorf("%q: %q is not a status; write e.g. 503", text, m[3])
		}
	}
	if rank, ok := strings.CutPrefix(e.Metric, "p"); ok {
		percent, _ := strconv.ParseFloat(rank, 64) // the pattern allows digits only
		if e.Quantile = percent / 100; e.Quantile <= 0 || e.Quantile >= 1 {
			return e, fmt.Errorf("%q: %s is not a percentile; write one between p0 and p100, e.g. p99", text, e.Metric)
		}
	}
	err = e.parseBound(m[5])
	return e, err
}

// parseBound sets the bound; the metric and the operator are set.
func (e *Expectation) parseBound(text string) (err error) {
	if e.IsLatency() {
		d, err := time.ParseDuration(text)
		if e.Op == "==" {
			return fmt.Errorf("%q: a latency never equals a value exactly; write < or >", e.Source)
		}
		if _, bare := strconv.ParseFloat(text, 64); bare == nil {
			return fmt.Errorf("%q: %q has no unit; write e.g. %sms or %ss", e.Source, text, text, text)
		}
		if err != nil {
			return fmt.Errorf("%q: %q is not a duration; write e.g. 250ms", e.Source, text)
		}
		e.Bound = d.Seconds()
		return nil
	}
	number := text
	if e.Metric != "rate" {
		number, e.BoundIsShare = strings.CutSuffix(text, "%")
	}
	if e.Bound, err = strconv.ParseFloat(number, 64); err != nil {
		return fmt.Errorf("%q: %q is not a number", e.Source, text)
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
