package haproxy

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// blanks separate words.
const blanks = " \t\v\f"

// maxWords is the maximum number of words in a line (MAX_LINE_ARGS).
const maxWords = 64

// variablePattern matches a whole variable: $NAME, ${NAME}, ${NAME-default} or ${NAME[*]}.
var variablePattern = regexp.MustCompile(strings.ReplaceAll(`^\$(?:NAME|\{NAME(?:\[\*\])?(?:-[^}]*)?\})$`, "NAME",
	`(?:[A-Za-z_][A-Za-z0-9_]*|\.(?:FILE|LINE|SECTION))`))

// splitWords splits a line into words and resolves quotes and escapes (configuration manual, section 2.2). It keeps
// variables as written: only HAProxy knows their values. A blank line or a comment has no words. Errors contain no
// position.
func splitWords(line string) ([]string, error) {
	if end := strings.IndexAny(line, "\r\n"); end >= 0 {
		line = line[:end]
	}
	var w wordSplitter
	for rest := strings.TrimLeft(line, blanks); rest != ""; {
		size, err := w.take(rest)
		if err != nil {
			return nil, err
		}
		rest = rest[size:]
	}
	switch w.quote {
	case '"':
		return nil, errors.New(`unclosed double quote; close it, or write \" for the character`)
	case '\'':
		return nil, errors.New(`unclosed single quote; close it, or write \' for the character`)
	}
	words := append(w.words, string(w.word))
	for len(words) > 0 && words[len(words)-1] == "" { // HAProxy drops empty words at the end
		words = words[:len(words)-1]
	}
	if len(words) == 0 || words[0] == "" { // and ignores a line that starts with one
		return nil, nil
	}
	if err := checkText(words); err != nil {
		return nil, err
	}
	return words, nil
}

// wordSplitter holds what has been read of a line.
type wordSplitter struct {
	words []string
	word  []byte // the unfinished word
	quote byte   // the open quote; 0: none
}

// take reads one character of the rest of a line, or what represents one, and returns its length.
func (w *wordSplitter) take(rest string) (size int, err error) {
	c := rest[0]
	isQuote := c == '"' || c == '\''
	switch {
	case isQuote && w.quote == 0:
		w.quote = c
	case isQuote && w.quote == c:
		w.quote = 0
	case c == '\\' && w.quote != '\'':
		char, size, err := unescape(rest, w.quote == '"')
		w.word = append(w.word, char)
		return size, err
	case c == '$' && w.quote == '"':
		size = variableSize(rest)
		if !variablePattern.MatchString(rest[:size]) {
			text, _, _ := strings.Cut(rest, `"`)
			return 0, fmt.Errorf(`%s: $ within double quotes starts a variable; `+
				`write $NAME, ${NAME} or ${NAME-default}, or \$ for the character`, text)
		}
		w.word = append(w.word, rest[:size]...)
		return size, nil
	case c == '#' && w.quote == 0: // a comment
		return len(rest), nil
	case strings.IndexByte(blanks, c) >= 0 && w.quote == 0:
		w.words, w.word = append(w.words, string(w.word)), w.word[:0]
		return len(rest) - len(strings.TrimLeft(rest, blanks)), nil
	default:
		w.word = append(w.word, c)
	}
	return 1, nil
}

// checkText returns an error for a word that is not text.
func checkText(words []string) error {
	for _, word := range words {
		if !utf8.ValidString(word) || strings.Contains(word, "\x00") {
			return fmt.Errorf(`%q: an escape yields a byte that is not UTF-8; put regular expressions into `+
				`'single quotes', which keep escapes, and write other text as UTF-8`, word)
		}
	}
	return nil
}

// nameLetters are the characters of names of variables.
const nameLetters = "_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// variableSize returns the length of the variable at the start of text.
func variableSize(text string) int {
	if strings.HasPrefix(text, "${") {
		return strings.IndexByte(text, '}') + 1
	}
	name := strings.TrimPrefix(text[1:], ".")
	end := strings.TrimLeft(name, nameLetters)
	return len(text) - len(end)
}

// unescape returns the character of an escape, and the length of the escape. A backslash before any other character
// represents itself.
func unescape(text string, doubleQuoted bool) (char byte, size int, err error) {
	if len(text) == 1 {
		return '\\', 1, nil
	}
	switch next := text[1]; next {
	case ' ', '\\', '#', '\'', '"':
		return next, 2, nil
	case '$':
		if doubleQuoted {
			return '$', 2, nil
		}
	case 't':
		return '\t', 2, nil
	case 'r':
		return '\r', 2, nil
	case 'n':
		return '\n', 2, nil
	case 'x':
		b, err := hex.DecodeString(text[2:min(4, len(text))])
		if err != nil || len(b) != 1 {
			return 0, 0, errors.New(`\x needs two hexadecimal digits, as \x41; write \\x for the characters`)
		}
		return b[0], 4, nil
	}
	return '\\', 1, nil
}

// parseTime parses HAProxy's notation of durations; a number alone is milliseconds (configuration manual, section 2.5).
func parseTime(text string) (time.Duration, error) {
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	n, err := strconv.Atoi(text[:digits])
	each, ok := map[string]time.Duration{
		"us": time.Microsecond, "": time.Millisecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute,
		"h": time.Hour, "d": 24 * time.Hour,
	}[text[digits:]]
	if err != nil || !ok || n > 1<<30 {
		return 0, fmt.Errorf("%q is not a duration such as 500, 5s or 1h", text)
	}
	return time.Duration(n) * each, nil
}
