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
	f("%[uuid()]", model.Piece{Variable: model.RequestID, Pattern: uuid})
	f("%[ssl_c_s_dn(cn)]", model.Piece{Variable: model.OtherVariable})
	f("$host", model.Piece{Text: "$host"})
}

func TestReadCondition(t *testing.T) {
	f := func(text string, want ...model.Term) {
		t.Helper()
		assert.Equal(t, model.Condition{Source: text, Terms: want}, readCondition(text))
	}
	websocket := model.Term{Variable: model.RequestHeader, Name: "Upgrade", Op: model.OpEquals, Value: "websocket"}
	f("hdr(upgrade) -i websocket", websocket)
	f("{ req.hdr(Upgrade) -m str websocket }", websocket)
	f("METH_POST", model.Term{Variable: model.Method, Op: model.OpEquals, Value: "POST"})
	f("{ method GET }", model.Term{Variable: model.Method, Op: model.OpEquals, Value: "GET"})
	f("not hdr(upgrade) websocket")
	f("hdr(a) b c")
	f("hdr_beg(host) a.")
	f("is_api !is_auth")
}
