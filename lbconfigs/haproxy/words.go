package haproxy

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// blanks separate words.
const blanks = " \t\v\f"

// mostWords is how many words a line may have (MAX_LINE_ARGS).
const mostWords = 64

// variable matches a whole variable: $NAME, ${NAME}, ${NAME-default} or ${NAME[*]}.
var variable = regexp.MustCompile(strings.ReplaceAll(`^\$(?:NAME|\{NAME(?:\[\*\])?(?:-[^}]*)?\})$`, "NAME", `(?:[A-Za-z_][A-Za-z0-9_]*|\.(?:FILE|LINE|SECTION))`))

// splitWords splits a line into words and resolves quotes and escapes (configuration manual, section 2.2). A variable stays as it
// is written: only HAProxy knows its value. A line of blanks or a comment has no words. Errors name no line.
func splitWords(line string) ([]string, error) {
	if end := strings.IndexAny(line, "\r\n"); end >= 0 {
		line = line[:end]
	}
	var words []string
	var word []byte
	var quote byte // the open quote; 0: none
scan:
	for rest := strings.TrimLeft(line, blanks); rest != ""; {
		c, size := rest[0], 1
		quoteMark := c == '"' && quote != '\'' || c == '\'' && quote != '"'
		switch {
		case quoteMark && quote == 0:
			quote = c
		case quoteMark:
			quote = 0
		case c == '\\' && quote != '\'':
			var char byte
			var err error
			if char, size, err = escape(rest, quote == '"'); err != nil {
				return nil, err
			}
			word = append(word, char)
		case c == '$' && quote == '"':
			size = variableSize(rest)
			if !variable.MatchString(rest[:size]) {
				text, _, _ := strings.Cut(rest, `"`)
				return nil, fmt.Errorf(`%s: $ within double quotes begins a variable; write $NAME, ${NAME} or ${NAME-default}, or \$ for the character`, text)
			}
			word = append(word, rest[:size]...)
		case c == '#' && quote == 0:
			break scan
		case strings.IndexByte(blanks, c) >= 0 && quote == 0:
			size = len(rest) - len(strings.TrimLeft(rest, blanks))
			words, word = append(words, string(word)), word[:0]
		default:
			word = append(word, c)
		}
		rest = rest[size:]
	}
	switch quote {
	case '"':
		return nil, errors.New(`a double quote is opened and not closed; close it, or write \" for the character`)
	case '\'':
		return nil, errors.New(`a single quote is opened and not closed; close it, or write \' for the character`)
	}
	words = append(words, string(word))
	for len(words) > 0 && words[len(words)-1] == "" { // HAProxy takes an empty word at the end for none
		words = words[:len(words)-1]
	}
	if len(words) == 0 || words[0] == "" { // and a line that begins with one for empty
		return nil, nil
	}
	if i := slices.IndexFunc(words, func(w string) bool { return !utf8.ValidString(w) || strings.Contains(w, "\x00") }); i >= 0 {
		return nil, fmt.Errorf(`%q: an escape makes a byte that is no UTF-8 text; put a regular expression into 'single quotes', where escapes stay; write other text as UTF-8`, words[i])
	}
	return words, nil
}

// variableSize is the length of what text, which begins with $, has in place of a variable.
func variableSize(text string) int {
	if strings.HasPrefix(text, "${") {
		return strings.IndexByte(text, '}') + 1
	}
	name := strings.TrimPrefix(text[1:], ".")
	end := strings.TrimLeftFunc(name, func(c rune) bool {
		return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	})
	return len(text) - len(end)
}

// escape is the character that a backslash and what follows it stand for, and the length of both. A backslash before any other
// character stands for itself.
func escape(text string, doubleQuoted bool) (char byte, size int, err error) {
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
			return 0, 0, errors.New(`\x wants two hexadecimal digits, as \x41; write \\x for the characters`)
		}
		return b[0], 4, nil
	}
	return '\\', 1, nil
}

// parseTime reads HAProxy's notation of times; a bare number is milliseconds (configuration manual, section 2.5).
func parseTime(text string) (time.Duration, error) {
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	n, err := strconv.Atoi(text[:digits])
	each, ok := map[string]time.Duration{
		"us": time.Microsecond, "": time.Millisecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute,
		"h": time.Hour, "d": 24 * time.Hour,
	}[text[digits:]]
	if err != nil || !ok || n > 1<<30 {
		return 0, fmt.Errorf("%q is no time, as 500, 5s or 1h", text)
	}
	return time.Duration(n) * each, nil
}
