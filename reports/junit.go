package reports

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/report"
)

var junit = Format{
	Name: "junit",
	Doc: "JUnit XML: a refuted promise is a failure, an undecided one an error, " +
		"one that is untestable or not looked at is skipped",
	File:  "junit.xml",
	Write: writeJUnit,
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
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
	Error   *junitProblem `xml:"error,omitempty"`
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
		Name:     "lbproof." + r.Name,
		Tests:    len(r.Verdicts),
		Failures: r.Count(report.Refuted),
		Errors:   r.Count(report.Undecided),
		Skipped:  r.Count(report.Untestable) + r.Outside(),
		Stamp:    r.Env.Started.Format("2006-01-02T15:04:05"),
	}
	seconds := 0.0
	for _, p := range r.Env.Phases {
		seconds += (p.End - p.Start).Seconds()
	}
	suite.Time = fmt.Sprintf("%.3f", seconds)
	for _, v := range r.Verdicts {
		suite.Cases = append(suite.Cases, junitOf(v))
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

func junitOf(v report.Verdict) junitCase {
	c := junitCase{
		Name: v.Claim.ID, Class: "lbproof." + string(v.Claim.Check),
		File: v.Claim.Pos.File, Line: v.Claim.Pos.Line,
	}
	problem := &junitProblem{
		Message: fmt.Sprintf("%s: %s", v.Claim.Pos, v.Reason),
		Text: strings.Join(append([]string{
			v.Claim.Text, "measured:  " + v.Measured, "predicted: " + v.Predicted, "test:      " + v.Test,
		}, v.Counter...), "\n"),
	}
	if v.Outside {
		c.Skipped = problem
		return c
	}
	switch v.Outcome {
	case report.Refuted:
		c.Failure = problem
	case report.Undecided:
		c.Error = problem
	case report.Untestable:
		c.Skipped = problem
	case report.Upheld:
		c.Output = fmt.Sprintf("%s\nmeasured:  %s\npredicted: %s\ntest:      %s\n%s",
			v.Claim.Text, v.Measured, v.Predicted, v.Test, v.Power)
	}
	return c
}
