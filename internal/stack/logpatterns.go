package stack

import (
	"fmt"
	"regexp"

	"github.com/lbproof/lbproof/internal/model"
)

// logPatterns are those of a balancer's log, as its Dialect has them.
type logPatterns struct{ complaint, backendless, timestamp, detail *regexp.Regexp }

// matchesNothing fits no line.
var matchesNothing = regexp.MustCompile(`[^\x00-\x{10FFFF}]`)

// compilePatterns fails where a form is no regular expression, as in a plan that somebody wrote.
func compilePatterns(from model.LogPatterns) (f logPatterns, err error) {
	for _, one := range []struct {
		name, text string
		to         **regexp.Regexp
	}{
		{"complaint", from.Warning, &f.complaint},
		{"backendless", from.NoServer, &f.backendless},
		{"stamp", from.Prefix, &f.timestamp},
		{"detail", from.RequestDetail, &f.detail},
	} {
		*one.to = matchesNothing
		if one.text == "" {
			continue
		}
		if *one.to, err = regexp.Compile(one.text); err != nil {
			return f, fmt.Errorf("config.dialect.log.%s: %w", one.name, err)
		}
	}
	return f, nil
}

// normalize is a line without what differs each time.
func (f logPatterns) normalize(line string) string {
	return f.detail.ReplaceAllString(f.timestamp.ReplaceAllString(line, "$1 "), "")
}
