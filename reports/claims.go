package reports

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/units"
)

// WriteReading writes what a configuration promises as text, findings first: what cannot work, the balancer's own
// answer, then the promises as one line per kind. If verbose, it lists each promise, what a run needs and the lines
// without a claim.
func WriteReading(out io.Writer, raw report.Reading, verbose bool) error {
	r := plain.Value(raw)
	w := &strings.Builder{}
	writeIndented(w, "", "  ", readingSummary(r))
	for _, p := range r.Problems {
		fmt.Fprintln(w)
		writeProblem(w, p)
	}
	r.NotAsked = plain.Lines(raw.NotAsked)
	writeAnswer(w, r)
	writePromises(w, r, verbose)
	writeNeeds(w, r.Needs, verbose)
	writeUnread(w, r.Unread, verbose)
	fmt.Fprintf(w, "\n%s\n", linesUsed(r.Lines))
	if !verbose {
		fmt.Fprintln(w, "--verbose lists each promise with its line and numbers, and the unused lines")
	}
	return writeTrimmed(out, w.String())
}

// readingSummary returns the first line: the numbers of promises and of parts that cannot work.
func readingSummary(r report.Reading) string {
	implied, open := 0, 0
	for _, p := range r.Claims {
		if p.Implicit {
			implied++
		}
		if p.Undecided != "" {
			open++
		}
	}
	text := fmt.Sprintf("%s: %s", r.Balancer, units.Plural(len(r.Claims), "promise"))
	if implied > 0 {
		text += fmt.Sprintf(", %s implied by defaults", units.Number(implied))
	}
	if open > 0 {
		text += fmt.Sprintf(", %s without an experiment", units.Number(open))
	}
	if n := len(r.Problems); n > 0 {
		return text + fmt.Sprintf("; %s cannot work", units.Plural(n, "part"))
	}
	return text + "; nothing that cannot work"
}

// linesUsed counts the lines of the configuration by their use.
func linesUsed(l report.Lines) string {
	return fmt.Sprintf("%s: %s make claims, %s support other claims, %s unused",
		units.Plural(l.All, "line"), units.Number(l.Promises), units.Number(l.Form), units.Number(l.Unread))
}

// writePromises writes the promises, explicit ones before those that defaults imply.
func writePromises(w io.Writer, r report.Reading, verbose bool) {
	for _, implied := range []bool{false, true} {
		var group []report.Promise
		for _, p := range r.Claims {
			if p.Implicit == implied {
				group = append(group, p)
			}
		}
		if len(group) == 0 {
			continue
		}
		title := "Promises"
		if implied {
			title = "Implied by defaults"
		}
		if !verbose {
			fmt.Fprintln(w)
			writeList(w, title+": ", promisesPerCheck(group))
			continue
		}
		fmt.Fprintf(w, "\n%s:\n", title)
		for _, p := range group {
			writePromise(w, p)
		}
	}
}

func promisesPerCheck(promises []report.Promise) []string {
	var of []plan.Check
	for _, p := range promises {
		of = append(of, p.Check)
	}
	return countPerCheck(of)
}

// countPerCheck counts claims by their check, in order of first occurrence: "weights 3", "headers 24".
func countPerCheck(of []plan.Check) []string {
	var order []plan.Check
	n := map[plan.Check]int{}
	for _, c := range of {
		if n[c] == 0 {
			order = append(order, c)
		}
		n[c]++
	}
	var parts []string
	for _, c := range order {
		parts = append(parts, fmt.Sprintf("%s %d", c, n[c]))
	}
	return parts
}

func writePromise(w io.Writer, p report.Promise) {
	fmt.Fprintf(w, "%s: %s\n", p.Pos, p.ID)
	field := func(lead, text string) {
		if text != "" {
			writeIndented(w, "    "+lead, "      ", text)
		}
	}
	field("", p.Text)
	field("assumes that ", strings.Join(p.Assumptions, "; "))
	field("predicts ", predictions(p.Params))
	field("undecided: ", p.Undecided)
}

// predictions formats the numbers of a claim with their units, sorted by name.
func predictions(params plan.Params) string {
	var numbers []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		numbers = append(numbers, amount(name, params[name]))
	}
	return strings.Join(numbers, ", ")
}

