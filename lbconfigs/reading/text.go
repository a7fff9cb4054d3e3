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

// HasLinePrefix reports whether a line of the text starts with one of the words, after blanks.
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

// ReadText reads a configuration file. It returns an error with the line if the file is not text.
func ReadText(fsys fs.FS, name string) ([]byte, error) {
	text, err := fs.ReadFile(fsys, name)
	var large *source.TooLargeError
	switch {
	case errors.As(err, &large):
		return nil, fmt.Errorf("%s:1: %w; not a configuration file", name, large)
	case err != nil:
		return nil, fmt.Errorf("read configuration %s: %w", name, UnwrapPathError(err))
	}
	return text, checkEncoding(name, text)
}

// byteOrderMarks are the prefixes of files in other encodings.
var byteOrderMarks = map[string]string{
	"\xff\xfe": "UTF-16", "\xfe\xff": "UTF-16", "\xef\xbb\xbf": "UTF-8 with a byte order mark",
}

// checkEncoding returns an error with file and line if a balancer could not read the text.
func checkEncoding(name string, text []byte) error {
	at := func(offset int) model.Pos {
		return model.Pos{File: name, Line: 1 + bytes.Count(text[:offset], []byte("\n"))}
	}
	for mark, encoding := range byteOrderMarks {
		if bytes.HasPrefix(text, []byte(mark)) {
			return fmt.Errorf("%s: the file is %s; save it as plain UTF-8", at(0), encoding)
		}
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return fmt.Errorf("%s: NUL byte; the file is not text, or part of it was overwritten", at(i))
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return fmt.Errorf("%s: byte %#x is not UTF-8; save the file as UTF-8", at(i), text[i])
		}
		i += size
	}
	return nil
}

// UnwrapPathError strips the operation and path, which the caller adds again.
func UnwrapPathError(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// CheckDepth returns an error if brackets are nested deeper than MaxDepth, before a recursive parser follows them.
// Quotes and comments start after one of the characters of between.
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
			return fmt.Errorf("%s:%d: nested more than %d levels deep; not a configuration", name, line, MaxDepth)
		}
		begins = strings.IndexByte(between, c) >= 0
	}
	return nil
}

// quoteEnd returns the character that ends a quote, or a comment.
func quoteEnd(quote byte) byte {
	if quote == '#' {
		return '\n'
	}
	return quote
}

// EscapeGroups escapes a text for regexp.Expand.
func EscapeGroups(text string) string { return strings.ReplaceAll(text, "$", "$$") }
