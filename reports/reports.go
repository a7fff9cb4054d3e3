// Package reports prints reports and measurements, in one format per file. It decides nothing.
//
// To add a format: one file here with its Write, one line in All, and a golden file in testdata.
package reports

import (
	"fmt"
	"io"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/units"
)

// Format writes a report, or with Export instead of Write, the measurements.
type Format struct {
	Name   string
	Doc    string
	File   string // its name in a run folder; empty if it is only printed
	Write  func(io.Writer, report.Report) error
	Export func(io.Writer, history.History) error
}

// All lists every format.
var All = []Format{
	terminal, // tables for people
	jsonText, // everything, for programs
	junit,    // for CI systems

	hdr,           // latencies, for HdrHistogram's tools
	vegetaResults, // requests, for vegeta's tools
}

// Find returns the format with that name.
func Find(name string) (Format, error) {
	var names []string
	for _, f := range All {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return Format{}, fmt.Errorf("%q is not a report format; %s", name,
		units.DidYouMean(name, names, "use one of "+strings.Join(names, ", ")))
}
