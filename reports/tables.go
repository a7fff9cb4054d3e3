package reports

import (
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
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/units"
)

// writeProvenance writes the origin of the balancer's image, and the configuration that it ran.
func writeProvenance(w io.Writer, r report.Report) {
	env := r.Env
	for _, n := range env.Nodes {
		if n.Role == plan.Balancer {
			fmt.Fprintln(w)
			writeField(w, "balancer", env.Balancer)
			writeField(w, "image", n.Image+", "+n.Source)
			writeField(w, "config", fmt.Sprintf("sha256 %.12s; %d workers", env.ConfigSHA, env.Workers))
		}
	}
	writeField(w, "rates", fmt.Sprintf("alpha %g over all promises, beta %g", r.Alpha, r.Beta))
}

// writePhases writes a table of each phase's traffic as its clients saw it.
func writePhases(w io.Writer, r report.Report) error {
	var rows [][]string
	for _, p := range r.Phases {
		rows = append(rows, []string{
			p.Name, units.Number(p.Hits), units.Number(p.Errors), rate(p), millis(p.P50), millis(p.P99), millis(p.Max),
		})
	}
	fmt.Fprintln(w)
	head := []string{"traffic", "requests", "failed", "per second", "p50 ms", "p99 ms", "max ms"}
	return table(w, head, rows, 1, 2, 3, 4, 5, 6)
}

// writeSenders writes a table of each phase's load generator, and of the servers that responded.
func writeSenders(w io.Writer, r report.Report) error {
	var rows [][]string
	for _, p := range r.Phases {
		rows = append(rows, []string{
			p.Name, string(p.Engine), formatCounts(p.Servers),
			fmt.Sprintf("%.2f", p.CPU), millis(p.LagP99), units.Number(p.Connections),
		})
	}
	fmt.Fprintln(w)
	return table(w, []string{"sent", "engine", "responses from", "cores", "lag p99 ms", "connections"}, rows, 3, 4, 5)
}

// minFairnessResponses is the number of responses from which on a phase's fairness is printed.
const minFairnessResponses = 100

