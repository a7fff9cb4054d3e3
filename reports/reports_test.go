package reports_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tsenart/vegeta/v12/lib"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/reports"
)

var update = flag.Bool("update", false, "rewrite golden files")

// sample returns a report with one verdict of each kind.
func sample() report.Report {
	claim := func(id, check, text string, line int) plan.Claim {
		return plan.Claim{ID: id, Check: plan.Check(check), Text: text, Pos: model.Pos{File: "nginx.conf", Line: line}}
	}
	p := 0.25
	return report.Report{
		Schema: report.ReportSchema, Name: "baseline", Alpha: 0.001, Beta: 0.001,
		JudgedBy: "v1.3.0",
		Env: history.Environment{
			Lbproof: "v1.2.0", Started: time.Date(2026, 11, 21, 10, 15, 0, 0, time.UTC), Balancer: "nginx version: nginx/1.22.1", Workers: 2,
			ConfigSHA: "0123456789abcdef", ClientAddr: "10.0.0.9", CPUs: 2,
			Nodes:      []history.NodeRecord{{Name: "nginx", Role: plan.Balancer, Image: "nginx:stable", Source: "local"}},
			LogEntries: []history.LogEntry{{Text: "[alert] 1024 worker_connections are not enough", Count: 9}},
			Phases:     []history.Phase{{End: 4 * time.Second, CPU: time.Second, Hits: 1000}},
		},
		Verdicts: []report.Verdict{
			{
				Claim: claim("weights/backend", "weights", "The requests of backend are shared by weight: a 1/3, b 2/3.", 8), Outcome: report.Upheld,
				Test: "envelope", N: 1200, Need: 500, Measured: "400 : 800", Predicted: "400.0 : 800.0 (-1.00 to +1.00)", P: &p,
				Power: "would have caught 1:3 with probability above 0.9999",
			},
			{
				Claim: claim("answered/", "answered", "Every request to / is answered.", 18), Outcome: report.Refuted, Test: "count", N: 1200,
				Measured: "2 of 1,200 failed", Predicted: "0 failed", Reason: "request 7 was answered 502 by <the balancer>",
				Counter: []string{"request 7 was answered 502 by <the balancer>", "request 9 got no answer: reset"},
			},
			{Claim: claim("once/", "once", "A request reaches one backend once.", 18), Reason: "12 of the 688 observations that it needs", N: 12, Need: 688},
			{Claim: claim("x/", "x", "Something else.", 0), Outcome: report.Untestable, Reason: "no check is called \"x\""},
			implied(report.Verdict{
				Claim: claim("reload/nginx", "reload", "No request is lost during a reload.", 0), Outcome: report.Refuted, N: 400,
				Measured: "2 of 400 failed", Predicted: "0 failed", Reason: "request 31 (GET /) failed: connection reset",
				Why: "old workers close idle client connections", Instead: "nginx 1.27.4 or later with keepalive_min_timeout",
			}),
			{Claim: claim("tls/api#versions", "tls", "TLS 1.2 and 1.3.", 4), NotEvaluated: true, Reason: "not evaluated by scenario \"baseline\""},
		},
		Balancer: "nginx", Gate: report.Gate{FailOn: []model.Effect{model.Dropped}},
		Problems: []model.Problem{
			{
				Pos: model.Pos{File: "nginx.conf", Line: 91}, Effect: model.Dropped,
				Text: "add_header in this location drops the headers of the server block", Instead: "repeat them here",
			},
			{Pos: model.Pos{File: "nginx.conf", Line: 37}, Effect: model.Inert, Text: "the zone per_token limits nothing", FixedIn: "1.29.7"},
		},
		Phases: []report.Phase{{
			Name: "open loop", Hits: 1000, Errors: 2, Servers: map[string]int{"b": 666, "a": 334}, Offered: 250, Achieved: 249.6,
			P50: 1500 * time.Microsecond, P99: 20 * time.Millisecond, Max: 31 * time.Millisecond, LagP99: 1100 * time.Microsecond, CPU: 0.12,
			Engine: plan.Vegeta, Connections: 4, RequestsPerConnection: 250, Handshakes: 4, Resumed: 3, HandshakeP50: time.Millisecond, HandshakeP99: 2 * time.Millisecond,
			MaxInFlight: 80, MaxInFlightOK: 70, FirstFailureInFlight: 71, Failures: []report.Failure{{Kind: "reset", Count: 1, First: time.Second}, {Kind: "502", Count: 1, First: 2 * time.Second}},
			MaxGoodRate: 240, BreakingRate: 251, Usage: []report.Usage{
				{Node: "a", CPU: 0.12, Limit: 0.125, Throttled: 0.4, Memory: 7 << 20, Received: 1 << 20, Sent: 3 << 20, Restarts: 1, Window: 4 * time.Second},
				{Node: "nginx", CPU: 0.5, Memory: 12 << 20, Window: 4 * time.Second},
			},
			Fairness: []report.Fairness{{Pool: "backend", Answers: 1000, Jain: 0.9991, LowJain: 0.99, HighJain: 1, CV: 0.03, LowCV: 0, HighCV: 0.1}, {Pool: "few", Answers: 9}},
		}, {Name: "agents", Engine: plan.WebSocket, Connections: 102, Reopened: 2}},
		Delivery: report.Delivery{Sent: 1000, Arrived: 1002, Lost: 1, Unanswered: 1, Truncated: 1, Retried: 2, Duplicated: 1, Note: "the backends' ledger is not whole: b: restarted"},
	}
}

