package reports

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/report"
)

var junit = Format{
	Name: "junit",
	Doc: "JUnit XML: refuted promises and parts that cannot work are failures; undecided, untestable and implied " +
		"ones are skipped, with the reason",
	File:  "junit.xml",
	Write: writeJUnit,
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Stamp    string      `xml:"timestamp,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr"`
	Line    int           `xml:"line,attr,omitempty"`
	Failure *junitProblem `xml:"failure,omitempty"`
	Skipped *junitProblem `xml:"skipped,omitempty"`
	Output  string        `xml:"system-out,omitempty"`
}

type junitProblem struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

func writeJUnit(w io.Writer, r report.Report) error {
	r = plain.Value(r)
	suite := junitSuite{
		Name:  "lbproof." + r.Name,
		Stamp: r.Env.Started.Format("2006-01-02T15:04:05"),
	}
	seconds := 0.0
	for _, p := range r.Env.Phases {
		seconds += (p.End - p.Start).Seconds()
	}
	suite.Time = fmt.Sprintf("%.3f", seconds)
	for _, v := range r.Verdicts {
		suite.add(junitVerdict(r, v))
	}
	for _, p := range r.Problems {
		suite.add(junitProblemCase(r, p))
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Skipped != nil:
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
}

// junitVerdict returns the test case of a promise.
func junitVerdict(r report.Report, v report.Verdict) junitCase {
	c := junitCase{
		Name: v.Claim.ID, Class: "lbproof." + string(v.Claim.Check),
		File: v.Claim.Pos.File, Line: v.Claim.Pos.Line,
	}
	text := v.Claim.Text + lines(
		"measured", v.Measured, "predicted", v.Predicted, "test", v.Test, "power", v.Power,
		"why", v.Why, "instead", v.Instead)
	problem := &junitProblem{
		Message: fmt.Sprintf("%s: %s: %s", v.Claim.Pos, v.Outcome, v.Reason),
		Text:    strings.Join(append([]string{text}, v.Counter...), "\n"),
	}
	switch {
	case v.NotEvaluated:
		problem.Message = fmt.Sprintf("%s: %s", v.Claim.Pos, v.Reason)
		c.Skipped = problem
	case v.Outcome == report.Upheld:
		c.Output = text
	case v.Outcome == report.Refuted && r.Counts(v):
		c.Failure = problem
	case r.Counts(v):
		c.Skipped = problem
	default:
		problem.Message += " (implied by defaults: a note, unless --strict)"
		c.Skipped = problem
	}
	return c
}

// junitProblemCase returns the test case of a part of the configuration that cannot work as written.
func junitProblemCase(r report.Report, p model.Problem) junitCase {
	c := junitCase{
		Name:  fmt.Sprintf("%s %s", p.Effect, p.Pos),
		Class: "lbproof.problems", File: p.Pos.File, Line: p.Pos.Line,
	}
	problem := &junitProblem{
		Message: fmt.Sprintf("%s: %s: %s", p.Pos, p.Effect, p.Text),
		Text:    effects[p.Effect] + lines("instead", p.Instead),
	}
	if r.Gate.Fails(p) {
		c.Failure = problem
	} else {
		c.Skipped = problem
	}
	return c
}

// lines formats pairs of a label and a text, one per line, and skips empty texts.
func lines(labelled ...string) string {
	var b strings.Builder
	for i := 0; i < len(labelled); i += 2 {
		if label, text := labelled[i], labelled[i+1]; text != "" {
			fmt.Fprintf(&b, "\n%-11s%s", label+":", text)
		}
	}
	return b.String()
}
