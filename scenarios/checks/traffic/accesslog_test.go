package traffic

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
)

func TestDescribeLogMismatch(t *testing.T) {
	log := model.Log{File: "/var/log/nginx/access.log", Format: model.Template{Pieces: []model.Piece{
		{Variable: model.ClientAddress},
		{Text: ` "`},
		{Variable: model.RequestLine},
		{Text: `" `},
		{Variable: model.ResponseStatus},
		{Text: ` in "`},
		{Variable: model.OtherVariable},
		{Text: `"`},
	}}}
	f := func(log model.Log, lines, statuses []string, want string) {
		t.Helper()
		assert.Equal(t, want, describeLogMismatch(log, lines, statuses))
	}
	good, bad := `10.0.0.1 "GET /?a HTTP/1.1" 200 in "0.001"`, `10.0.0.1 "GET /?a HTTP/1.1" 404 in "-"`
	f(log, []string{good, bad}, []string{"404", "200"}, "")
	f(log, []string{good, good}, []string{"404", "200"}, "responses have status 200, 404, log lines have 200, 200")
	f(log, []string{good}, []string{"200", "200"}, "2 requests answered, but 1 line written")
	f(log, []string{`"GET /?a HTTP/1.1" 200`}, []string{"200"}, `line does not match the configured format: "GET /?a HTTP/1.1" 200`)
	f(model.Log{}, nil, []string{"200"}, "")
	f(model.Log{}, []string{good}, []string{"200"}, "unexpected line: "+good)
	f(model.Log{File: "x", Format: model.Template{Pieces: []model.Piece{{Variable: model.RequestLine}}}}, []string{"GET /?a HTTP/1.1"}, []string{"200"}, "")
}
