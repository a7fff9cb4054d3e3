package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/report"
)

// WriteReading writes for people what a configuration promises, what in it cannot work, and what is not read.
func WriteReading(out io.Writer, r report.Reading) error {
	r = plain.Value(r)
	w := &strings.Builder{}
	written, implicit := 0, 0
	for _, p := range r.Claims {
		if p.Implicit {
			implicit++
			continue
		}
		written++
		writePromise(w, p)
	}
	if implicit > 0 {
		fmt.Fprintf(w, "\nPromised by default, though nobody wrote it:\n")
		for _, p := range r.Claims {
			if p.Implicit {
				writePromise(w, p)
			}
		}
	}
	writeProblems(w, r)
	writeNeeds(w, r.Needs)
	writeUnread(w, r.Unread)
	fmt.Fprintf(w, "\n%d promises of %s, %d of them by default", written+implicit, r.Balancer, implicit)
	if n := undecided(r.Claims); n > 0 {
		fmt.Fprintf(w, ", %d that lbproof has no experiment for yet", n)
	}
	fmt.Fprintln(w)
	fmt.Fprintf(w, "%d lines: %d promise something, %d are part of what others promise, %d promise nothing (above)\n",
		r.Lines.All, r.Lines.Promises, r.Lines.Form, r.Lines.Unread)
	_, err := io.WriteString(out, w.String())
	return err
}

func undecided(claims []report.Promise) int {
	n := 0
	for _, p := range claims {
		if p.Undecided != "" {
			n++
		}
	}
	return n
}

func writePromise(w io.Writer, p report.Promise) {
	fmt.Fprintf(w, "%s: %s\n    %s\n", p.Pos, p.ID, p.Text)
	if len(p.Assumptions) > 0 {
		fmt.Fprintf(w, "    assuming that %s\n", strings.Join(p.Assumptions, "; and "))
	}
	var numbers []string
	for name, value := range p.Params {
		numbers = append(numbers, fmt.Sprintf("%s = %s", name, value))
	}
	slices.Sort(numbers)
	if len(numbers) > 0 {
		fmt.Fprintf(w, "    predicts %s\n", strings.Join(numbers, ", "))
	}
	if p.Undecided != "" {
		fmt.Fprintf(w, "    undecided: %s\n", p.Undecided)
	}
}

var effects = map[model.Effect]string{
	model.Rejected:   "the balancer does not start",
	model.Dropped:    "the balancer leaves it out",
	model.Inert:      "it has no effect",
	model.Misleading: "it does something else",
}

func writeProblems(w io.Writer, r report.Reading) {
	if len(r.Problems) == 0 {
		return
	}
	fmt.Fprintf(w, "\nWhat cannot work:\n")
	for _, p := range r.Problems {
		fmt.Fprintf(w, "%s: %s: %s\n    %s\n", p.Pos, p.Effect, effects[p.Effect], p.Text)
		if p.Instead != "" {
			fmt.Fprintf(w, "    instead: %s\n", p.Instead)
		}
		if p.FixedIn != "" {
			fmt.Fprintf(w, "    until %s %s\n", r.Balancer, p.FixedIn)
		}
	}
}

func writeNeeds(w io.Writer, needs []model.Need) {
	if len(needs) == 0 {
		return
	}
	fmt.Fprintf(w, "\nWhat lbproof makes for it in a run:\n")
	for _, n := range needs {
		what := n.Path
		if n.KeyFile != "" {
			what += " and " + n.KeyFile
		}
		if len(n.Hosts) > 0 {
			what += " for " + strings.Join(n.Hosts, ", ")
		}
		fmt.Fprintf(w, "%s: %s %s\n", n.Pos, n.Kind, what)
	}
}

// writeUnread groups what is not read by the reason.
func writeUnread(w io.Writer, unread []model.Unread) {
	if len(unread) == 0 {
		return
	}
	fmt.Fprintf(w, "\nNo promise is drawn from:\n")
	var reasons []string
	for _, u := range unread {
		if !slices.Contains(reasons, u.Reason) {
			reasons = append(reasons, u.Reason)
		}
	}
	for _, why := range reasons {
		fmt.Fprintf(w, "  %s:\n", why)
		for _, u := range unread {
			if u.Reason == why {
				fmt.Fprintf(w, "%s: %s\n", u.Pos, u.Text)
			}
		}
	}
}

// WriteAnswer writes what the balancer itself said to the configuration.
func WriteAnswer(out io.Writer, r report.Reading) error {
	why := plain.Lines(r.NotAsked)
	r = plain.Value(r)
	w, a := &strings.Builder{}, r.Checker
	switch {
	case a == nil:
		fmt.Fprintf(w, "\n%s itself was not asked: %s\n", r.Balancer, why)
	case !a.Accepted:
		fmt.Fprintf(w, "\n%s refuses the configuration:\n", a.Version)
	case !a.Started:
		fmt.Fprintf(w, "\n%s accepts the configuration, and does not start with it:\n", a.Version)
	case len(a.Messages) > 0:
		fmt.Fprintf(w, "\n%s starts with the configuration, and says:\n", a.Version)
	default:
		fmt.Fprintf(w, "\n%s starts with the configuration, without a complaint\n", a.Version)
	}
	if a != nil {
		for _, s := range a.Messages {
			fmt.Fprintf(w, "| %s\n", s.Text)
			for _, p := range r.Problems {
				if s.Pos.Line > 0 && p.Pos == s.Pos {
					fmt.Fprintf(w, "    that is: %s\n", p.Text)
					if p.Instead != "" {
						fmt.Fprintf(w, "    instead: %s\n", p.Instead)
					}
				}
			}
		}
	}
	for _, p := range r.Problems {
		if a != nil && a.Accepted && p.Effect == model.Rejected {
			fmt.Fprintf(w, "%s: this version takes it all the same: %s\n", p.Pos, p.Text)
		}
	}
	_, err := io.WriteString(out, w.String())
	return err
}
