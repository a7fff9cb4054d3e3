package agent

import (
	"bufio"
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Another node's service is available on the loopback address; if it refuses connections, they are reset there.
func TestLocalForward(t *testing.T) {
	other, err := net.Listen("tcp4", "127.0.0.2:0")
	require.NoError(t, err)
	port := other.Addr().(*net.TCPAddr).Port
	go func() {
		conn, err := other.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		_, _ = conn.Write([]byte("received " + line))
	}()
	ctx, stop := context.WithCancel(t.Context())
	closed := make(chan error)
	go func() { closed <- LocalForward{Port: port, Host: "127.0.0.2"}.serve(ctx) }()
	at := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String()
	var conn net.Conn
	require.Eventually(t, func() bool {
		conn, err = net.Dial("tcp4", at)
		return err == nil
	}, 5*time.Second, 10*time.Millisecond)
	_, err = conn.Write([]byte("hello\n"))
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "received hello\n", line)
	require.NoError(t, conn.Close())
	require.NoError(t, other.Close())
	// The reset may arrive before the connect returns.
	conn, err = net.Dial("tcp4", at)
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
		require.NoError(t, conn.Close())
	}
	require.ErrorContains(t, err, "reset")
	stop()
	require.NoError(t, <-closed)
}
