package requests

import (
	"testing"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
)

// toHTTPS is the same host, path and query with https.
var toHTTPS = model.Template{Pieces: []model.Piece{{Text: "https://"}, {Variable: model.Host}, {Variable: model.URI}}}

// Path, query and host are kept, and no backend sees the request.
func TestRedirects(t *testing.T) {
	a := probesFor(t, Redirects, configOf(model.Route{
		Path: "/", DefaultHost: true, Redirect: &model.Redirect{Pos: testPos, Code: 301, To: toHTTPS},
	}), "redirects/", 3)
	f := func(label, request, to string) {
		t.Helper()
		reply := a.find(t, label, request)
		reply(history.Hit{Code: 301, Header: encodeHeader("Location", to)}, "")
		reply(history.Hit{Code: 302, Header: encodeHeader("Location", to)}, "status 302 from the balancer instead of 301")
		reply(history.Hit{Code: 301}, "status 301 from the balancer without Location: "+to)
		reply(history.Hit{Code: 301, Header: encodeHeader("Location", to)}, "forwarded to a", "a")
		reply(history.Hit{Code: 301, Header: encodeHeader("Location", "https://lbproof.test/")},
			`status 301 from the balancer with Location: ["https://lbproof.test/"] instead of ["`+to+`"]`)
	}
	f("path and query are kept", "GET http://lbproof.test:80/lbproof?a=1&b=2", "https://lbproof.test/lbproof?a=1&b=2")
	f("a POST", "POST http://lbproof.test:80/lbproof?a=1&b=2", "https://lbproof.test/lbproof?a=1&b=2")
	f("an unknown host", "GET http://evil.example:80/lbproof?a=1&b=2", "https://evil.example/lbproof?a=1&b=2")
}

// A route with one path and one host is probed only there.
func TestRedirectsOfOnePath(t *testing.T) {
	a := probesFor(t, Redirects, configOf(model.Route{
		Path: "/old", Exact: true, Hosts: []string{"shop.example"},
		Redirect: &model.Redirect{Pos: testPos, Code: 302, To: model.Literal("/new")},
	}), "redirects/http://shop.example = /old", 2)
	moved := a.find(t, "path and query are kept", "GET http://shop.example:80/old?a=1&b=2")
	moved(history.Hit{Code: 302, Header: encodeHeader("Location", "/new")}, "")
	moved(history.Hit{Code: 404}, "status 404 from the balancer instead of 302")
}

// If the target is not predictable, any Location will do.
func TestRedirectsToUnknownTargets(t *testing.T) {
	unknown := model.Template{Pieces: []model.Piece{{Variable: model.OtherVariable}}}
	a := probesFor(t, Redirects, configOf(model.Route{
		Path: "/", DefaultHost: true, Redirect: &model.Redirect{Pos: testPos, Code: 301, To: unknown},
	}), "redirects/", 3)
	moved := a.find(t, "a POST", "POST http://lbproof.test:80/lbproof?a=1&b=2")
	moved(history.Hit{Code: 301, Header: encodeHeader("Location", "https://elsewhere.example/")}, "")
	moved(history.Hit{Code: 301}, "status 301 from the balancer without Location")
}

// Unsafe methods may have a status of their own that preserves POST.
func TestRedirectsOfUnsafeMethods(t *testing.T) {
	a := probesFor(t, Redirects, configOf(model.Route{
		Path: "/", DefaultHost: true, Redirect: &model.Redirect{Pos: testPos, Code: 302, NonGetCode: 307, To: toHTTPS},
	}), "redirects/", 3)
	const request, to = "http://lbproof.test:80/lbproof?a=1&b=2", "https://lbproof.test/lbproof?a=1&b=2"
	a.find(t, "path and query are kept", "GET "+request)(history.Hit{Code: 302, Header: encodeHeader("Location", to)}, "")
	posted := a.find(t, "a POST", "POST "+request)
	posted(history.Hit{Code: 307, Header: encodeHeader("Location", to)}, "")
	posted(history.Hit{Code: 302, Header: encodeHeader("Location", to)}, "status 302 from the balancer instead of 307")
}
