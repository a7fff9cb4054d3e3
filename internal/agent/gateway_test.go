package agent

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGateway(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	closed := make(chan error)
	go func() { closed <- gateway(ctx) }()
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
	_, err := conn.Write(append(Knock(port, "127.0.0.77"), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"...))
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
