package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Outcome is the result for a claim. The zero value is Undecided: missing data proves nothing.
type Outcome int

// The outcomes.
const (
	Undecided Outcome = iota
	Upheld
	Refuted
	Untestable
)

var outcomes = [...]string{"undecided", "upheld", "refuted", "untestable"}

func (o Outcome) String() string { return outcomes[o] }

// MarshalText implements encoding.TextMarshaler.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *Outcome) UnmarshalText(text []byte) error {
	for i, name := range outcomes {
		if name == string(text) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("unknown outcome %q", text)
}

// Verdict is the decision on one claim, with the evidence to check it.
type Verdict struct {
	Claim     plan.Claim `json:"claim"`
	Outcome   Outcome    `json:"outcome"`
	Test      string     `json:"test"`
	N         int        `json:"n"`
	Need      int        `json:"need"`
	P         *float64   `json:"p,omitempty"` // after Holm's correction over the run
	Measured  string     `json:"measured"`
	Predicted string     `json:"predicted"`
	Power     string     `json:"power,omitempty"`
	Reason    string     `json:"reason"`
	Counter   []string   `json:"counter_examples,omitempty"`
	// Why and Instead explain a refuted promise: the usual cause, and what to write instead.
	Why     string `json:"why,omitempty"`
	Instead string `json:"instead,omitempty"`
	// NotEvaluated: the scenario does not evaluate this kind of promise, so the verdict does not affect the exit code.
	NotEvaluated bool `json:"not_evaluated,omitempty"`
}

// Gate decides which findings fail a run.
type Gate struct {
	Strict bool           `json:"strict,omitempty"` // promises that only defaults imply count too
	FailOn []model.Effect `json:"fail_on"`          // problems with these effects count; none if empty
}

// Report holds the results of a run.
type Report struct {
	Schema   string              `json:"schema"` // ReportSchema
	Name     string              `json:"name"`
	Balancer string              `json:"balancer"` // its name; Env.Balancer is its own version text
	Alpha    float64             `json:"alpha"`
	Beta     float64             `json:"beta"`
	Env      history.Environment `json:"environment"`
	JudgedBy string              `json:"judged_by"` // the lbproof version that judged; Env.Lbproof recorded
	Designed bool                `json:"designed"`  // lbproof designed the experiments; false: a scenario
	Gate     Gate                `json:"gate"`
	Verdicts []Verdict           `json:"verdicts"`
	Problems []model.Problem     `json:"problems"` // parts of the configuration that cannot work as written
	Phases   []Phase             `json:"phases"`
	Delivery Delivery            `json:"delivery"`
}

// Builds names the builds of lbproof that recorded and judged the run; empty if one build did both.
func (r Report) Builds() string {
	if r.JudgedBy == r.Env.Lbproof {
		return ""
	}
	const unknown = "(unknown version)"
	recorder, judge := cmp.Or(r.Env.Lbproof, unknown), cmp.Or(r.JudgedBy, unknown)
	return fmt.Sprintf("recorded by lbproof %s, judged by lbproof %s", recorder, judge)
}

// ReportSchema is the version of the report's JSON form.
const ReportSchema = "lbproof.report/2"

// Phase sums up one phase of traffic. Latencies count from when a request was due.
type Phase struct {
	Name        string         `json:"name"`
	Hits        int            `json:"hits"`
	Errors      int            `json:"errors"`
	Servers     map[string]int `json:"servers"`
	Offered     float64        `json:"offered_per_second,omitempty"`
	Achieved    float64        `json:"achieved_per_second"`
	P50         time.Duration  `json:"p50_ns"`
	P99         time.Duration  `json:"p99_ns"`
	Max         time.Duration  `json:"max_ns"`
	LagP99      time.Duration  `json:"lag_p99_ns"` // Sent − Due, while a connection was free
	CPU         float64        `json:"sender_cpu"` // cores
	Engine      plan.Engine    `json:"engine"`
	Connections int            `json:"connections"` // opened
	// RequestsPerConnection is sequential, except over HTTP/2, where streams share a connection.
	RequestsPerConnection float64       `json:"requests_per_connection"`
	Reopened              int           `json:"reopened,omitempty"` // WebSocket connections that replaced an ended one
	Handshakes            int           `json:"tls_handshakes,omitempty"`
	Resumed               int           `json:"tls_resumed,omitempty"`
	HandshakeP50          time.Duration `json:"tls_handshake_p50_ns,omitempty"`
	HandshakeP99          time.Duration `json:"tls_handshake_p99_ns,omitempty"`
	Failures              []Failure     `json:"failures,omitempty"`
	Usage                 []Usage       `json:"usage,omitempty"`
	Fairness              []Fairness    `json:"fairness,omitempty"`
	MaxInFlight           int           `json:"max_in_flight"`
	MaxInFlightOK         int           `json:"max_in_flight_ok"` // without a failure
	FirstFailureInFlight  int           `json:"first_failure_in_flight,omitempty"`
	// MaxGoodRate and BreakingRate are set for a phase that ends at its breaking point: the requests due in the last
	// good second, and in the first bad one (0 if there was none).
	MaxGoodRate  int `json:"max_good_rate,omitempty"`
	BreakingRate int `json:"breaking_rate,omitempty"`
}

