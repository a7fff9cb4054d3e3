package requests

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
)

// Responses of listed types are compressed from the minimum size on, for clients that accept it, with Vary if
// configured.
func TestCompression(t *testing.T) {
	a := probesFor(t, Compression, configOf(model.Route{
		Path: "/", Pool: "p", DefaultHost: true,
		Compress: &model.Compress{Pos: testPos, MinBytes: 100, Types: []string{"text/css", "text/html"}, Vary: true},
	}), "compression/", 4)
	sent := map[string]string{}
	for _, q := range a.probes {
		sent[q.Case] = q.Request.Header["Accept-Encoding"] + " " + q.Request.Header[history.ResponseSpecHeader]
	}
	assert.Equal(t, map[string]string{
		"100 B of text/css":               "gzip status=200&size=100&type=text%2Fcss",
		"the client does not accept gzip": "identity status=200&size=200&type=text%2Fcss",
		"one byte below the minimum size": "gzip status=200&size=99&type=text%2Fcss",
		"an unlisted type":                "gzip status=200&size=200&type=image%2Fpng",
	}, sent)

	plain := history.Hit{Code: 200, Server: "a"}
	packed := history.Hit{Code: 200, Server: "a", Header: encodeHeader("Content-Encoding", "gzip", "Vary", "Accept-Encoding")}
	withoutVary := history.Hit{Code: 200, Server: "a", Header: encodeHeader("Content-Encoding", "gzip")}
	large := a.find(t, "100 B of text/css", "GET http://any:80/")
	large(packed, "", "a")
	large(plain, "status 200 from a without Content-Encoding: gzip", "a")
	large(withoutVary, "status 200 from a without Vary", "a")
	large(history.Hit{Code: 502}, "status 502 from the balancer instead of 200")
	for _, label := range []string{"the client does not accept gzip", "one byte below the minimum size", "an unlisted type"} {
		other := a.find(t, label, "GET http://any:80/")
		other(plain, "", "a")
		other(packed, `status 200 from a with unexpected Content-Encoding: "gzip"`, "a")
	}
}

// With any size and type there are fewer boundaries, and Vary is not checked unless configured.
func TestCompressionOfEverything(t *testing.T) {
	a := probesFor(t, Compression, configOf(model.Route{
		Path: "/", Pool: "p", DefaultHost: true, Compress: &model.Compress{Pos: testPos},
	}), "compression/", 2)
	one := a.find(t, "1 B of text/html", "GET http://any:80/")
	one(history.Hit{Code: 200, Server: "a", Header: encodeHeader("Content-Encoding", "gzip")}, "", "a")
	one(history.Hit{Code: 200, Server: "a"}, "status 200 from a without Content-Encoding: gzip", "a")
}