// writeFairness writes a table of how evenly each phase loaded each pool.
func writeFairness(w io.Writer, r report.Report) error {
	var rows [][]string
	for i, p := range r.Phases {
		if isFaulty(r, i) {
			continue // an outage makes it unfair on purpose
		}
		for _, f := range p.Fairness {
			if f.Answers >= minFairnessResponses {
				rows = append(rows, []string{
					p.Name, f.Pool, units.Number(f.Answers), jain(f),
					fmt.Sprintf("%.1f %% (%.1f–%.1f)", 100*f.CV, 100*f.LowCV, 100*f.HighCV),
				})
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	head := []string{"fairness", "pool", "responses", "Jain's index, weighted", "variation"}
	return table(w, head, rows, 2)
}

// isFaulty reports whether a fault was in force in a phase.
func isFaulty(r report.Report, phase int) bool {
	return slices.ContainsFunc(r.Env.Faults, func(f history.FaultWindow) bool { return f.Event.Phase == phase })
}

// jain formats the index with its interval, with enough digits to distinguish the ends of the interval.
func jain(f report.Fairness) string {
	digits := 4
	for digits < 9 && fmt.Sprintf("%.*f", digits, f.LowJain) == fmt.Sprintf("%.*f", digits, f.HighJain) {
		digits++
	}
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, f.Jain, digits, f.LowJain, digits, f.HighJain)
}

// writeContainers writes a table of each container's usage: the maxima over all phases, and the sums of bytes.
func writeContainers(w io.Writer, r report.Report) error {
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
		"container", "cores", "limit", "throttled", "MiB", "MiB in", "MiB out", "restarts",
	}
	return table(w, head, rows, 1, 2, 3, 4, 5, 6, 7)
}

// writeBreakingPoint writes the rate at which a phase broke, if it searches for that.
func writeBreakingPoint(w io.Writer, p report.Phase) {
	switch {
	case p.BreakingRate > 0:
		writeNote(w, p, "breaking point %s req/s (highest sustained: %s req/s)",
			units.Number(p.BreakingRate), units.Number(p.MaxGoodRate))
	case p.MaxGoodRate > 0:
		writeNote(w, p, "no breaking point (highest sustained: %s req/s)", units.Number(p.MaxGoodRate))
	}
}

// writeConnections writes the handshakes and connections of a phase.
func writeConnections(w io.Writer, p report.Phase) {
	if p.Handshakes > 0 {
		writeNote(w, p, "%s TLS handshakes, %s of them resumed, p50 %s ms, p99 %s ms",
			units.Number(p.Handshakes), units.Number(p.Resumed), millis(p.HandshakeP50), millis(p.HandshakeP99))
	}
	if p.Engine == plan.Vegeta && p.Connections > 0 {
		writeNote(w, p, "%s connections, %.1f requests (HTTP/2: streams) on each",
			units.Number(p.Connections), p.RequestsPerConnection)
	}
	if p.Engine == plan.WebSocket {
		writeNote(w, p, "%s connections held open, %s of them reopened",
			units.Number(p.Connections-p.Reopened), units.Number(p.Reopened))
	}
}

// writeNote writes a remark on a phase.
func writeNote(w io.Writer, p report.Phase, format string, args ...any) {
	writeHanging(w, "\n", p.Name+": "+fmt.Sprintf(format, args...))
}

// writeFailures writes how requests of a phase failed.
func writeFailures(w io.Writer, p report.Phase) {
	if len(p.Failures) == 0 {
		return
	}
	var kinds []string
	for _, f := range p.Failures {
		kinds = append(kinds,
			fmt.Sprintf("%s × %s (first after %.2f s)", units.Number(f.Count), f.Kind, f.First.Seconds()))
	}
	writeNote(w, p, "failed: %s; first failure with %s requests in flight, peak %s in flight, %s without failures",
		strings.Join(kinds, ", "), units.Number(p.FirstFailureInFlight),
		units.Number(p.MaxInFlight), units.Number(p.MaxInFlightOK))
}

// writeThrottled names the containers whose CPU limit slowed down a phase of the given duration.
func writeThrottled(w io.Writer, p report.Phase, took time.Duration) {
	var slowed []string
	for _, u := range p.Usage {
		if u.Limit > 0 && u.Throttled >= report.ThrottledShare && u.Fits(took) {
			slowed = append(slowed,
				fmt.Sprintf("%s %.0f %% of the time (limit %g cores)", u.Node, 100*u.Throttled, u.Limit))
		}
	}
	if len(slowed) > 0 {
		writeNote(w, p, "CPU-throttled (affects latencies): %s", strings.Join(slowed, ", "))
	}
}

// writeLog writes the problems that the balancer logged during traffic.
func writeLog(w io.Writer, r report.Report) {
	if len(r.Env.LogEntries) == 0 {
		return
	}
	fmt.Fprintln(w, "\nLogged by the balancer during the run:")
	for _, l := range r.Env.LogEntries {
		writeIndented(w, fmt.Sprintf("  %d × ", l.Count), "      ", l.Text)
	}
}

// writeDelivery writes the account of every request: the client's record joined with the backends' ledgers.
func writeDelivery(w io.Writer, r report.Report) {
	d := r.Delivery
	text := fmt.Sprintf("%s sent, %s arrived; ", units.Number(d.Sent), units.Number(d.Arrived)) +
		fmt.Sprintf("%d lost, %d unanswered (%d truncated), %d retried, %d duplicated, %d misrouted, %d unknown",
			d.Lost, d.Unanswered, d.Truncated, d.Retried, d.Duplicated, d.Misrouted, d.Unknown)
	if d.Note != "" {
		text += "\n" + d.Note
	}
	writeHanging(w, "\ndelivery: ", text)
}

// writeStartup writes what the balancer printed when it started.
func writeStartup(w io.Writer, r report.Report) {
	if len(r.Env.StartupMessages) == 0 {
		return
	}
	fmt.Fprintln(w, "\nBalancer startup messages:")
	for _, s := range r.Env.StartupMessages {
		writeIndented(w, "  ", "    ", s.Text)
	}
}

// writeFaults writes when each fault was in force; unless verbose, only those that were not as planned.
func writeFaults(w io.Writer, r report.Report, verbose bool) {
	first := true
	for _, m := range r.Env.Faults {
		if !verbose && m.Err == "" {
			continue
		}
		lead := "  "
		if first {
			lead, first = "\nFaults:\n  ", false
		}
		writeIndented(w, lead, "    ", faultLine(m))
	}
}

func faultLine(m history.FaultWindow) string {
	what := fmt.Sprintf("%s %s", m.Event.Fault, m.Event.Target)
	if m.Err != "" {
		return fmt.Sprintf("%s: not in force as planned: %s", what, m.Err)
	}
	return fmt.Sprintf("%s: in force from %.2f s to %.2f s", what, m.StartsBy.Seconds(), m.EndsBy.Seconds())
}

// formatCounts formats the number of responses per server.
func formatCounts(servers map[string]int) string {
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

// cellWidth limits the width of a text cell, in characters.
const cellWidth = 26

// table writes rows below a head; right numbers the columns to align right.
func table(w io.Writer, head []string, rows [][]string, right ...int) error {
	align := make([]tw.Align, len(head))
	for i := range align {
		align[i] = tw.AlignLeft
		if slices.Contains(right, i) {
			align[i] = tw.AlignRight
		}
	}
	widths := tw.Mapper[int, int]{}
	for i := range head {
		if !slices.Contains(right, i) {
			widths[i] = cellWidth
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
				ColMaxWidths: tw.CellWidth{PerColumn: widths},
			},
		}),
	)
	t.Header(head)
	if err := t.Bulk(rows); err != nil {
		return err
	}
	return t.Render()
}
