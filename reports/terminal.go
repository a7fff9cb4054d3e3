package reports

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/units"
)

var terminal = Format{
	Name:  "terminal",
	Doc:   "text for people: the summary, then what was refuted, undecided or cannot work; --verbose adds the rest",
	Write: func(w io.Writer, r report.Report) error { return WriteTerminal(w, r, false) },
}

// WriteTerminal writes a report as text, findings first, in 80 columns. If verbose, it adds every upheld promise with
// its evidence, and the tables of traffic, containers and fairness.
func WriteTerminal(out io.Writer, r report.Report, verbose bool) error {
	r = plain.Value(r)
	w := &strings.Builder{}
	writeHanging(w, "", Summary(r))
	if verbose {
		writeProvenance(w, r)
	}
	writeFindings(w, r)
	writeUpheld(w, r, verbose)
	writeNotEvaluated(w, r, verbose)
	if err := writeTraffic(w, r, verbose); err != nil {
		return err
	}
	writeRemarks(w, r, verbose)
	return writeTrimmed(out, w.String())
}

// Summary returns the first line of a report: what was tested, and the number of promises per outcome.
func Summary(r report.Report) string {
	text := r.Name
	if balancer := versionOf(r.Balancer, r.Env.Balancer); balancer != "" {
		text += " on " + balancer
	}
	text += ": " + strings.Join(counts(r), ", ")
	if took := trafficDuration(r); took > 0 {
		text += fmt.Sprintf(" (%s)", took.Round(time.Second))
	}
	return text
}

func counts(r report.Report) (parts []string) {
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, units.Number(n)+" "+what)
		}
	}
	add(r.Count(report.Refuted), "refuted")
	add(r.Count(report.Undecided), "undecided")
	add(len(r.Problems), "cannot work")
	add(r.Count(report.Untestable), "untestable")
	add(r.Count(report.Upheld)+r.Notes(report.Upheld), "upheld")
	switch notes := len(listNotes(r)); notes {
	case 0:
	case 1:
		add(1, "note")
	default:
		add(notes, "notes")
	}
	add(r.NotEvaluated(), "not evaluated")
	if len(parts) == 0 {
		return []string{"no promises"}
	}
	return parts
}

// versionNumber matches a version in the output of a version command.
var versionNumber = regexp.MustCompile(`[0-9]+(\.[0-9]+)+`)

// versionOf returns the balancer with its version, "nginx 1.22.1"; text is the output of its version command.
func versionOf(balancer, text string) string {
	return strings.TrimSpace(balancer + " " + versionNumber.FindString(text))
}

// trafficDuration returns how long the run sent traffic.
func trafficDuration(r report.Report) time.Duration {
	if n := len(r.Env.Phases); n > 0 {
		return r.Env.Phases[n-1].End
	}
	return 0
}

// writeFindings writes refuted and undecided promises, problems, untestable promises and notes, in this order.
func writeFindings(w io.Writer, r report.Report) {
	for _, outcome := range []report.Outcome{report.Refuted, report.Undecided} {
		for _, v := range r.Verdicts {
			if v.Outcome == outcome && r.Counts(v) {
				fmt.Fprintln(w)
				writeVerdict(w, v)
			}
		}
	}
	for _, p := range r.Problems {
		fmt.Fprintln(w)
		writeProblem(w, p)
	}
	for _, v := range r.Verdicts {
		if v.Outcome == report.Untestable && r.Counts(v) {
			fmt.Fprintln(w)
			writeVerdict(w, v)
		}
	}
	notes := listNotes(r)
	if len(notes) == 0 {
		return
	}
	fmt.Fprint(w, "\nNotes: implied by defaults, nobody wrote them; --strict counts them\n")
	for _, v := range notes {
		writeVerdict(w, v)
	}
}

// listNotes returns the implied promises that were not upheld and do not count.
func listNotes(r report.Report) (notes []report.Verdict) {
	for _, v := range r.Verdicts {
		if v.Outcome != report.Upheld && !v.NotEvaluated && !r.Counts(v) {
			notes = append(notes, v)
		}
	}
	return notes
}

// writeVerdict writes one promise with its evidence, and what to do about it.
func writeVerdict(w io.Writer, v report.Verdict) {
	writeHead(w, strings.ToUpper(v.Outcome.String()), v.Claim.Pos.String(), v.Claim.ID)
	writeField(w, "", v.Claim.Text)
	switch v.Outcome {
	case report.Refuted:
		writeField(w, "seen", v.Reason)
		if v.Measured != v.Reason {
			writeField(w, "measured", evidence(v))
		}
	case report.Undecided, report.Untestable:
		writeField(w, "reason", v.Reason)
		writeField(w, "measured", v.Measured)
	case report.Upheld:
		writeField(w, "measured", v.Measured)
		writeField(w, "predicted", v.Predicted)
		writeField(w, "n", units.Number(v.N))
		writeField(w, "power", v.Power)
		writeField(w, "remark", v.Reason)
	}
	writeField(w, "why", v.Why)
	writeField(w, "instead", v.Instead)
}

