package model

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTemplate(t *testing.T) {
	f := func(template Template, wantText string, wantFixed bool) {
		t.Helper()
		text, ok := template.FixedText()
		assert.Equal(t, wantText, text)
		assert.Equal(t, wantFixed, ok)
		assert.Equal(t, wantText == "" && wantFixed, template.IsEmpty())
	}
	f(Template{}, "", true)
	f(Literal(""), "", true)
	f(Literal("1; mode=block"), "1; mode=block", true)
	f(Template{Pieces: []Piece{{Text: "a"}, {Text: "b"}}}, "ab", true)
	f(Template{Pieces: []Piece{{Text: "https://"}, {Variable: Host}}}, "", false)
	assert.Equal(t, "https://$host", Template{Pieces: []Piece{{Variable: Host}}, Source: "https://$host"}.String())
}
