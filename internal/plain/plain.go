// Package plain prints text that lbproof did not write: of a configuration, a backend, a balancer's log, a plan, an
// error. It neutralizes commands in such text, both of terminals (control characters) and of CI systems (lines such as
// ::error::), by writing characters as Go and JSON do: ESC as \x1b.
//
// Use Text for a value that becomes part of a line, Value for all strings of a struct, and Lines for an error. All
// output goes through a Writer, which catches what was forgotten and commands that only whole lines reveal. Formats
// that programs read are none of this package's business, except JSON.
package plain

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/transform"
)

// Text returns a value on one line: everything but letters, marks, numbers, symbols and spaces is escaped, newlines and
// tabs too. In the result, an escape looks like the same text in the value; in JSON output it does not.
func Text(value string) string {
	shown, _, err := transform.String(&quoter{escape: escapeText}, value)
	if err != nil { // a quoter returns none at the end of a text
		return strconv.QuoteToASCII(value)
	}
	return shown
}

// Lines returns a text of several lines, such as an error with a balancer's output; lines after the first start with a
// bar.
func Lines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = Text(lines[i])
	}
	return strings.Join(lines, "\n| ")
}

// Value returns a copy of a value with Text applied to each string, including map keys. Bytes and unexported fields are
// unchanged.
func Value[T any](value T) T {
	shown, _ := quoteStrings(reflect.ValueOf(&value).Elem()).Interface().(T) // always of type T
	return shown
}

func quoteStrings(v reflect.Value) reflect.Value {
	shown := reflect.New(v.Type()).Elem()
	shown.Set(v)
	switch v.Kind() {
	case reflect.String:
		shown.SetString(Text(v.String()))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				shown.Field(i).Set(quoteStrings(v.Field(i)))
			}
		}
	case reflect.Slice:
		if v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8 {
			break
		}
		shown.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		quoteElements(shown, v)
	case reflect.Array:
		quoteElements(shown, v)
	case reflect.Map:
		if v.IsNil() {
			break
		}
		shown.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for key, element := range v.Seq2() {
			shown.SetMapIndex(quoteStrings(key), quoteStrings(element))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			shown.Set(reflect.New(v.Type().Elem()))
			shown.Elem().Set(quoteStrings(v.Elem()))
		}
	case reflect.Interface:
		if !v.IsNil() {
			shown.Set(quoteStrings(v.Elem()))
		}
	}
	return shown
}

// quoteElements sets the elements of a slice or an array to the quoted ones of another.
func quoteElements(shown, v reflect.Value) {
	for i := range v.Len() {
		shown.Index(i).Set(quoteStrings(v.Index(i)))
	}
}

// NewWriter escapes what is written to it as Text does, except newlines and tabs, and breaks commands of CI systems.
// Close writes what is held back until the next character; it does not close w.
func NewWriter(w io.Writer) io.WriteCloser {
	return transform.NewWriter(w, &quoter{escape: escapeText, multiline: true})
}

// NewJSONWriter writes the same JSON values with everything escaped that Text escapes. Close behaves as for NewWriter.
func NewJSONWriter(w io.Writer) io.WriteCloser {
	return transform.NewWriter(w, &quoter{escape: escapeJSON, multiline: true})
}

// quoter is the transform.Transformer behind Text and the writers.
type quoter struct {
	escape      func(r rune, raw byte) string // raw is the byte if it is no valid rune
	multiline   bool                          // newlines and tabs pass
	atLineStart bool                          // only spaces in this line so far
}

// Reset implements transform.Transformer.
func (q *quoter) Reset() { q.atLineStart = q.multiline }

// Transform implements transform.Transformer.
func (q *quoter) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if n := copy(dst[nDst:], src[nSrc:nSrc+passingPrefix(src[nSrc:])]); n > 0 {
			q.atLineStart = q.atLineStart && len(bytes.TrimLeft(dst[nDst:nDst+n], " ")) == 0
			nDst, nSrc = nDst+n, nSrc+n
			continue
		}
		size, passes := q.nextRune(src[nSrc:], atEOF)
		if size == 0 {
			return nDst, nSrc, transform.ErrShortSrc
		}
		text := src[nSrc : nSrc+size]
		r, _ := utf8.DecodeRune(text)
		if !passes {
			text = []byte(q.escape(r, text[0]))
		}
		if nDst+len(text) > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += copy(dst[nDst:], text)
		nSrc += size
		spaces := q.atLineStart && passes && unicode.IsSpace(r)
		q.atLineStart = q.multiline && (r == '\n' || spaces)
	}
	return nDst, nSrc, nil
}

// passingPrefix returns the length of the prefix of text that needs no escape anywhere in a line.
func passingPrefix(text []byte) int {
	for i, b := range text {
		printable := ' ' <= b && b < 0x7f
		if !printable || b == '#' || b == ':' {
			return i
		}
	}
	return len(text)
}

// nextRune returns the size of the first character of text and whether it passes unescaped. The size is 0 if more text
// is needed to decide.
func (q *quoter) nextRune(text []byte, atEOF bool) (size int, passes bool) {
	whole := true
	switch b := text[0]; {
	case b == '\n' || b == '\t':
		return 1, q.multiline
	case b == '#':
		passes, whole = isHarmlessHash(text[1:])
		size = 1
	case b == ':' && q.atLineStart:
		passes, whole = isHarmlessColon(text[1:])
		size = 1
	case b < utf8.RuneSelf:
		return 1, ' ' <= b && b < 0x7f
	default:
		r, n := utf8.DecodeRune(text)
		size, passes, whole = n, strconv.IsGraphic(r) && (r != utf8.RuneError || n > 1), utf8.FullRune(text)
	}
	if !whole && !atEOF {
		return 0, false
	}
	return size, passes
}

// maxCommandName is the maximum number of letters between ## and [.
const maxCommandName = 16

// isHarmlessHash reports whether a # with this after it starts none of the commands ##[error], ##vso[task.setvariable]
// and ##teamcity[message], which GitHub, Azure Pipelines and TeamCity find anywhere in a line. whole reports whether
// the text suffices to decide.
func isHarmlessHash(after []byte) (harmless, whole bool) {
	if len(after) == 0 || after[0] != '#' {
		return true, len(after) > 0
	}
	for i, b := range after[1:] {
		switch {
		case b == '[':
			return false, true
		case !isLetter(b) || i == maxCommandName:
			return true, true
		}
	}
	return true, false
}

// isHarmlessColon reports whether a colon at the start of a line starts no command such as GitHub's ::error::; an IPv6
// address such as ::1 is none.
func isHarmlessColon(after []byte) (harmless, whole bool) {
	switch {
	case len(after) == 0:
		return true, false
	case after[0] != ':':
		return true, true
	case len(after) == 1:
		return true, false
	}
	return !isLetter(after[1]), true
}

func isLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

// escapeText escapes a character as Go does.
func escapeText(r rune, raw byte) string {
	if r == utf8.RuneError || ' ' <= r && r < 0x7f {
		return fmt.Sprintf(`\x%02x`, raw)
	}
	return strings.Trim(strconv.QuoteRune(r), "'")
}

// escapeJSON escapes a character as JSON does.
func escapeJSON(r rune, _ byte) string {
	var text strings.Builder
	for _, unit := range utf16.AppendRune(nil, r) {
		fmt.Fprintf(&text, `\u%04x`, unit)
	}
	return text.String()
}
