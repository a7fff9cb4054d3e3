package haproxy

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
)

func TestReadTemplate(t *testing.T) {
	f := func(text string, want ...model.Piece) {
		t.Helper()
		assert.Equal(t, model.Template{Source: text, Pieces: want}, readTemplate(text))
	}
	f("")
	f("on", model.Piece{Text: "on"})
	f("for=%[src];", model.Piece{Text: "for="}, model.Piece{Variable: model.ClientAddress}, model.Piece{Text: ";"})
	f("%[uuid()]", model.Piece{Variable: model.RequestID, Form: uuid})
	f("%[ssl_c_s_dn(cn)]", model.Piece{Variable: model.Other})
	f("$host", model.Piece{Text: "$host"})
}
