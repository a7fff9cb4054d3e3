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

// maxLogEntries bounds how many distinct messages are kept.
const maxLogEntries = 10

var digits = regexp.MustCompile(`[0-9]+`)

// SummarizeLog counts the warnings and errors in a balancer's log, the most frequent first. Lines that differ only in
// numbers count as one. Startup messages are left out.
func SummarizeLog(file string, lines model.LogPatterns, startup []model.StartupMessage) ([]history.LogEntry, error) {
	patterns, err := compilePatterns(lines)
	if err != nil {
		return nil, err
	}
	log, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the balancer's log: %w", err)
	}
	defer log.Close()
	return patterns.summarize(log, startup)
}

func (f logPatterns) summarize(log io.Reader, startup []model.StartupMessage) ([]history.LogEntry, error) {
	entries := map[string]*history.LogEntry{} // nil for startup messages
	keyOf := func(line string) string { return digits.ReplaceAllString(line, "#") }
	for _, s := range startup {
		entries[keyOf(f.normalize(s.Text))] = nil
	}
	scanner := bufio.NewScanner(log)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line := ansiEscape.ReplaceAllString(scanner.Text(), "")
		if !f.warning.MatchString(line) {
			continue
		}
		line = f.normalize(strings.TrimSpace(line))
		entry, known := entries[keyOf(line)]
		switch {
		case !known:
			entries[keyOf(line)] = &history.LogEntry{Text: line, Count: 1}
		case entry != nil:
			entry.Count++
		}
	}
	var out []history.LogEntry
	for _, entry := range entries {
		if entry != nil {
			out = append(out, *entry)
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
