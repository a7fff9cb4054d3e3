package reports

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
)

var terminal = Format{
	Name:  "terminal",
	Doc:   "tables for people: each promise with its line, verdict, evidence and power, then the traffic",
	Write: writeTerminal,
}

func writeTerminal(out io.Writer, r report.Report) error {
	r = plain.Value(r)
	w := &strings.Builder{}
	fmt.Fprintf(w, "%s on %s (%s)\n\n", r.Name, r.Env.Balancer, provenance(r.Env))
	if err := errors.Join(writePromises(w, r), writePhases(w, r), containers(w, r), fairness(w, r)); err != nil {
		return err
	}
	remarks(w, r)
	fmt.Fprintf(w, "\n%s (alpha %g over all promises, beta %g)\n", Summary(r), r.Alpha, r.Beta)
	return trimmed(out, w.String())
}

// writePromises says what came of each promise.
func writePromises(w io.Writer, r report.Report) error {
	var rows [][]string
	for _, v := range r.Verdicts {
		if v.Outside {
			continue
		}
		where := fmt.Sprintf("%s\nn = %d", v.Claim.Pos, v.N)
		rows = append(rows, []string{strings.ToUpper(v.Outcome.String()), promise(v), where, evidence(v)})
	}
	return table(w, []string{"verdict", "promise", "where", "measured, predicted"}, rows)
}

// writePhases says how each phase of traffic went.
func writePhases(w io.Writer, r report.Report) error {
	var rows [][]string
	for _, p := range r.Phases {
		rows = append(rows, []string{
			p.Name + "\n" + string(p.Engine), fmt.Sprint(p.Hits), fmt.Sprint(p.Errors), shares(p.Servers), rate(p),
			millis(p.P50), millis(p.P99), millis(p.Max), millis(p.LagP99), fmt.Sprintf("%.2f", p.CPU), fmt.Sprint(p.Conns),
		})
	}
	fmt.Fprintln(w)
	head := []string{
		"traffic", "hits", "errors", "answered by", "per second", "p50 ms", "p99 ms", "max ms",
		"sender lag p99 ms", "sender cores", "connections",
	}
	return table(w, head, rows, 1, 2, 4, 5, 6, 7, 8, 9, 10)
}

// telling is how many answers make a phase's fairness worth a line.
const telling = 100

