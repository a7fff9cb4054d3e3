package stack

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// StartupMessages returns the warnings and errors that the balancer has logged so far. It fails if the log cannot be
// read or a pattern is no regular expression.
func (r *Rig) StartupMessages(
	ctx context.Context, spec plan.Spec, log model.LogPatterns,
) ([]model.StartupMessage, error) {
	patterns, err := compilePatterns(log)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	err = r.Logs(ctx, spec.Name, &text)
	return patterns.startupMessages(spec, text.String(), false), err
}

// VersionLine returns the first line of a version command's output that has a digit.
func VersionLine(output string) string {
	for line := range strings.Lines(output) {
		if strings.ContainsAny(line, "0123456789") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return strings.TrimSpace(output)
}

// ansiEscape matches colour codes.
var ansiEscape = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// startupMessages returns the warnings and errors of a log, located in the user's files. If failed and the log has
// none, it returns every line.
func (f logPatterns) startupMessages(spec plan.Spec, log string, failed bool) []model.StartupMessage {
	var warnings, all []model.StartupMessage
	scanner := bufio.NewScanner(strings.NewReader(ansiEscape.ReplaceAllString(log, "")))
	for scanner.Scan() {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || f.noServer.MatchString(line) {
			continue
		}
		message := locate(spec, line)
		if f.warning.MatchString(line) {
			warnings = append(warnings, message)
		}
		all = append(all, message)
	}
	if failed && len(warnings) == 0 {
		return all
	}
	return warnings
}

// locate replaces paths in the container by the user's file names, and finds the position that a line names.
func locate(spec plan.Spec, line string) model.StartupMessage {
	message := model.StartupMessage{Text: line}
	for _, at := range slices.Sorted(maps.Keys(spec.Files)) {
		name := spec.Files[at]
		if _, after, ok := strings.Cut(message.Text, at+":"); ok {
			message.Pos.File = name
			_, _ = fmt.Sscanf(after, "%d", &message.Pos.Line)
		}
		message.Text = strings.ReplaceAll(message.Text, at, name)
	}
	return message
}
