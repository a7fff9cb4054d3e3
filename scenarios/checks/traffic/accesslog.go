package traffic

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var AccessLog = check.Check{
	Name: plan.CheckLog,
	Doc:  "Every request is logged once, in the configured file and format; routes without a log write no line.",
	Law: "requests carry a mark in their query: one missing or extra line with that mark refutes, and so does one with " +
		"another format or status",
	Claims: func(cfg model.Config) []plan.Claim {
		found := check.GroupRoutes(cfg, func(r model.Route) []model.Log { return r.Logs },
			func(l model.Log) string { return fmt.Sprint(l.Pos) })
		var claims []plan.Claim
		for _, g := range found {
			text := fmt.Sprintf("Every request to %s is logged once in %s, with its status.", g.Paths(), g.What.File)
			if g.What.File == "" {
				text = fmt.Sprintf("Requests to %s are not logged.", g.Paths())
			}
			claims = append(claims, check.NewClaim(plan.CheckLog, g.Subject(), g.What.File, g.What.Pos, text))
		}
		return check.DistinctIDs(claims)
	},
	Requirements: func(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
		all := check.ProbeRequirements(logProbes, cfg, claim)
		for i := range all {
			all[i].Detects = "requests not logged exactly once"
		}
		return all
	},
	Judge: judgeLog,
}

// claimedLog returns the log that a claim is about.
func claimedLog(cfg model.Config, claim plan.Claim) (log model.Log, ok bool) {
	for _, r := range cfg.Routes {
		if i := slices.IndexFunc(r.Logs, func(l model.Log) bool { return l.Pos == claim.Pos }); i >= 0 {
			return r.Logs[i], true
		}
	}
	return model.Log{}, false
}

// logsQuery reports whether a log line shows the query of its request.
func logsQuery(log model.Log) bool {
	return slices.ContainsFunc(log.Format.Pieces, func(p model.Piece) bool {
		return slices.Contains([]model.Variable{model.RequestLine, model.URI, model.Query}, p.Variable)
	})
}

// logProbes returns requests with a unique mark each; only the status of their responses matters.
func logProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	log, _ := claimedLog(cfg, claim)
	if log.File != "" && !logsQuery(log) {
		return nil, "the log format does not identify requests"
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(claim.ID))
	matches := func(r model.Route) bool {
		return slices.ContainsFunc(r.Logs, func(l model.Log) bool { return l.Pos == claim.Pos })
	}
	for _, r := range check.CandidateRoutes(cfg, claim, matches) {
		codes := []string{"status=200", "status=404"}
		if r.Pool == "" {
			codes = codes[:1]
		}
		for _, spec := range codes {
			request, _ := check.RequestWithSpec(cfg, r, spec)
			if request.Header["Upgrade"] != "" {
				continue // a tunnel is logged when it ends
			}
			mark := fmt.Sprintf("%s%08x-%d", history.LogMark, hash.Sum32(), len(probes))
			if request.Path += "?" + mark; strings.Count(request.Path, "?") > 1 {
				request.Path = strings.Replace(request.Path, "?"+mark, "&"+mark, 1)
			}
			probes = append(probes, check.Probe{Case: "request marked " + mark, Kind: plan.KindProbes, Request: request})
		}
	}
	return probes, ""
}

var logMarkPattern = regexp.MustCompile(regexp.QuoteMeta(history.LogMark) + `[0-9a-f]+-[0-9]+`)

