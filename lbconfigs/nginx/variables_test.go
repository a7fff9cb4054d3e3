package nginx

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
	f("keep-alive", model.Piece{Text: "keep-alive"})
	f("$http_x_forwarded_for", model.Piece{Variable: model.RequestHeader, Name: "X-Forwarded-For"})
	f("https://$host$request_uri", model.Piece{Text: "https://"}, model.Piece{Variable: model.Host},
		model.Piece{Variable: model.URI})
	f(`{"t":${msec}}`, model.Piece{Text: `{"t":`}, model.Piece{Variable: model.OtherVariable, Pattern: `\d+\.\d{3}`},
		model.Piece{Text: "}"})
	f(`$host}`, model.Piece{Variable: model.Host}, model.Piece{Text: "}"})
	f("a$1", model.Piece{Text: "a"}, model.Piece{Variable: model.OtherVariable})
	f("$cookie_sid$arg_a", model.Piece{Variable: model.Cookie, Name: "sid"},
		model.Piece{Variable: model.Argument, Name: "a"})
	f("$ and ${", model.Piece{Text: "$ and ${"})
}

func TestReadCondition(t *testing.T) {
	f := func(text string, want ...model.Term) {
		t.Helper()
		assert.Equal(t, model.Condition{Source: text, Terms: want}, readCondition(text))
	}
	beta := model.Term{Variable: model.RequestHeader, Name: "X-Beta", Op: model.OpEquals, Value: "true", Negated: true}
	f("$http_x_beta != true", beta)
	f(`$http_x_beta != "true"`, beta)
	f("$request_method = POST", model.Term{Variable: model.Method, Op: model.OpEquals, Value: "POST"})
	f("$request_method !~ ^(GET|HEAD)$", model.Term{
		Variable: model.Method, Op: model.OpMatches, Value: "^(GET|HEAD)$", Negated: true,
	})
	f("$http_user_agent ~* bot", model.Term{
		Variable: model.RequestHeader, Name: "User-Agent", Op: model.OpMatches, Value: "bot",
	})
	f("$slow")
	f("$args = a")
	f("")
}
