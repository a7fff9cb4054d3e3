package reading

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/source"
)

// HasLinePrefix says whether a line of the text begins with one of the words, comments aside.
func HasLinePrefix(text string, words ...string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimLeft(line, " \t")
		for _, w := range words {
			if strings.HasPrefix(line, w) {
				return true
			}
		}
	}
	return false
}

// ReadText reads a configuration file and refuses what is no text, with the line.
func ReadText(fsys fs.FS, name string) ([]byte, error) {
	text, err := fs.ReadFile(fsys, name)
	var large *source.TooLargeError
	switch {
	case errors.As(err, &large):
		return nil, fmt.Errorf("%s:1: %w: this is no configuration", name, large)
	case err != nil:
		return nil, fmt.Errorf("read configuration %s: %w", name, UnwrapPathError(err))
	}
	return text, checkEncoding(name, text)
}

// byteOrderMarks are what files in other encodings begin with.
var byteOrderMarks = map[string]string{
	"\xff\xfe": "UTF-16", "\xfe\xff": "UTF-16", "\xef\xbb\xbf": "UTF-8 with a byte order mark",
}

// checkEncoding says, with file and line, why content is no text that a balancer could read.
func checkEncoding(name string, text []byte) error {
	at := func(offset int) model.Pos {
		return model.Pos{File: name, Line: 1 + bytes.Count(text[:offset], []byte("\n"))}
	}
	for mark, encoding := range byteOrderMarks {
		if bytes.HasPrefix(text, []byte(mark)) {
			return fmt.Errorf("%s: the file is %s, which no balancer reads: save it as plain UTF-8", at(0), encoding)
		}
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return fmt.Errorf("%s: a NUL byte: this is no configuration, or a part of it was overwritten", at(i))
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return fmt.Errorf("%s: the byte %#x is no UTF-8: save the file as UTF-8", at(i), text[i])
		}
		i += size
	}
	return nil
}

// UnwrapPathError is an error without the operation and path that its wrapper repeats.
func UnwrapPathError(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// CheckDepth reports a text whose brackets are nested deeper than any configuration's: its reader would follow them
// with a stack as deep. A quote begins, and a comment, after one of between.
func CheckDepth(name string, text []byte, opening, closing, between string) error {
	depth, line, begins, quote := 0, 1, true, byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\n' {
			line++
		}
		switch {
		case c == '\\':
			i++
			if i < len(text) && text[i] == '\n' {
				line++
			}
			begins = false
			continue
		case quote != 0 && c != quoteEnd(quote):
			continue
		case quote != 0:
			quote = 0
		case begins && strings.IndexByte(`"'#`, c) >= 0:
			quote = c
			continue
		case strings.IndexByte(opening, c) >= 0:
			depth++
		case strings.IndexByte(closing, c) >= 0:
			depth--
		}
		if depth > MaxDepth {
			return fmt.Errorf("%s:%d: this is nested more than %d deep: it is no configuration", name, line, MaxDepth)
		}
		begins = strings.IndexByte(between, c) >= 0
	}
	return nil
}

// quoteEnd is what a quote ends with, and # with its line.
func quoteEnd(quote byte) byte {
	if quote == '#' {
		return '\n'
	}
	return quote
}

// EscapeGroups is a text in which regexp.Expand finds no groups.
func EscapeGroups(text string) string { return strings.ReplaceAll(text, "$", "$$") }
