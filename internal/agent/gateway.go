package agent

import (
	"bufio"
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// GatewayPort is where the agent takes connections that are to come from its node itself, or from an address that the node is
// given for them.
const GatewayPort = 7072

// Preamble makes what a client of the gateway sends first: the key, a port of the node, and where the connection is to come from, an address
// or a Unix socket of the node, whose answers to commands are a page then: GET /show%20stat.
func Preamble(key string) func(port int, from string) []byte {
	return func(port int, from string) []byte { return fmt.Appendf(nil, "%q %d %s\n", key, port, from) }
}

// gateway passes connections that bring the key on to the node's ports, until ctx ends.
func gateway(ctx context.Context, key string) error {
	listener, err := net.Listen("tcp4", fmt.Sprintf(":%d", GatewayPort))
	if err != nil {
		return fmt.Errorf("open the gateway: %w", err)
	}
	accept(ctx, listener, func(conn net.Conn) {
		_ = serveGateway(ctx, key, conn) // the client sees that its connection ends
	})
	return nil
}

// accept has each connection served until ctx ends, and returns when all are.
func accept(ctx context.Context, listener net.Listener, serve func(net.Conn)) {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // it was closed
		}
		serving.Go(func() {
			defer conn.Close()
			serve(conn)
		})
	}
}

// serveGateway connects a client with the port that it asks for.
func serveGateway(ctx context.Context, key string, client net.Conn) error {
	r := bufio.NewReader(client)
	_ = client.SetReadDeadline(time.Now().Add(5 * time.Second)) // it knocks at once
	var port int
	var brought, text string
	if _, err := fmt.Fscanf(r, "%q %d %s\n", &brought, &port, &text); err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(brought), []byte(key)) != 1 {
		return errors.New("the key is wrong")
	}
	_ = client.SetReadDeadline(time.Time{})
	if path.IsAbs(text) {
		return runSocketCommand(ctx, client, r, text)
	}
	from, err := netip.ParseAddr(text)
	if err != nil {
		return err
	}
	to := net.IPv4(127, 0, 0, 1)
	if !from.IsLoopback() {
		to = client.LocalAddr().(*net.TCPAddr).IP
		if err := claimAddress(from); err != nil {
			return err
		}
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	node, err := d.DialContext(ctx, "tcp4", (&net.TCPAddr{IP: to, Port: port}).String())
	if err != nil {
		return err
	}
	proxy(ctx, client, node, r)
	return nil
}

// runSocketCommand has a Unix socket carry out a request's path, and answers with what it says.
func runSocketCommand(ctx context.Context, client net.Conn, r *bufio.Reader, socket string) error {
	asked, err := http.ReadRequest(r)
	if err != nil {
		return err
	}
	var d net.Dialer
	node, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer node.Close()
	_ = node.SetDeadline(time.Now().Add(callTimeout))
	if _, err := fmt.Fprintln(node, strings.TrimPrefix(asked.URL.Path, "/")); err != nil {
		return err
	}
	said, err := io.ReadAll(node)
	if err != nil {
		return err
	}
	answer := http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Close: true,
		Header:        http.Header{"Content-Type": {"text/plain"}},
		ContentLength: int64(len(said)), Body: io.NopCloser(bytes.NewReader(said)),
	}
	return answer.Write(client)
}

// proxy passes on what a client says, read from says, and what the other answers, until one of them ends.
func proxy(ctx context.Context, client, other net.Conn, says io.Reader) {
	defer other.Close()
	stop := context.AfterFunc(ctx, func() { other.Close(); client.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(other, says) // whoever ends it, the other sees the end
		_ = other.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, other)
	client.Close() // which ends the other direction too
	<-done
}

// claimAddress gives the node an address, as local routes do.
func claimAddress(addr netip.Addr) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	dst := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(32, 32)}
	return netlink.RouteReplace(&netlink.Route{
		LinkIndex: lo.Attrs().Index, Dst: dst, Type: unix.RTN_LOCAL,
		Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST,
	})
}