// Failure is one kind of failed requests of a phase.
type Failure struct {
	Kind  string        `json:"kind"` // a history.Err, or a status
	Count int           `json:"count"`
	First time.Duration `json:"first_ns"` // when the first of them was sent
}

// Fairness compares the responses of a pool's servers with their weights: Jain's weighted index and the coefficient of
// variation of responses per weight, 1 and 0 if no server is favoured. The intervals have a confidence of 99.9 % for
// independent draws of servers; round robin varies less.
type Fairness struct {
	Pool     string  `json:"pool"`
	Answers  int     `json:"answers"`
	Jain     float64 `json:"jain"`
	LowJain  float64 `json:"jain_low"`
	HighJain float64 `json:"jain_high"`
	CV       float64 `json:"cv"`
	LowCV    float64 `json:"cv_low"`
	HighCV   float64 `json:"cv_high"`
}

// Usage is what a container used during a phase, between the samples around it.
type Usage struct {
	Node      string  `json:"node"`
	CPU       float64 `json:"cpu"`                 // cores, on average
	Limit     float64 `json:"limit,omitempty"`     // cores
	Throttled float64 `json:"throttled,omitempty"` // share of the time in which its CPU limit stopped it
	Memory    int64   `json:"memory"`              // bytes, maximum of the samples
	Received  int64   `json:"received"`            // bytes
	Sent      int64   `json:"sent"`
	Restarts  int     `json:"restarts,omitempty"`
	// Window is the time between the samples, which exceeds a short phase.
	Window time.Duration `json:"window_ns"`
}

// Fits reports whether the usage is mostly that of a phase of this duration.
func (u Usage) Fits(took time.Duration) bool { return u.Window <= 3*took }

// ThrottledShare is the share of throttled time above which latencies show the CPU limit rather than the balancer.
const ThrottledShare = 0.05

// Delivery joins every request of the clients with the arrivals in the backends' ledgers.
type Delivery struct {
	Sent       int `json:"sent"`
	Arrived    int `json:"arrived"`    // arrivals at backends
	Lost       int `json:"lost"`       // requests without a complete response that reached no backend
	Unanswered int `json:"unanswered"` // requests without a complete response that reached one
	Truncated  int `json:"truncated"`  // of the unanswered: their response began
	Retried    int `json:"retried"`    // repeated arrivals of idempotent requests
	Duplicated int `json:"duplicated"` // repeated arrivals of other requests
	// Misrouted counts arrivals outside the pool of their route, and responses of backends that recorded no arrival.
	Misrouted int `json:"misrouted"`
	Unknown   int `json:"unknown"` // arrivals of no request of the run
	// Note explains why the account is incomplete; empty if it is complete.
	Note string `json:"note,omitempty"`
}

// Counts reports whether a verdict affects the exit code. A promise that only defaults imply is a note unless the gate
// is strict; one that the scenario does not evaluate never counts.
func (r Report) Counts(v Verdict) bool {
	return !v.NotEvaluated && (r.Gate.Strict || !v.Claim.Implicit)
}

// Count returns the number of verdicts with an outcome that affect the exit code.
func (r Report) Count(o Outcome) int {
	return r.count(func(v Verdict) bool { return v.Outcome == o && r.Counts(v) })
}

// Notes returns the number of implied promises with an outcome; they do not affect the exit code.
func (r Report) Notes(o Outcome) int {
	return r.count(func(v Verdict) bool { return v.Outcome == o && !v.NotEvaluated && !r.Counts(v) })
}

// NotEvaluated returns the number of promises that the scenario does not evaluate.
func (r Report) NotEvaluated() int { return r.count(func(v Verdict) bool { return v.NotEvaluated }) }

func (r Report) count(has func(Verdict) bool) int {
	n := 0
	for _, v := range r.Verdicts {
		if has(v) {
			n++
		}
	}
	return n
}

// Fails reports whether a problem affects the exit code.
func (g Gate) Fails(p model.Problem) bool { return slices.Contains(g.FailOn, p.Effect) }

// ExitCode returns 1 if a promise is refuted or a problem fails the gate, 4 if the run was cut short, 3 if a promise is
// undecided or nothing was decided, else 0. A note never changes it.
func (r Report) ExitCode() int {
	switch {
	case r.Count(Refuted) > 0 || slices.ContainsFunc(r.Problems, r.Gate.Fails):
		return 1
	case r.Env.Interrupted != "":
		return 4
	case r.Count(Undecided) > 0 || r.Count(Upheld)+r.Notes(Upheld)+r.Notes(Refuted) == 0:
		return 3
	}
	return 0
}