// amount formats a predicted number with its name and unit: "timeout = 60 s".
func amount(name plan.Param, value plan.Amount) string {
	label, text := string(name), ""
	switch name.Unit() {
	case plan.UnitSeconds:
		label, text = strings.TrimSuffix(label, "_s"), units.Decimal(float64(value))+" s"
	case plan.UnitMilliseconds:
		label, text = strings.TrimSuffix(label, "_ms"), units.Decimal(float64(value))+" ms"
	case plan.UnitPerSecond:
		label, text = strings.TrimSuffix(label, "_per_s"), units.Decimal(float64(value))+"/s"
	case plan.UnitBytes:
		text = units.Bytes(value.Int())
	case plan.UnitShare:
		text = units.PercentHundredths(float64(value))
	case plan.UnitCount:
		text = units.Decimal(float64(value))
	case plan.UnitCode:
		text = fmt.Sprint(value.Int())
	}
	if !value.IsLimited() || name == plan.ParamTimeout && value == 0 {
		text = "unlimited"
	}
	return fmt.Sprintf("%s = %s", label, text)
}

var effects = map[model.Effect]string{
	model.Rejected:   "the balancer does not start with it",
	model.Dropped:    "the balancer starts without it",
	model.Inert:      "it has no effect",
	model.Misleading: "it does not do what it seems to",
}

// writeNeeds writes what a run provides for the balancer: certificates, directories, services.
func writeNeeds(w io.Writer, needs []model.Need, verbose bool) {
	if len(needs) == 0 {
		return
	}
	fmt.Fprintln(w)
	if !verbose {
		var order []string
		n := map[string]int{}
		for _, need := range needs {
			kind := string(need.Kind)
			if n[kind]++; n[kind] == 1 {
				order = append(order, kind)
			}
		}
		var parts []string
		for _, kind := range order {
			parts = append(parts, fmt.Sprintf("%s %d", kind, n[kind]))
		}
		writeList(w, "Provided in a run: ", parts)
		return
	}
	fmt.Fprintln(w, "Provided in a run:")
	for _, n := range needs {
		what := n.Path
		if n.KeyFile != "" {
			what += " and " + n.KeyFile
		}
		if len(n.Hosts) > 0 {
			what += " for " + strings.Join(n.Hosts, ", ")
		}
		fmt.Fprintf(w, "%s: %s %s\n", n.Pos, n.Kind, what)
	}
}

// writeUnread writes the lines without a claim, grouped by the reason.
func writeUnread(w io.Writer, unread []model.Unread, verbose bool) {
	if len(unread) == 0 {
		return
	}
	if !verbose {
		return // linesUsed counts them
	}
	fmt.Fprint(w, "\nNo claims derived from:\n")
	var reasons []string
	for _, u := range unread {
		if !slices.Contains(reasons, u.Reason) {
			reasons = append(reasons, u.Reason)
		}
	}
	for _, why := range reasons {
		writeIndented(w, "  ", "    ", why+":")
		for _, u := range unread {
			if u.Reason == why {
				fmt.Fprintf(w, "%s: %s\n", u.Pos, u.Text)
			}
		}
	}
}

// writeAnswer writes the balancer's own answer to the configuration.
func writeAnswer(w io.Writer, r report.Reading) {
	a := r.Checker
	if a == nil {
		fmt.Fprintf(w, "\n%s was not run: %s\n", r.Balancer, r.NotAsked)
		return
	}
	version := versionOf(r.Balancer, a.Version)
	switch {
	case !a.Accepted:
		fmt.Fprintf(w, "\nREFUSED  %s rejects the configuration:\n", version)
	case !a.Started:
		fmt.Fprintf(w, "\nREFUSED  %s accepts the configuration but does not start:\n", version)
	case len(a.Messages) > 0:
		fmt.Fprintf(w, "\n%s starts with the configuration and prints:\n", version)
	default:
		fmt.Fprintf(w, "\n%s starts with the configuration\n", version)
	}
	for _, m := range a.Messages {
		fmt.Fprintf(w, "| %s\n", m.Text)
		for _, p := range r.Problems {
			if m.Pos.Line > 0 && p.Pos == m.Pos {
				writeField(w, "that is", p.Text)
				writeField(w, "instead", p.Instead)
			}
		}
	}
	for _, p := range r.Problems {
		if a.Accepted && p.Effect == model.Rejected {
			writeHanging(w, p.Pos.String()+": accepted by this version: ", p.Text)
		}
	}
}
