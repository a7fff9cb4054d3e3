package stack

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
)

// maxLogEntries bounds how many kinds of trouble are told.
const maxLogEntries = 10

var digits = regexp.MustCompile(`[0-9]+`)

// SummarizeLog sums up the lines of a balancer's log that tell of trouble: those that differ in nothing but numbers are
// one. What it said at its start is left out.
func SummarizeLog(file string, lines model.LogPatterns, said []model.StartupMessage) ([]history.LogEntry, error) {
	told, err := compilePatterns(lines)
	if err != nil {
		return nil, err
	}
	log, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the balancer's log: %w", err)
	}
	defer log.Close()
	return told.summarize(log, said)
}

func (f logPatterns) summarize(log io.Reader, said []model.StartupMessage) ([]history.LogEntry, error) {
	known := map[string]*history.LogEntry{}
	kind := func(line string) string { return digits.ReplaceAllString(line, "#") }
	for _, s := range said {
		known[kind(f.normalize(s.Text))] = nil
	}
	scanner := bufio.NewScanner(log)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line := ansiEscape.ReplaceAllString(scanner.Text(), "")
		if !f.complaint.MatchString(line) {
			continue
		}
		line = f.normalize(strings.TrimSpace(line))
		one, seen := known[kind(line)]
		switch {
		case !seen:
			known[kind(line)] = &history.LogEntry{Text: line, Count: 1}
		case one != nil:
			one.Count++
		}
	}
	var out []history.LogEntry
	for _, one := range known {
		if one != nil {
			out = append(out, *one)
		}
	}
	slices.SortFunc(out, func(a, b history.LogEntry) int {
		if a.Count != b.Count {
			return b.Count - a.Count
		}
		return strings.Compare(a.Text, b.Text)
	})
	return out[:min(len(out), maxLogEntries)], scanner.Err()
}
