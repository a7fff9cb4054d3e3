package reports

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// width is the number of columns of text output. It does not depend on the terminal, so that outputs can be compared.
const width = 80

// indent is the width of the column of labels: "   measured  ".
const indent = 13

// writeHead writes the first line of a finding: word, position in the configuration, and name, which goes to the next
// line if it does not fit.
func writeHead(w io.Writer, word, pos, name string) {
	head := strings.TrimSpace(word + "  " + pos)
	if utf8.RuneCountInString(head)+2+utf8.RuneCountInString(name) <= width {
		fmt.Fprintf(w, "%s  %s\n", head, name)
		return
	}
	fmt.Fprintf(w, "%s\n   %s\n", head, name)
}

// writeField writes a labelled text of a finding, wrapped; nothing if the text is empty.
func writeField(w io.Writer, label, text string) {
	if text == "" {
		return
	}
	if label == "" {
		writeIndented(w, "   ", "   ", text)
		return
	}
	writeIndented(w, fmt.Sprintf("   %-*s", indent-3, label), strings.Repeat(" ", indent), text)
}

// writeHanging writes a text after a lead and indents continuation lines by two.
func writeHanging(w io.Writer, lead, text string) { writeIndented(w, lead, "  ", text) }

// writeList writes a lead and a list of items, and breaks lines between items only.
func writeList(w io.Writer, lead string, items []string) {
	fmt.Fprint(w, lead)
	column := utf8.RuneCountInString(lead)
	for i, item := range items {
		if i < len(items)-1 {
			item += ","
		}
		long := utf8.RuneCountInString(item)
		switch {
		case i == 0:
		case column+1+long > width:
			fmt.Fprint(w, "\n  ")
			column = 2
		default:
			fmt.Fprint(w, " ")
			column++
		}
		fmt.Fprint(w, item)
		column += long
	}
	fmt.Fprintln(w)
}

// Row is a row of a list: a name and its description.
type Row struct{ Name, Text string }

// WriteRows writes a list in two columns, the texts wrapped. A row without a name continues the one above.
func WriteRows(out io.Writer, rows []Row) error {
	longest := 0
	for _, r := range rows {
		longest = max(longest, utf8.RuneCountInString(r.Name))
	}
	w := &strings.Builder{}
	for _, r := range rows {
		lead := fmt.Sprintf("  %-*s  ", longest, r.Name)
		writeIndented(w, lead, strings.Repeat(" ", utf8.RuneCountInString(lead)), r.Text)
	}
	return writeTrimmed(out, w.String())
}

// Wrap wraps the paragraphs of a text at 80 columns. Lines that begin with a space are unchanged.
func Wrap(text string) string {
	w := &strings.Builder{}
	paragraph := ""
	end := func() {
		if paragraph != "" {
			writeIndented(w, "", "", paragraph)
		}
		paragraph = ""
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" || line[0] == ' ' {
			end()
			fmt.Fprintln(w, line)
			continue
		}
		paragraph += " " + line
	}
	end()
	return strings.TrimRight(w.String(), "\n")
}

// writeIndented wraps each line of a text at width. A word longer than a line gets its own line.
func writeIndented(w io.Writer, first, rest, text string) {
	lead := first
	for line := range strings.SplitSeq(text, "\n") {
		column, empty := utf8.RuneCountInString(strings.TrimPrefix(lead, "\n")), true
		fmt.Fprint(w, lead)
		for word := range strings.FieldsSeq(line) {
			long := utf8.RuneCountInString(word)
			if !empty && column+1+long > width {
				fmt.Fprint(w, "\n", rest)
				column, empty = utf8.RuneCountInString(rest), true
			}
			if !empty {
				fmt.Fprint(w, " ")
				column++
			}
			fmt.Fprint(w, word)
			column, empty = column+long, false
		}
		fmt.Fprintln(w)
		lead = rest
	}
}

// writeTrimmed writes a text without spaces at the ends of its lines.
func writeTrimmed(w io.Writer, text string) error {
	for line := range strings.Lines(text) {
		if _, err := io.WriteString(w, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}
