package stack

import (
	"fmt"
	"regexp"

	"github.com/lbproof/lbproof/internal/model"
)

// logPatterns are the compiled model.LogPatterns that this package needs.
type logPatterns struct{ warning, noServer, prefix, requestDetail *regexp.Regexp }

// matchesNothing matches no line.
var matchesNothing = regexp.MustCompile(`[^\x00-\x{10FFFF}]`)

// compilePatterns compiles the patterns. A plan that somebody else wrote may have invalid ones.
func compilePatterns(from model.LogPatterns) (f logPatterns, err error) {
	for _, one := range []struct {
		name, text string
		to         **regexp.Regexp
	}{
		{"warning", from.Warning, &f.warning},
		{"no_server", from.NoServer, &f.noServer},
		{"prefix", from.Prefix, &f.prefix},
		{"request_detail", from.RequestDetail, &f.requestDetail},
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

// normalize removes the varying parts of a line: its timestamp and its request.
func (f logPatterns) normalize(line string) string {
	return f.requestDetail.ReplaceAllString(f.prefix.ReplaceAllString(line, "$1 "), "")
}
