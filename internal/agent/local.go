package agent

import (
	"context"
	"fmt"
	"net"
	"strconv"
)

// LocalForward makes another node's service available at the same port of the node's loopback address, e.g. a cache
// that the configuration expects at 127.0.0.1.
type LocalForward struct {
	Port int
	Host string // of the other node
}

// serve forwards connections to the other node. If that refuses them, they are reset.
func (l LocalForward) serve(ctx context.Context) error {
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Port)))
	if err != nil {
		return fmt.Errorf("listen on the loopback address for %s: %w", l.Host, err)
	}
	accept(ctx, listener, func(conn net.Conn) {
		var d net.Dialer
		other, err := d.DialContext(ctx, "tcp4", net.JoinHostPort(l.Host, strconv.Itoa(l.Port)))
		if err != nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			return
		}
		proxy(ctx, conn, other, conn)
	})
	return nil
}
