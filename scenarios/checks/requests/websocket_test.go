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
	shake(history.Hit{Code: 200, Server: "b"}, "status 200 from b instead of 101", "b")
	shake(history.Hit{Code: 101, Server: "a"}, "status 101 from a, which is not a server of q", "a")
	shake(history.Hit{Code: 101, Server: "b", Err: history.Closed}, "no response (connection closed)", "b") // no echoed message
}
