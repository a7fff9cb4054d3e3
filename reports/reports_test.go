package reports_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/reports"
)

var update = flag.Bool("update", false, "rewrite golden files")

// sample has one verdict of each kind.
func sample() lb.Report {
	claim := func(id, check, text string, line int) lb.Claim {
		return lb.Claim{ID: id, Check: check, Text: text, Pos: lb.Pos{File: "nginx.conf", Line: line}}
	}
	p := 0.25
	return lb.Report{
		Schema: lb.ReportSchema, Name: "baseline", Alpha: 0.001, Beta: 0.001,
		Env: lb.Environment{
			Started: time.Date(2026, 11, 21, 10, 15, 0, 0, time.UTC), Balancer: "nginx version: nginx/1.22.1", Workers: 2,
			ConfigSHA: "0123456789abcdef", Client: "10.0.0.9", CPUs: 2,
			Nodes:  []lb.Node{{Name: "nginx", Role: lb.Balancer, Image: "nginx:stable", Source: "local"}},
			Phases: []lb.PhaseStats{{End: 4 * time.Second, CPU: time.Second, Hits: 1000}},
		},
		Verdicts: []lb.Verdict{
			{
				Claim: claim("weights/backend", "weights", "The requests of backend are shared by weight: a 1/3, b 2/3.", 8), Outcome: lb.Upheld,
				Test: "envelope", N: 1200, Need: 500, Measured: "400 : 800", Predicted: "400.0 : 800.0 (-1.00 to +1.00)", P: &p,
				Power: "would have caught 1:3 with probability above 0.9999",
			},
			{
				Claim: claim("answered/", "answered", "Every request to / is answered.", 18), Outcome: lb.Refuted, Test: "count", N: 1200,
				Measured: "2 of 1,200 failed", Predicted: "0 failed", Reason: "request 7 was answered 502 by <the balancer>",
				Counter: []string{"request 7 was answered 502 by <the balancer>", "request 9 got no answer: reset"},
			},
			{Claim: claim("once/", "once", "A request reaches one backend once.", 18), Reason: "12 of the 688 observations that it needs", N: 12, Need: 688},
			{Claim: claim("x/", "x", "Something else.", 0), Outcome: lb.Untestable, Reason: "no check is called \"x\""},
		},
		Phases: []lb.Phase{{
			Name: "open loop", Hits: 1000, Errors: 2, Servers: map[string]int{"b": 666, "a": 334}, Offered: 250, Achieved: 249.6,
			P50: 1500 * time.Microsecond, P99: 20 * time.Millisecond, Max: 31 * time.Millisecond, LagP99: 1100 * time.Microsecond, CPU: 0.12,
		}},
	}
}

func TestGolden(t *testing.T) {
	for _, f := range reports.All {
		var got bytes.Buffer
		require.NoError(t, f.Write(&got, sample()))
		file := filepath.Join("testdata", f.Name+".golden")
		if *update {
			require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
		}
		want, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, string(want), got.String(), f.Name)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	f, err := reports.Find("json")
	require.NoError(t, err)
	var text bytes.Buffer
	require.NoError(t, f.Write(&text, sample()))
	var again lb.Report
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
		Errors   int        `xml:"errors,attr"`
		Cases    []struct{} `xml:"testcase"`
	}
	require.NoError(t, xml.Unmarshal(text.Bytes(), &suite))
	assert.Equal(t, []int{4, 1, 1, 4}, []int{suite.Tests, suite.Failures, suite.Errors, len(suite.Cases)})
}

func TestUnknownFormat(t *testing.T) {
	_, err := reports.Find("pdf")
	assert.ErrorContains(t, err, `no report format is called "pdf"; there are terminal, json, junit`)
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteErrorsAreTold(t *testing.T) {
	for _, f := range reports.All {
		assert.Error(t, f.Write(full{}, sample()), f.Name)
	}
}

func TestExitCode(t *testing.T) {
	f := func(want int, interrupted string, outcomes ...lb.Outcome) {
		t.Helper()
		r := lb.Report{Env: lb.Environment{Interrupted: interrupted}}
		for _, o := range outcomes {
			r.Verdicts = append(r.Verdicts, lb.Verdict{Outcome: o})
		}
		assert.Equal(t, want, r.ExitCode())
	}
	f(0, "", lb.Upheld, lb.Untestable)
	f(1, "", lb.Upheld, lb.Undecided, lb.Refuted)
	f(1, "interrupted", lb.Refuted)
	f(3, "", lb.Upheld, lb.Undecided)
	f(3, "")
	f(3, "", lb.Untestable)
	f(4, "interrupted", lb.Upheld)
}
