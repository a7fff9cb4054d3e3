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

// StartupMessages are the warnings and errors that the balancer has printed so far. They fail where its log cannot be read,
// or by its forms.
func (r *Rig) StartupMessages(ctx context.Context, spec plan.Spec, log model.LogPatterns) ([]model.StartupMessage, error) {
	told, err := compilePatterns(log)
	if err != nil {
		return nil, err
	}
	var said strings.Builder
	err = r.Logs(ctx, spec.Name, &said)
	return told.startupMessages(spec, said.String(), false), err
}

// VersionLine is the line of a version command's output that has the version in it.
func VersionLine(said string) string {
	for line := range strings.Lines(said) {
		if strings.ContainsAny(line, "0123456789") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return strings.TrimSpace(said)
}

// ansiEscape matches what makes a terminal's text colourful.
var ansiEscape = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// startupMessages are the warnings and errors of a log, with the user's own files and lines. Where all is asked for and
// none is marked as a complaint, the whole is one.
func (f logPatterns) startupMessages(spec plan.Spec, said string, all bool) []model.StartupMessage {
	var out, plain []model.StartupMessage
	scanner := bufio.NewScanner(strings.NewReader(ansiEscape.ReplaceAllString(said, "")))
	for scanner.Scan() {
		line := strings.TrimSpace(scanner.Text())
		if line == "" {
			continue
		}
		one := model.StartupMessage{Text: line}
		for _, at := range slices.Sorted(maps.Keys(spec.Files)) {
			name := spec.Files[at]
			for _, mark := range []string{at + ":"} {
				if _, after, ok := strings.Cut(one.Text, mark); ok {
					one.Pos.File = name
					_, _ = fmt.Sscanf(after, "%d", &one.Pos.Line)
				}
			}
			one.Text = strings.ReplaceAll(one.Text, at, name)
		}
		if f.backendless.MatchString(line) {
			continue
		}
		if f.complaint.MatchString(line) {
			out = append(out, one)
		}
		plain = append(plain, one)
	}
	if all && len(out) == 0 {
		return plain
	}
	return out
}
