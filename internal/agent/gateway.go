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

// GatewayPort accepts connections to be forwarded as if they came from the node itself, or from an address that the
// node claims for them.
const GatewayPort = 7072

// Preamble returns what a client sends first to the gateway: the key, a port of the node, and the source of the
// connection. The source is an address, or a Unix socket of the node, which then serves its commands as pages: GET
// /show%20stat.
func Preamble(key string) func(port int, from string) []byte {
	return func(port int, from string) []byte { return fmt.Appendf(nil, "%q %d %s\n", key, port, from) }
}

// gateway forwards connections that present the key, until ctx ends.
func gateway(ctx context.Context, key string) error {
	listener, err := net.Listen("tcp4", fmt.Sprintf(":%d", GatewayPort))
	if err != nil {
		return fmt.Errorf("open gateway: %w", err)
	}
	accept(ctx, listener, func(conn net.Conn) {
		_ = serveGateway(ctx, key, conn) // the client sees the connection end
	})
	return nil
}

// accept serves connections until ctx ends and returns once all are closed.
func accept(ctx context.Context, listener net.Listener, serve func(net.Conn)) {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // closed
		}
		serving.Go(func() {
			defer conn.Close()
			serve(conn)
		})
	}
}

// serveGateway connects a client to the requested port.
func serveGateway(ctx context.Context, key string, client net.Conn) error {
	r := bufio.NewReader(client)
	_ = client.SetReadDeadline(time.Now().Add(5 * time.Second)) // the preamble is sent at once
	var port int
	var given, text string
	if _, err := fmt.Fscanf(r, "%q %d %s\n", &given, &port, &text); err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(given), []byte(key)) != 1 {
		return errors.New("wrong key")
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

// runSocketCommand sends a request's path to a Unix socket as a command and responds with the output.
func runSocketCommand(ctx context.Context, client net.Conn, r *bufio.Reader, socket string) error {
	req, err := http.ReadRequest(r)
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
	if _, err := fmt.Fprintln(node, strings.TrimPrefix(req.URL.Path, "/")); err != nil {
		return err
	}
	output, err := io.ReadAll(node)
	if err != nil {
		return err
	}
	resp := http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Close: true,
		Header:        http.Header{"Content-Type": {"text/plain"}},
		ContentLength: int64(len(output)), Body: io.NopCloser(bytes.NewReader(output)),
	}
	return resp.Write(client)
}

// proxy copies from request to other and from other to client until one of them ends.
func proxy(ctx context.Context, client, other net.Conn, request io.Reader) {
	defer other.Close()
	stop := context.AfterFunc(ctx, func() { other.Close(); client.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(other, request) // the peer sees the end, whoever caused it
		_ = other.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, other)
	client.Close() // ends the other direction too
	<-done
}

// claimAddress adds a local route, so that the node accepts the address as its own.
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
