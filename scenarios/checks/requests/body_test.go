package requests

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
)

func upTo(bytes int64) model.Config {
	return configOf(model.Route{Path: "/up", Pool: "p", DefaultHost: true, MaxBody: &model.Number{Pos: testPos, Value: bytes}})
}

// A body at the limit is accepted; one byte more does not reach a backend.
func TestBody(t *testing.T) {
	a := probesFor(t, Body, upTo(10), "body/up", 2)
	largest := a.find(t, "exactly at the limit", "POST http://any:80/up, 10 bytes")
	largest(history.Hit{Code: 200, Server: "a"}, "", "a")
	largest(history.Hit{Code: 500, Server: "a"}, "", "a") // not about its size
	largest(history.Hit{Code: 413}, "unexpected status 413 from the balancer")
	larger := a.find(t, "one byte over the limit", "POST http://any:80/up, 11 bytes")
	larger(history.Hit{Code: 413}, "")
	larger(history.Hit{Code: 413}, "forwarded to a", "a")
	larger(history.Hit{Code: 200, Server: "a"}, "status 200 from a instead of 413", "a")
	larger(history.Hit{Err: history.Reset}, "no response (connection reset)")
}

// Without a limit, a large body is accepted.
func TestBodyWithoutLimit(t *testing.T) {
	large := probesFor(t, Body, upTo(0), "body/up", 1).find(t, "4 MiB", "POST http://any:80/up, 4194304 bytes")
	large(history.Hit{Code: 200, Server: "a"}, "", "a")
	large(history.Hit{Code: 413}, "unexpected status 413 from the balancer")
}

// A limit that lbproof cannot reach is not probed.
func TestBodyTooLargeToSend(t *testing.T) {
	cfg := upTo(64 << 20)
	claims := Body.Claims(cfg)
	require.Len(t, claims, 1)
	probes, untestable := Body.Probes(cfg, claims[0])
	assert.Empty(t, probes)
	assert.Equal(t, "lbproof sends bodies of at most 64 MiB (67,108,864 B)", untestable)
}
