package agent

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGateway(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	closed := make(chan error)
	go func() { closed <- gateway(ctx, "key") }()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.RemoteAddr)) }))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	var conn net.Conn
	require.Eventually(t, func() bool {
		var err error
		conn, err = net.Dial("tcp4", "127.0.0.1:"+strconv.Itoa(GatewayPort))
		return err == nil
	}, 5*time.Second, 10*time.Millisecond)
	defer conn.Close()
	_, err := conn.Write(append(Preamble("key")(port, "127.0.0.77"), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"...))
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	from, err := bufio.NewReader(resp.Body).ReadString(0)
	assert.Error(t, err, "the body's end")
	assert.Contains(t, from, "127.0.0.77:")
	stop()
	require.NoError(t, <-closed)
}

// Clients without the run's key get nothing.
func TestGatewayNeedsTheKey(t *testing.T) {
	for _, key := range []string{"", "other", "key2"} {
		client, gate := net.Pipe()
		entered := make(chan error, 1)
		go func() {
			defer gate.Close()
			entered <- serveGateway(t.Context(), "key", gate)
		}()
		_, err := client.Write(Preamble(key)(80, "127.0.0.1"))
		require.NoError(t, err)
		assert.ErrorContains(t, <-entered, "wrong key")
		client.Close()
	}
}

// A Unix socket that accepts commands is served as a page.
func TestSocketCommand(t *testing.T) {
	at := filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", at)
	require.NoError(t, err)
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		command, _ := bufio.NewReader(conn).ReadString('\n')
		_, _ = conn.Write([]byte("received: " + command))
	}()
	client, gate := net.Pipe()
	defer client.Close()
	go func() {
		defer gate.Close()
		_ = serveGateway(t.Context(), "key", gate)
	}()
	_, err = client.Write(append(Preamble("key")(0, at), "GET /show%20stat HTTP/1.1\r\nHost: x\r\n\r\n"...))
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(client), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Equal(t, "received: show stat\n", string(body))
}
