// Package plain shows text that lbproof did not write itself: of a configuration, a backend, a balancer's log, a plan, an error. Shown by it, such
// text can order nothing: no terminal, whose orders are control characters, and no CI system, whose orders are lines such as ::error::. What could is
// written as Go and JSON write it, ESC as \x1b.
//
// A value is shown by Text before it becomes part of a line, all of a struct's by Value; an error by Lines. What all is written through is a
// Writer, for what somebody forgot, and for orders that only show in the whole line. Anything else that a program reads is no business of this package.
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

// Text shows a value in one line: what is neither a letter, mark, number, sign or space is quoted, newlines and tabs too. What is quoted can be told from
// the same text in the value by JSON forms only.
func Text(value string) string {
	shown, _, err := transform.String(&quoter{escape: escapeText}, value)
	if err != nil { // which a quoter has none of at the end of a text
		return strconv.QuoteToASCII(value)
	}
	return shown
}

// Lines shows a text that may have several lines, as errors with a balancer's output do: those after the first begin with a bar.
func Lines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = Text(lines[i])
	}
	return strings.Join(lines, "\n| ")
}

// Value is a copy of a value in which each string is shown by Text, keys of maps too. Bytes and unexported fields are as they were.
func Value[T any](value T) T {
	shown, _ := quoteStrings(reflect.ValueOf(&value).Elem()).Interface().(T) // it is of its type
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

// quoteElements shows each element of a slice or an array in one that is as long.
func quoteElements(shown, v reflect.Value) {
	for i := range v.Len() {
		shown.Index(i).Set(quoteStrings(v.Index(i)))
	}
}

// NewWriter shows what is written to it, but newlines and tabs, and what would begin a CI system's command. Close writes what may be held back until
// the next character; it does not close w.
func NewWriter(w io.Writer) io.WriteCloser {
	return transform.NewWriter(w, &quoter{escape: escapeText, multiline: true})
}

// NewJSONWriter takes JSON and writes the same values, in which everything that Text would quote is escaped. Close is NewWriter's.
func NewJSONWriter(w io.Writer) io.WriteCloser {
	return transform.NewWriter(w, &quoter{escape: escapeJSON, multiline: true})
}

// quoter is the transform.Transformer of all of them.
type quoter struct {
	escape      func(r rune, raw byte) string // raw is the byte where there is no rune
	multiline   bool                          // newlines and tabs are the text's own
	atLineStart bool                          // nothing but space is in the line so far
}

// Reset is transform.Transformer's.
func (q *quoter) Reset() { q.atLineStart = q.multiline }

// Transform is transform.Transformer's.
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

// passingPrefix is how many characters text begins with that pass wherever they are.
func passingPrefix(text []byte) int {
	for i, b := range text {
		printable := ' ' <= b && b < 0x7f
		if !printable || b == '#' || b == ':' {
			return i
		}
	}
	return len(text)
}

// nextRune says how many bytes the first character of text has, and whether it needs no quotes. It has none where what follows decides that.
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

// maxCommandName is how many letters are looked at between ## and [.
const maxCommandName = 16

// isHarmlessHash says whether a # with this after it begins none of the commands ##[error], ##vso[task.setvariable] and ##teamcity[message], which
// GitHub, Azure Pipelines and TeamCity find anywhere in a line; whole whether that can be told.
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

// isHarmlessColon says whether a colon that begins a line begins no command, as ::error:: of GitHub; an IPv6 address such as ::1 is none.
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

// escapeText writes a character that is not to be shown as Go does.
func escapeText(r rune, raw byte) string {
	if r == utf8.RuneError || ' ' <= r && r < 0x7f {
		return fmt.Sprintf(`\x%02x`, raw)
	}
	return strings.Trim(strconv.QuoteRune(r), "'")
}

// escapeJSON writes a character as JSON does.
func escapeJSON(r rune, _ byte) string {
	var text strings.Builder
	for _, unit := range utf16.AppendRune(nil, r) {
		fmt.Fprintf(&text, `\u%04x`, unit)
	}
	return text.String()
}
