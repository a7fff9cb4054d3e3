package reading

import (
	"cmp"
	"regexp"

	"github.com/lbproof/lbproof/internal/model"
)

// Template parses a text with variables. notation matches a variable, with its name in one of two groups; known returns
// the meaning of a name.
func Template(text string, notation *regexp.Regexp, known func(name string) model.Piece) model.Template {
	t := model.Template{Source: text}
	literal := func(part string) {
		if part != "" {
			t.Pieces = append(t.Pieces, model.Piece{Text: part})
		}
	}
	last := 0
	for _, m := range notation.FindAllStringSubmatchIndex(text, -1) {
		literal(text[last:m[0]])
		name := text[max(m[2], 0):max(m[3], 0)]
		if len(m) > 4 {
			name = cmp.Or(name, text[max(m[4], 0):max(m[5], 0)])
		}
		t.Pieces = append(t.Pieces, known(name))
		last = m[1]
	}
	literal(text[last:])
	return t
}

// SameURLInScheme returns the URL of the request with another scheme.
func SameURLInScheme(scheme string) model.Template {
	t := model.Literal(scheme + "://")
	t.Pieces = append(t.Pieces, model.Piece{Variable: model.Host}, model.Piece{Variable: model.URI})
	return t
}
