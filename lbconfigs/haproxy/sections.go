package haproxy

import (
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// line is one line of a configuration, taken apart.
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

// wordsFrom are the words from one on.
func (l statement) wordsFrom(n int) []string { return l.words[min(n, len(l.words)):] }

func (l statement) text() string { return controls.Replace(strings.Join(l.words, " ")) }

// controls writes control characters as HAProxy's configurations do.
var controls = strings.NewReplacer("\t", `\t`, "\r", `\r`, "\n", `\n`)

// wordAfter is the word that follows another one.
func (l statement) wordAfter(word string) string {
	if i := slices.Index(l.words, word); i >= 0 {
		return l.word(i + 1)
	}
	return ""
}

// startsWith says whether the line begins with the words.
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

// last is the line in force that begins with the words: the section's last, else the last of its defaults.
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

// option says whether an option is on, and where it is put on.
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

// all are the section's own lines that begin with one of the words.
func (s section) all(words ...string) []statement {
	var out []statement
	for _, l := range s.own {
		if slices.Contains(words, l.word(0)) {
			out = append(out, l)
		}
	}
	return out
}