func implied(v report.Verdict) report.Verdict {
	v.Claim.Implicit = true
	return v
}

// shortHistory returns a history of three hits.
func shortHistory() history.History {
	hits := []history.Hit{
		{Seq: 1, Due: 0, Sent: time.Millisecond, Done: 20 * time.Millisecond, Code: 200, Server: "a", Size: 12},
		{Seq: 2, Index: 1, Due: 10 * time.Millisecond, Sent: 10 * time.Millisecond, Done: 1030 * time.Millisecond, Code: 503},
		{Seq: 3, Phase: 1, Due: 2 * time.Second, Sent: 2 * time.Second, Done: 2100 * time.Millisecond, Err: history.Reset},
	}
	requests := []plan.Request{{Method: "POST", Path: "/models", Body: model.Bytes("{}")}}
	return history.History{
		Plan: plan.Plan{Name: "one", Phases: []plan.Phase{{Name: "open loop", Requests: requests}, {Name: "b", Requests: requests}}},
		Env:  history.Environment{Origin: time.Date(2026, 11, 21, 10, 15, 0, 0, time.UTC)},
		Err:  func() error { return nil },
		Hits: func(yield func(history.Hit) bool) {
			for _, h := range hits {
				if !yield(h) {
					return
				}
			}
		},
	}
}

// Vegeta and HdrHistogram read the exported formats.
func TestExportsAreReadable(t *testing.T) {
	var text bytes.Buffer
	format, err := reports.Find("vegeta")
	require.NoError(t, err)
	require.NoError(t, format.Export(&text, shortHistory()))
	decode := vegeta.DecoderFor(&text)
	require.NotNil(t, decode)
	var m vegeta.Metrics
	for {
		var r vegeta.Result
		if decode(&r) != nil {
			break
		}
		m.Add(&r)
	}
	m.Close()
	assert.Equal(t, uint64(3), m.Requests)
	assert.Equal(t, map[string]int{"0": 1, "200": 1, "503": 1}, m.StatusCodes)
	assert.Equal(t, 1020*time.Millisecond, m.Latencies.Max)

	format, err = reports.Find("hdr")
	require.NoError(t, err)
	require.NoError(t, format.Export(&text, shortHistory()))
	log := hdrhistogram.NewHistogramLogReader(&text)
	var tags []string
	for {
		h, err := log.NextIntervalHistogram()
		require.NoError(t, err)
		if h == nil {
			break
		}
		tags = append(tags, h.Tag())
		assert.Equal(t, int64(1), h.TotalCount())
	}
	assert.Equal(t, []string{"open-loop", "open-loop", "b"}, tags)
}