// judgeLog compares the marked lines of the log with the responses to the requests with the same marks.
func judgeLog(claim plan.Claim, h history.History) check.Finding {
	log, _ := claimedLog(h.Plan.Config, claim)
	probes, untestable := logProbes(h.Plan.Config, claim)
	f := check.Finding{
		Untestable: untestable, Need: check.Repetitions * len(probes),
		Test: "marked log lines compared with the responses to the marked requests",
	}
	if len(probes) == 0 {
		f.Inconclusive = check.NoExperiment + ": no request can be marked"
		return f
	}
	answered, unknown := statusesByMark(h)
	written := linesByMark(log, h.Env.AccessLog)
	var wrong check.Examples
	for _, q := range probes {
		mark := logMarkPattern.FindString(q.Request.Path)
		if unknown[mark] {
			continue
		}
		f.N += min(len(answered[mark]), check.Repetitions)
		if what := describeLogMismatch(log, written[mark], answered[mark]); what != "" {
			wrong.Add("%s: %s", check.RequestText(q.Request), what)
		}
	}
	f.Predicted = "one line per response"
	if log.File == "" {
		f.Predicted = "no line"
	}
	f.Measured = fmt.Sprintf("%s of %s as configured", units.Number(len(probes)), units.Plural(len(probes), "request"))
	if wrong.Total > 0 {
		f.Measured = fmt.Sprintf("%s of %s not as configured",
			units.Number(wrong.Total), units.Plural(len(probes), "request"))
	}
	f.Power = "detects missing, repeated or malformed lines and wrong statuses"
	if f.Inconclusive = check.WhyNodeExited(h); f.Inconclusive == "" {
		f.CounterExamples = wrong.List()
	}
	return f
}

// statusesByMark returns the responses to marked requests, by mark; unknown holds the marks of requests without a
// known status.
func statusesByMark(h history.History) (answered map[string][]string, unknown map[string]bool) {
	answered, unknown = map[string][]string{}, map[string]bool{}
	find := check.RouteFinder(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil {
			continue
		}
		switch mark := logMarkPattern.FindString(j.Request.Path); {
		case mark == "" || hit.Err == history.Tester:
		case hit.Err != "":
			unknown[mark] = true
		default:
			answered[mark] = append(answered[mark], strconv.Itoa(hit.Code))
		}
	}
	return answered, unknown
}

// linesByMark returns the lines of a log by mark; of every log if there must be none.
func linesByMark(log model.Log, all []history.AccessLogLine) map[string][]string {
	by := map[string][]string{}
	for _, l := range all {
		if mark := logMarkPattern.FindString(l.Text); log.File == "" || l.File == log.File {
			by[mark] = append(by[mark], l.Text)
		}
	}
	return by
}

// describeLogMismatch explains how the lines of a mark differ from its responses; "" if they agree.
func describeLogMismatch(log model.Log, lines, statuses []string) string {
	switch {
	case log.File == "" && len(lines) > 0:
		return "unexpected line: " + lines[0]
	case log.File == "":
		return ""
	case len(lines) != len(statuses):
		return fmt.Sprintf("%s answered, but %s written",
			units.Plural(len(statuses), "request"), units.Plural(len(lines), "line"))
	}
	form, status := linePattern(log.Format)
	var logged []string
	for _, line := range lines {
		m := form.FindStringSubmatch(line)
		if m == nil {
			return "line does not match the configured format: " + line
		}
		if status > 0 {
			logged = append(logged, m[status])
		}
	}
	slices.Sort(logged)
	if statuses = slices.Sorted(slices.Values(statuses)); status > 0 && !slices.Equal(logged, statuses) {
		return fmt.Sprintf("responses have status %s, log lines have %s",
			strings.Join(statuses, ", "), strings.Join(logged, ", "))
	}
	return ""
}

// linePattern returns an expression for the lines of a format, and the number of the group with the status; 0 if the
// format has none.
func linePattern(format model.Template) (form *regexp.Regexp, status int) {
	var b strings.Builder
	b.WriteString(`(?s)^`)
	for _, p := range format.Pieces {
		switch {
		case p.Variable == "":
			b.WriteString(regexp.QuoteMeta(p.Text))
		case p.Variable == model.ResponseStatus && status == 0:
			b.WriteString(`(\d+)`)
			status = 1
		default:
			b.WriteString(`.*?`)
		}
	}
	b.WriteString(`$`)
	return regexp.MustCompile(b.String()), status
}