// fairness says how even each pool was, phase by phase.
func fairness(w io.Writer, r report.Report) error {
	var rows [][]string
	for _, p := range r.Phases {
		for _, f := range p.Fairness {
			if f.Answers >= telling {
				rows = append(rows, []string{
					p.Name, f.Pool, fmt.Sprint(f.Answers), fmt.Sprintf("%.4f (%.4f to %.4f)", f.Jain, f.LowJain, f.HighJain),
					fmt.Sprintf("%.1f %% (%.1f to %.1f)", 100*f.CV, 100*f.LowCV, 100*f.HighCV),
				})
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	head := []string{"fairness in", "pool", "answers", "Jain's index, by weight", "coefficient of variation"}
	return table(w, head, rows, 2)
}

// containers says what each container used, in the phase in which it used most.
func containers(w io.Writer, r report.Report) error {
	most := map[string]report.Usage{}
	for _, p := range r.Phases {
		for _, u := range p.Usage {
			m := most[u.Node]
			most[u.Node] = report.Usage{
				Node:      u.Node,
				CPU:       max(m.CPU, u.CPU),
				Limit:     u.Limit,
				Throttled: max(m.Throttled, u.Throttled),
				Memory:    max(m.Memory, u.Memory),
				Received:  m.Received + u.Received,
				Sent:      m.Sent + u.Sent,
				Restarts:  m.Restarts + u.Restarts,
			}
		}
	}
	if len(most) == 0 {
		return nil
	}
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(most)) {
		u := most[name]
		limit, throttled := "", ""
		if u.Limit > 0 {
			limit, throttled = fmt.Sprintf("%g", u.Limit), fmt.Sprintf("%.0f %%", 100*u.Throttled)
		}
		mib := func(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }
		rows = append(rows, []string{
			u.Node, fmt.Sprintf("%.2f", u.CPU), limit, throttled,
			mib(u.Memory), mib(u.Received), mib(u.Sent), fmt.Sprint(u.Restarts),
		})
	}
	fmt.Fprintln(w)
	head := []string{
		"container", "most cores", "limit", "most throttled",
		"most MiB", "received MiB", "sent MiB", "restarts",
	}
	return table(w, head, rows, 1, 2, 3, 4, 5, 6, 7)
}

// traffic is what the tables have no column for.
func traffic(w io.Writer, r report.Report) {
	for i, p := range r.Phases {
		writeConnections(w, p)
		writeFailures(w, p)
		if i < len(r.Env.Phases) {
			writeThrottled(w, p, r.Env.Phases[i].End-r.Env.Phases[i].Start)
		}
		switch {
		case p.Broke > 0:
			fmt.Fprintf(w, "\n%s: broke in a second with %d requests due; the most that it bore in one was %d\n",
				p.Name, p.Broke, p.Bore)
		case p.Bore > 0:
			fmt.Fprintf(w, "\n%s: did not break; the most requests due in one second were %d\n", p.Name, p.Bore)
		}
	}
}

// writeConnections tells of a phase's handshakes and connections.
func writeConnections(w io.Writer, p report.Phase) {
	if p.Handshakes > 0 {
		fmt.Fprintf(w, "\n%s: %d TLS handshakes, %d of them resumed, p50 %s ms, p99 %s ms\n",
			p.Name, p.Handshakes, p.Resumed, millis(p.ShakeP50), millis(p.ShakeP99))
	}
	if p.Engine == plan.Vegeta && p.Conns > 0 {
		fmt.Fprintf(w, "\n%s: %d connections, %.1f requests (HTTP/2: streams) on each\n", p.Name, p.Conns, p.PerConn)
	}
	if p.Engine == plan.WebSocket {
		fmt.Fprintf(w, "\n%s: %d connections were held open; %d of them ended and were opened again\n",
			p.Name, p.Conns-p.Reopened, p.Reopened)
	}
}

// writeFailures tells how a phase's requests failed, if some did.
func writeFailures(w io.Writer, p report.Phase) {
	if len(p.Failures) == 0 {
		return
	}
	var kinds []string
	for _, f := range p.Failures {
		kinds = append(kinds, fmt.Sprintf("%d × %s, the first after %.2f s", f.Count, f.Kind, f.First.Seconds()))
	}
	fmt.Fprintf(w, "\n%s: failed: %s; from %d requests in flight on, of up to %d; at most %d were answered at once\n",
		p.Name, strings.Join(kinds, "; "), p.FailedFrom, p.Flight, p.Carried)
}

// writeThrottled names the containers that their limits held back in a phase that took so long.
func writeThrottled(w io.Writer, p report.Phase, took time.Duration) {
	var held []string
	for _, u := range p.Usage {
		if u.Limit > 0 && u.Throttled >= report.Held && u.Fits(took) {
			held = append(held, fmt.Sprintf("%s %.0f %% of the time (at %g cores)", u.Node, 100*u.Throttled, u.Limit))
		}
	}
	if len(held) > 0 {
		fmt.Fprintf(w, "\n%s: throttled by their limits, which their latencies show: %s\n",
			p.Name, strings.Join(held, ", "))
	}
}

// accounts is what the balancer logged, and the joined ledgers.
func accounts(w io.Writer, r report.Report) {
	if len(r.Env.Logged) > 0 {
		fmt.Fprintln(w, "\nunder the traffic the balancer logged:")
		for _, l := range r.Env.Logged {
			fmt.Fprintf(w, " %d × %s\n", l.Count, l.Text)
		}
	}
	b := r.Ledger
	fmt.Fprintf(w, "\nledger: %d sent, %d arrived; ", b.Sent, b.Arrived)
	fmt.Fprintf(w, "%d lost, %d unanswered (%d truncated), %d retried, %d duplicated, %d misrouted, %d unknown\n",
		b.Lost, b.Unanswered, b.Truncated, b.Retried, b.Duplicated, b.Misrouted, b.Unknown)
	if b.Note != "" {
		fmt.Fprintln(w, " "+b.Note)
	}
}

// remarks is what else there is to know of a run.
func remarks(w io.Writer, r report.Report) {
	traffic(w, r)
	accounts(w, r)
	if len(r.Env.Said) > 0 {
		fmt.Fprintln(w, "\nat its start the balancer said:")
		for _, s := range r.Env.Said {
			fmt.Fprintln(w, " "+s.Text)
		}
	}
	for _, m := range r.Env.Marks {
		fmt.Fprintln(w, "\n"+markLine(m))
	}
	if r.Outside() > 0 {
		fmt.Fprintf(w, "\nundecided, because %s does not look at them:\n", r.Name)
		for _, v := range r.Verdicts {
			if v.Outside {
				fmt.Fprintf(w, " %s: %s (%s)\n", v.Claim.Pos, v.Claim.ID, v.Reason)
			}
		}
	}
	if builds := r.Builds(); builds != "" {
		fmt.Fprintln(w, "\n"+builds)
	}
	if r.Env.Interrupted != "" {
		fmt.Fprintf(w, "\nThe run was cut short: %s\n", r.Env.Interrupted)
	}
}

// trimmed writes a text without the spaces that tables put at the ends of lines.
func trimmed(w io.Writer, text string) error {
	for line := range strings.Lines(text) {
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// markLine tells of one fault.
func markLine(m history.Mark) string {
	what := fmt.Sprintf("fault: %s %s", m.Event.Fault, m.Event.Target)
	if m.Err != "" {
		return fmt.Sprintf("%s was not in force as planned: %s", what, m.Err)
	}
	return fmt.Sprintf("%s, in force from %.2f s to %.2f s", what, m.From.Seconds(), m.To.Seconds())
}

// provenance says where the balancer's image came from and what it ran.
func provenance(env history.Environment) string {
	for _, n := range env.Nodes {
		if n.Role == plan.Balancer {
			return fmt.Sprintf("image %s, %s; configuration sha256 %.12s; %d workers",
				n.Image, n.Source, env.ConfigSHA, env.Workers)
		}
	}
	return "no container"
}

// promise is the sentence, and what the run would have caught or why it says less.
func promise(v report.Verdict) string {
	switch {
	case v.Power != "":
		return strings.TrimSuffix(v.Claim.Text+"\n"+v.Power+"\n"+v.Reason, "\n")
	case v.Reason != "":
		return v.Claim.Text + "\n" + strings.Join(append([]string{v.Reason}, v.Counter[min(1, len(v.Counter)):]...), "\n")
	}
	return v.Claim.Text
}

// evidence is measured over predicted.
func evidence(v report.Verdict) string {
	if v.Measured == "" {
		return ""
	}
	return v.Measured + "\n" + v.Predicted
}

// shares prints who answered how often.
func shares(servers map[string]int) string {
	var parts []string
	for name, n := range servers {
		parts = append(parts, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, "\n")
}

func rate(p report.Phase) string {
	if p.Offered > 0 {
		return fmt.Sprintf("%.1f of %g", p.Achieved, p.Offered)
	}
	return fmt.Sprintf("%.0f", p.Achieved)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

// Widths of the cells that wrap, in characters.
const (
	promiseWidth  = 50
	evidenceWidth = 36
)

// table writes rows under a head; the numbered columns are flushed right.
func table(w io.Writer, head []string, rows [][]string, right ...int) error {
	align := make([]tw.Align, len(head))
	for i := range align {
		align[i] = tw.AlignLeft
		if slices.Contains(right, i) {
			align[i] = tw.AlignRight
		}
	}
	t := tablewriter.NewTable(w,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Separators: tw.Separators{BetweenColumns: tw.Off, BetweenRows: tw.Off}},
		})),
		tablewriter.WithConfig(tablewriter.Config{
			Header: tw.CellConfig{
				Alignment:  tw.CellAlignment{PerColumn: align},
				Formatting: tw.CellFormatting{AutoFormat: tw.Off},
			},
			Row: tw.CellConfig{
				Alignment:    tw.CellAlignment{PerColumn: align},
				Formatting:   tw.CellFormatting{AutoWrap: tw.WrapNormal},
				ColMaxWidths: tw.CellWidth{PerColumn: tw.Mapper[int, int]{1: promiseWidth, 3: evidenceWidth}},
			},
		}),
	)
	t.Header(head)
	if err := t.Bulk(rows); err != nil {
		return err
	}
	return t.Render()
}