func TestGolden(t *testing.T) {
	compare := func(name string, got []byte) {
		t.Helper()
		file := filepath.Join("testdata", name+".golden")
		if *update {
			require.NoError(t, os.WriteFile(file, got, 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, string(want), string(got), name)
	}
	for _, f := range reports.All {
		var got bytes.Buffer
		if f.Export != nil {
			require.NoError(t, f.Export(&got, shortHistory()))
		} else {
			require.NoError(t, f.Write(&got, sample()))
		}
		compare(f.Name, got.Bytes())
	}
	var verbose bytes.Buffer
	require.NoError(t, reports.WriteTerminal(&verbose, sample(), true))
	compare("verbose", verbose.Bytes())
	for line := range strings.SplitSeq(verbose.String(), "\n") {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 80, line)
	}
}

// The gate decides what affects the exit code; everything is shown in any case.
func TestGate(t *testing.T) {
	f := func(want int, change func(*report.Report)) {
		t.Helper()
		r := sample()
		r.Verdicts = slices.DeleteFunc(r.Verdicts, func(v report.Verdict) bool {
			return v.Outcome != report.Upheld && !v.NotEvaluated && !v.Claim.Implicit
		})
		change(&r)
		assert.Equal(t, want, r.ExitCode())
	}
	f(1, func(*report.Report) {})                                                   // dropped counts, the note does not
	f(0, func(r *report.Report) { r.Gate.FailOn = nil })                            // nothing counts
	f(0, func(r *report.Report) { r.Gate.FailOn = []model.Effect{model.Rejected} }) // no such problem
	f(1, func(r *report.Report) { r.Gate = report.Gate{Strict: true} })             // the note counts
	note := func(o report.Outcome) func(*report.Report) {
		return func(r *report.Report) {
			r.Gate.FailOn, r.Verdicts = nil, r.Verdicts[1:]
			r.Verdicts[0].Outcome = o
		}
	}
	f(0, note(report.Upheld))    // alone, a note has no effect either,
	f(0, note(report.Refuted))   // whichever way it is decided
	f(3, note(report.Undecided)) // nothing was decided
	f(1, func(r *report.Report) { note(report.Refuted)(r); r.Gate.Strict = true })
	f(3, func(r *report.Report) { r.Gate.FailOn, r.Verdicts = nil, r.Verdicts[2:] })               // nothing evaluated
	f(4, func(r *report.Report) { r.Gate.FailOn, r.Env.Interrupted = nil, "interrupted" })         // cut short
	f(3, func(r *report.Report) { r.Gate.FailOn = nil; r.Verdicts[0].Outcome = report.Undecided }) // undecided
	f(0, func(r *report.Report) { r.Gate.FailOn = nil; r.Verdicts[1].Outcome = report.Undecided }) // an undecided note
	f(0, func(r *report.Report) { r.Gate.FailOn = nil; r.Verdicts[2].Outcome = report.Refuted })   // not evaluated
	f(1, func(r *report.Report) { r.Gate.FailOn = nil; r.Verdicts[1].Claim.Implicit = false })     // written
}

func TestJSONRoundTrip(t *testing.T) {
	f, err := reports.Find("json")
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, f.Write(&text, sample()))
	var again report.Report
	require.NoError(t, json.Unmarshal(text.Bytes(), &again))
	assert.Equal(t, sample(), again)
}

func TestJUnitCountsAgree(t *testing.T) {
	f, err := reports.Find("junit")
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, f.Write(&text, sample()))
	var suite struct {
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Cases    []struct{} `xml:"testcase"`
	}
	require.NoError(t, xml.Unmarshal(text.Bytes(), &suite))
	assert.Equal(t, []int{8, 2, 5, 8}, []int{suite.Tests, suite.Failures, suite.Skipped, len(suite.Cases)})
}

func TestUnknownFormat(t *testing.T) {
	_, err := reports.Find("pdf")
	assert.ErrorContains(t, err, `"pdf" is not a report format; use one of terminal, json, junit`)
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrorsAreReturned(t *testing.T) {
	for _, f := range reports.All {
		if f.Export != nil {
			assert.Error(t, f.Export(fullDisk{}, shortHistory()), f.Name)
			continue
		}
		assert.Error(t, f.Write(fullDisk{}, sample()), f.Name)
	}
}

func TestExitCode(t *testing.T) {
	f := func(want int, interrupted string, outcomes ...report.Outcome) {
		t.Helper()
		r := report.Report{Env: history.Environment{Interrupted: interrupted}}
		for _, o := range outcomes {
			r.Verdicts = append(r.Verdicts, report.Verdict{Outcome: o})
		}
		assert.Equal(t, want, r.ExitCode())
	}
	f(0, "", report.Upheld, report.Untestable)
	f(1, "", report.Upheld, report.Undecided, report.Refuted)
	f(1, "interrupted", report.Refuted)
	f(3, "", report.Upheld, report.Undecided)
	f(3, "")
	f(3, "", report.Untestable)
	f(4, "interrupted", report.Upheld)
}
