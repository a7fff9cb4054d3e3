package requests

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// An ambiguous length never produces a second, unanswered request.
func TestFraming(t *testing.T) {
	a := probesFor(t, Framing, configOf(model.Route{Path: "/", Pool: "p", DefaultHost: true}), "framing/port 80", 4)
	const second = "GET / HTTP/1.1\r\nHost: lbproof.test\r\n" +
		history.IDHeader + ": " + history.IDPlaceholder + "\r\n" + history.ResponseSpecHeader + ": status=200\r\n\r\n"
	f := func(i int, label, body, encoding, length string) {
		t.Helper()
		q := a.probes[i]
		assert.Equal(t, label, q.Case)
		assert.Equal(t, body, string(q.Request.Body))
		assert.Equal(t, encoding, q.Request.Header["Transfer-Encoding"])
		assert.Equal(t, length, q.Request.Header["Content-Length"])
		assert.Equal(t, plan.StallAfterResponses, q.Request.StallAt)

		ends := a.find(t, label, "POST http://any:80/")
		ends(history.Hit{Code: 400, Header: encodeHeader(history.ResponseCountField, "1")}, "")
		ends(history.Hit{Err: history.Closed}, "")
		once := history.Hit{Code: 200, Server: "a", Header: encodeHeader(history.ResponseCountField, "1")}
		ends(once, "", "a")
		ends(once, "reached backends 2 times, but the client got 1 response", "a", "a")
		ends(history.Hit{Code: 200, Server: "a", Header: encodeHeader(history.ResponseCountField, "2")}, "", "a", "a") // both were answered
		ends(history.Hit{Err: history.Closed}, "reached backends 2 times, but the client got 0 responses", "a", "a")
	}
	f(0, "chunks that end before the Content-Length", "0\r\n\r\n"+second, "chunked", "109")
	f(1, "a Content-Length that ends before the chunks", "68\r\n"+second+"\r\n0\r\n\r\n", "chunked", "4")
	f(2, "an encoding that only some take for chunked", "0\r\n\r\n"+second, "xchunked", "109")
	f(3, "two Content-Length fields", second, "", "0\r\nContent-Length: 104")
}

// A port without proxied routes has nothing to smuggle to.
func TestFramingOfOtherPorts(t *testing.T) {
	assert.Empty(t, Framing.Claims(configOf(model.Route{Path: "/", StaticResponse: &model.StaticResponse{Pos: testPos, Code: 200}})))
}
