package agent

import (
	"context"
	"fmt"
	"net"
	"strconv"
)

// LocalForward is a service of another node that is to be found on the node's own loopback address too, at the same port: where a
// configuration asks 127.0.0.1 for a cache, that is where the cache is.
type LocalForward struct {
	Port int
	Host string // of the node that has it
}

// serve takes connections to the loopback address and passes each on to the other node. Where that refuses them, they are reset.
func (l LocalForward) serve(ctx context.Context) error {
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Port)))
	if err != nil {
		return fmt.Errorf("take the place of %s on the loopback address: %w", l.Host, err)
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