// evidence joins what was measured and what was predicted.
func evidence(v report.Verdict) string {
	if v.Measured == "" || v.Predicted == "" {
		return v.Measured
	}
	return v.Measured + "; predicted: " + v.Predicted
}

// writeProblem writes a part of the configuration that cannot work as written.
func writeProblem(w io.Writer, p model.Problem) {
	writeHead(w, "CANNOT WORK", p.Pos.String(), fmt.Sprintf("%s: %s", p.Effect, effects[p.Effect]))
	writeField(w, "", p.Text)
	writeField(w, "instead", p.Instead)
	if p.FixedIn != "" {
		writeField(w, "until", "version "+p.FixedIn)
	}
}

// writeUpheld folds upheld promises into one line per kind; verbose unfolds them.
func writeUpheld(w io.Writer, r report.Report, verbose bool) {
	var upheld []report.Verdict
	for _, v := range r.Verdicts {
		if v.Outcome == report.Upheld && !v.NotEvaluated {
			upheld = append(upheld, v)
		}
	}
	if len(upheld) == 0 {
		return
	}
	if !verbose {
		fmt.Fprintln(w)
		writeList(w, fmt.Sprintf("UPHELD %d: ", len(upheld)), perCheck(upheld))
		return
	}
	for _, v := range upheld {
		fmt.Fprintln(w)
		writeVerdict(w, v)
	}
}

// writeNotEvaluated lists the promises that the scenario does not evaluate.
func writeNotEvaluated(w io.Writer, r report.Report, verbose bool) {
	var outside []report.Verdict
	for _, v := range r.Verdicts {
		if v.NotEvaluated {
			outside = append(outside, v)
		}
	}
	if len(outside) == 0 {
		return
	}
	lead := "Not evaluated by scenario " + r.Name
	if r.Designed {
		lead = "Not evaluated (excluded by --checks)"
	}
	fmt.Fprintln(w)
	if !verbose {
		writeList(w, lead+": ", perCheck(outside))
		return
	}
	fmt.Fprintf(w, "%s:\n", lead)
	for _, v := range outside {
		writeHanging(w, "  "+v.Claim.Pos.String()+"  ", v.Claim.ID)
	}
}

// perCheck counts verdicts by their check.
func perCheck(verdicts []report.Verdict) []string {
	var of []plan.Check
	for _, v := range verdicts {
		of = append(of, v.Claim.Check)
	}
	return countPerCheck(of)
}

// writeTraffic writes the tables that explain the verdicts: all if verbose, else the phases of a scenario with
// expectations.
func writeTraffic(w io.Writer, r report.Report, verbose bool) error {
	if verbose {
		return errors.Join(writePhases(w, r), writeSenders(w, r), writeContainers(w, r), writeFairness(w, r))
	}
	for _, v := range r.Verdicts {
		if v.Claim.Check == plan.CheckExpect && !v.NotEvaluated {
			return writePhases(w, r)
		}
	}
	return nil
}

// writeRemarks writes what explains the verdicts besides the tables; without verbose, only what is unusual.
func writeRemarks(w io.Writer, r report.Report, verbose bool) {
	for i, p := range r.Phases {
		writeBreakingPoint(w, p)
		if verbose {
			writeConnections(w, p)
			writeFailures(w, p)
		}
		if i < len(r.Env.Phases) && (verbose || r.Count(report.Undecided) > 0) {
			writeThrottled(w, p, r.Env.Phases[i].End-r.Env.Phases[i].Start)
		}
	}
	if verbose || !r.Designed && r.Count(report.Refuted) > 0 { // designed experiments provoke most of it
		writeLog(w, r)
	}
	if verbose {
		writeDelivery(w, r)
		writeStartup(w, r)
	} else if r.Delivery.Note != "" {
		writeHanging(w, "\ndelivery: ", r.Delivery.Note)
	}
	writeFaults(w, r, verbose)
	if builds := r.Builds(); builds != "" {
		writeHanging(w, "\n", builds)
	}
	if r.Env.Interrupted != "" {
		writeHanging(w, "\nThe run was cut short: ", r.Env.Interrupted)
	}
}
