package stack

import (
	"fmt"
	"regexp"

	"github.com/lbproof/lbproof/internal/model"
)

// forms are those of a balancer's log, as its Dialect has them.
type forms struct{ complaint, backendless, stamp, detail *regexp.Regexp }

// none fits no line.
var none = regexp.MustCompile(`[^\x00-\x{10FFFF}]`)

// readForms fails where a form is no regular expression, as in a plan that somebody wrote.
func readForms(from model.LogForms) (f forms, err error) {
	for _, one := range []struct {
		name, text string
		to         **regexp.Regexp
	}{
		{"complaint", from.Complaint, &f.complaint},
		{"backendless", from.Backendless, &f.backendless},
		{"stamp", from.Stamp, &f.stamp},
		{"detail", from.Detail, &f.detail},
	} {
		*one.to = none
		if one.text == "" {
			continue
		}
		if *one.to, err = regexp.Compile(one.text); err != nil {
			return f, fmt.Errorf("config.dialect.log.%s: %w", one.name, err)
		}
	}
	return f, nil
}

// short is a line without what differs each time.
func (f forms) short(line string) string {
	return f.detail.ReplaceAllString(f.stamp.ReplaceAllString(line, "$1 "), "")
}
