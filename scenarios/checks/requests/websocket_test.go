package requests

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
)

// A handshake reaches a server of the pool and is answered with 101.
func TestWebSocket(t *testing.T) {
	cfg := configOf(
		model.Route{Path: "/", Pool: "p", DefaultHost: true},
		model.Route{Path: "/live", Pool: "q", DefaultHost: true, Upgrade: &model.Upgrade{Pos: testPos}},
	)
	a := probesFor(t, WebSocket, cfg, "websocket/live", 1)
	sent := a.probes[0].Request.Header
	assert.Equal(t, "Upgrade", sent["Connection"])
	assert.Equal(t, "websocket", sent["Upgrade"])
	assert.Equal(t, "13", sent["Sec-WebSocket-Version"])
	shake := a.find(t, "a handshake and an echoed message", "GET http://any:80/live")
	shake(history.Hit{Code: 101, Server: "b"}, "", "b")
	shake(history.Hit{Code: 200, Server: "b"}, "answered 200 by b instead of 101", "b")
	shake(history.Hit{Code: 101, Server: "a"}, "answered 101 by a, which is no server of q", "a")
	shake(history.Hit{Code: 101, Server: "b", Err: history.Closed}, "no answer (closed)", "b") // no echoed message
}
