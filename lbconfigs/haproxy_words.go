package lbconfigs

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// haBlanks separate words.
const haBlanks = " \t\v\f"

// haMostWords is how many words a line may have (MAX_LINE_ARGS).
const haMostWords = 64

// haVariable matches a whole variable: $NAME, ${NAME}, ${NAME-default} or ${NAME[*]}.
var haVariable = regexp.MustCompile(strings.ReplaceAll(`^\$(?:NAME|\{NAME(?:\[\*\])?(?:-[^}]*)?\})$`, "NAME", `(?:[A-Za-z_][A-Za-z0-9_]*|\.(?:FILE|LINE|SECTION))`))

// haWords splits a line into words and resolves quotes and escapes (configuration manual, section 2.2). A variable stays as it
// is written: only HAProxy knows its value. A line of blanks or a comment has no words. Errors name no line.
func haWords(line string) ([]string, error) {
	if end := strings.IndexAny(line, "\r\n"); end >= 0 {
		line = line[:end]
	}
	var words []string
	var word []byte
	var quote byte // the open quote; 0: none
scan:
	for rest := strings.TrimLeft(line, haBlanks); rest != ""; {
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
			if char, size, err = haEscape(rest, quote == '"'); err != nil {
				return nil, err
			}
			word = append(word, char)
		case c == '$' && quote == '"':
			size = haVariableSize(rest)
			if !haVariable.MatchString(rest[:size]) {
				text, _, _ := strings.Cut(rest, `"`)
				return nil, fmt.Errorf(`%s: $ within double quotes begins a variable; write $NAME, ${NAME} or ${NAME-default}, or \$ for the character`, text)
			}
			word = append(word, rest[:size]...)
		case c == '#' && quote == 0:
			break scan
		case strings.IndexByte(haBlanks, c) >= 0 && quote == 0:
			size = len(rest) - len(strings.TrimLeft(rest, haBlanks))
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

// haVariableSize is the length of what text, which begins with $, has in place of a variable.
func haVariableSize(text string) int {
	if strings.HasPrefix(text, "${") {
		return strings.IndexByte(text, '}') + 1
	}
	name := strings.TrimPrefix(text[1:], ".")
	end := strings.TrimLeftFunc(name, func(c rune) bool {
		return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	})
	return len(text) - len(end)
}

// haEscape is the character that a backslash and what follows it stand for, and the length of both. A backslash before any other
// character stands for itself.
func haEscape(text string, doubleQuoted bool) (char byte, size int, err error) {
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

// haCondition splits words into what is done and the condition for it, which begins with if or unless.
func haCondition(words []string) (command, condition []string) {
	i := slices.IndexFunc(words, func(w string) bool { return w == "if" || w == "unless" })
	if i < 0 {
		return words, nil
	}
	return words[:i], words[i:]
}
