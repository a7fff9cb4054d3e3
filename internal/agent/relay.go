package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"github.com/lbproof/lbproof/internal/sleep"
)

// Stream is what the action Relay does to the node's responses. The zero value forwards them unchanged.
type Stream struct {
	Stall     bool          `json:",omitempty"` // accept connections, forward nothing back
	CutAfter  int64         `json:",omitempty"` // close a connection after this many bytes of response
	Reset     bool          `json:",omitempty"` // close with a TCP reset instead of a normal end
	ChunkSize int           `json:",omitempty"` // forward at most this many bytes at once
	Pause     time.Duration `json:",omitempty"` // after each chunk, and before a close
}

// relays are inserted before the node's ports as soon as a rule needs one and stay, so that connections already open
// when a fault begins are affected too.
type relays struct {
	ctx context.Context

	mu      sync.Mutex
	ports   map[int]*relay
	working sync.WaitGroup
}

func newRelays(ctx context.Context) *relays { return &relays{ctx: ctx, ports: map[int]*relay{}} }

// relay forwards the connections of one port.
type relay struct {
	to       netip.AddrPort
	stream   atomic.Pointer[Stream]
	affected atomic.Int64
}

// set applies a rule's stream to its ports, creating missing relays.
func (all *relays) set(r Rule) (undo func() (int, error), err error) {
	if len(r.Ports) == 0 || len(r.Peers) == 0 {
		return nil, errors.New("relay rule: needs ports and peers")
	}
	var mine []*relay
	for _, port := range r.Ports {
		one, err := all.get(r.Peers, port)
		if err != nil {
			return nil, err
		}
		one.affected.Store(0)
		one.stream.Store(&r.Stream)
		mine = append(mine, one)
	}
	return func() (touched int, _ error) {
		for _, one := range mine {
			one.stream.Store(&Stream{})
			touched += int(one.affected.Load())
		}
		return touched, nil
	}, nil
}

// get returns the relay of a port, creating it if needed.
func (all *relays) get(with []netip.Addr, port int) (*relay, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if one := all.ports[port]; one != nil {
		return one, nil
	}
	host, err := ownAddress()
	if err != nil {
		return nil, err
	}
	one := &relay{to: netip.AddrPortFrom(host, uint16(port))} // loopback connections are no traffic
	one.stream.Store(&Stream{})
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		return nil, fmt.Errorf("listen for relay: %w", err)
	}
	if err := redirect(with, port, listener.Addr().(*net.TCPAddr).Port); err != nil {
		listener.Close()
		return nil, err
	}
	context.AfterFunc(all.ctx, func() { listener.Close() })
	all.working.Go(func() { one.accept(all.ctx, listener) })
	all.ports[port] = one
	return one, nil
}

// redirect redirects connections to another port, for the lifetime of the namespace.
func redirect(with []netip.Addr, from, to int) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("connect to nftables: %w", err)
	}
	mine := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: fmt.Sprintf("lbproof-relay-%d", from)})
	chain := c.AddChain(&nftables.Chain{
		Name: "in", Table: mine, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
	})
	for _, other := range with {
		c.AddRule(&nftables.Rule{Table: mine, Chain: chain, Exprs: append(matchPackets(In, other, from, false),
			&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(to))},
			&expr.Redir{RegisterProtoMin: 1, Flags: natSpecified})})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("apply nftables rules: %w", err)
	}
	return nil
}

// natSpecified is the kernel's NF_NAT_RANGE_PROTO_SPECIFIED.
const natSpecified = 2

// ownAddress returns the node's first address that is not loopback.
func ownAddress() (netip.Addr, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find node address: %w", err)
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, errors.New("find node address: none")
}

func (r *relay) accept(ctx context.Context, listener net.Listener) {
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		serving.Go(func() { r.serve(ctx, conn.(*net.TCPConn)) })
	}
}

// serve forwards a connection. If the node does not accept it, it is reset, as without the relay.
func (r *relay) serve(ctx context.Context, client *net.TCPConn) {
	defer client.Close()
	dialed, err := net.DialTimeout("tcp4", r.to.String(), 10*time.Second)
	if err != nil {
		_ = client.SetLinger(0)
		return
	}
	server := dialed.(*net.TCPConn)
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	var passing sync.WaitGroup
	passing.Go(func() { // requests are forwarded unchanged
		_, _ = server.ReadFrom(client)
		_ = server.CloseWrite()
	})
	r.copyResponses(ctx, client, server)
	client.Close()
	server.Close()
	passing.Wait()
}

// copyResponses forwards the node's responses as the current stream specifies.
func (r *relay) copyResponses(ctx context.Context, client, server *net.TCPConn) {
	buf := make([]byte, 32<<10)
	passed, last := int64(0), (*Stream)(nil)
	for {
		n, err := server.Read(buf)
		s := r.stream.Load()
		if s != last {
			passed, last = 0, s
		}
		if *s != (Stream{}) {
			r.affected.Add(1)
		}
		rest := buf[:n]
		for s.Stall && ctx.Err() == nil {
			sleep.For(ctx, 10*time.Millisecond)
			s = r.stream.Load()
		}
		for len(rest) > 0 {
			piece, end := s.nextChunk(rest, passed)
			if _, err := client.Write(rest[:piece]); err != nil {
				return
			}
			if passed += int64(piece); end {
				if s.Reset {
					_ = client.SetLinger(0)
				}
				return
			}
			if rest = rest[piece:]; s.ChunkSize > 0 {
				sleep.For(ctx, s.Pause)
			}
		}
		if err != nil {
			sleep.For(ctx, r.stream.Load().Pause)
			return
		}
	}
}

// nextChunk returns how many bytes to forward next, and whether the connection ends after them.
func (s *Stream) nextChunk(rest []byte, passed int64) (n int, end bool) {
	n = len(rest)
	if s.ChunkSize > 0 {
		n = min(n, s.ChunkSize)
	}
	if limited := s.CutAfter > 0 || s.Reset; limited && passed+int64(n) >= s.CutAfter {
		return int(max(0, s.CutAfter-passed)), true
	}
	return n, false
}
