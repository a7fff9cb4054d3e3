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

// maxTroubles bounds how many kinds of trouble are told.
const maxTroubles = 10

var digits = regexp.MustCompile(`[0-9]+`)

// Troubles sums up the lines of a balancer's log that tell of trouble: those that differ in nothing but numbers are
// one. What it said at its start is left out.
func Troubles(file string, lines model.LogForms, said []model.Said) ([]history.Logged, error) {
	told, err := readForms(lines)
	if err != nil {
		return nil, err
	}
	log, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the balancer's log: %w", err)
	}
	defer log.Close()
	return told.troubles(log, said)
}

func (f forms) troubles(log io.Reader, said []model.Said) ([]history.Logged, error) {
	known := map[string]*history.Logged{}
	kind := func(line string) string { return digits.ReplaceAllString(line, "#") }
	for _, s := range said {
		known[kind(f.short(s.Text))] = nil
	}
	scanner := bufio.NewScanner(log)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line := colour.ReplaceAllString(scanner.Text(), "")
		if !f.complaint.MatchString(line) {
			continue
		}
		line = f.short(strings.TrimSpace(line))
		one, seen := known[kind(line)]
		switch {
		case !seen:
			known[kind(line)] = &history.Logged{Text: line, Count: 1}
		case one != nil:
			one.Count++
		}
	}
	var out []history.Logged
	for _, one := range known {
		if one != nil {
			out = append(out, *one)
		}
	}
	slices.SortFunc(out, func(a, b history.Logged) int {
		if a.Count != b.Count {
			return b.Count - a.Count
		}
		return strings.Compare(a.Text, b.Text)
	})
	return out[:min(len(out), maxTroubles)], scanner.Err()
}
