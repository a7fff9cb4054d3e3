package haproxy

import (
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// statement is one line of a configuration, split into words.
type statement struct {
	pos   model.Pos
	words []string
}

func (l statement) word(n int) string {
	if n < len(l.words) {
		return l.words[n]
	}
	return ""
}

// wordsFrom returns the words from index n on.
func (l statement) wordsFrom(n int) []string { return l.words[min(n, len(l.words)):] }

func (l statement) text() string { return controls.Replace(strings.Join(l.words, " ")) }

// controls escapes control characters as HAProxy's configurations do.
var controls = strings.NewReplacer("\t", `\t`, "\r", `\r`, "\n", `\n`)

// wordAfter returns the word that follows another.
func (l statement) wordAfter(word string) string {
	if i := slices.Index(l.words, word); i >= 0 {
		return l.word(i + 1)
	}
	return ""
}

// startsWith reports whether the line starts with the words.
func (l statement) startsWith(words ...string) bool {
	return len(l.words) >= len(words) && slices.Equal(l.words[:len(words)], words)
}

// section is a section with the defaults that apply to it.
type section struct {
	pos      model.Pos
	kind     string
	name     string
	defaults []statement
	own      []statement
}

// last returns the line in effect that starts with the words: the last of the section, else of its defaults.
func (s section) last(words ...string) (statement, bool) {
	for _, lines := range [][]statement{s.own, s.defaults} {
		for _, l := range slices.Backward(lines) {
			if l.startsWith(words...) {
				return l, true
			}
		}
	}
	return statement{}, false
}

// option returns the line that enables an option; false if it is off.
func (s section) option(name string) (statement, bool) {
	on, isOn := s.last("option", name)
	off, isOff := s.last("no", "option", name)
	inOwn := func(l statement) bool {
		return slices.ContainsFunc(s.own, func(o statement) bool { return o.pos == l.pos })
	}
	if !isOff || !isOn {
		return on, isOn
	}
	overruled := inOwn(off) && !inOwn(on)
	if inOwn(off) == inOwn(on) {
		overruled = off.pos.Line > on.pos.Line
	}
	if overruled {
		return statement{}, false
	}
	return on, true
}

// all returns the section's own lines that start with one of the words.
func (s section) all(words ...string) []statement {
	var out []statement
	for _, l := range s.own {
		if slices.Contains(words, l.word(0)) {
			out = append(out, l)
		}
	}
	return out
}
