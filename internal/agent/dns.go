package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// DNSOverride changes the node's DNS responses for a name; other queries are forwarded.
type DNSOverride struct {
	Name     string     `json:",omitempty"`
	Address  netip.Addr `json:",omitzero"`  // instead of the real address
	ServFail bool       `json:",omitempty"` // SERVFAIL
	NoReply  bool       `json:",omitempty"` // drop the query
}

// passMark marks packets of forwarded queries, so that they are not redirected again.
const passMark = 0x1b

// nameServer is Docker's DNS server inside a container.
const nameServer = "127.0.0.11:53"

// resolver answers the node's DNS queries while overrides exist. All share one, because a query can be redirected only
// once.
type resolver struct {
	ctx context.Context

	changeMu sync.Mutex // held while overrides are added or removed
	stop     func() error

	mu        sync.Mutex
	overrides []*activeOverride // latest last
}

// activeOverride is an override and how often it was used.
type activeOverride struct {
	DNSOverride
	affected int
}

// add installs an override. undo returns how often it was used.
func (r *resolver) add(names DNSOverride) (undo func() (int, error), err error) {
	r.changeMu.Lock()
	defer r.changeMu.Unlock()
	if r.stop == nil {
		stop, err := r.start()
		if err != nil {
			return nil, err
		}
		r.stop = stop
	}
	one := &activeOverride{DNSOverride: names}
	r.mu.Lock()
	r.overrides = append(r.overrides, one)
	r.mu.Unlock()
	return func() (int, error) { return r.remove(one) }, nil
}

func (r *resolver) remove(one *activeOverride) (touched int, err error) {
	r.changeMu.Lock()
	defer r.changeMu.Unlock()
	r.mu.Lock()
	r.overrides = slices.DeleteFunc(r.overrides, func(other *activeOverride) bool { return other == one })
	left := len(r.overrides)
	r.mu.Unlock()
	if left == 0 {
		err = r.stop()
		r.stop = nil
	}
	return one.affected, err
}

// start redirects the node's DNS queries to the resolver.
func (r *resolver) start() (stop func() error, err error) {
	listener, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for DNS queries: %w", err)
	}
	c, err := nftables.New()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to nftables: %w", err), listener.Close())
	}
	t := nftTable{name: "lbproof-names"}
	mine := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: t.name})
	redirectQueries(c, mine, listener.LocalAddr().(*net.UDPAddr).Port)
	if err := c.Flush(); err != nil {
		return nil, errors.Join(fmt.Errorf("apply nftables rules: %w", err), listener.Close())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.serve(listener)
	}()
	return func() error {
		_, err := t.delete(c, mine)
		listener.Close()
		<-done
		return err
	}, nil
}

// redirectQueries redirects the node's DNS queries to a port, except those with passMark.
func redirectQueries(c *nftables.Conn, mine *nftables.Table, port int) {
	before := *nftables.ChainPriorityNATDest - 1 // before Docker's own translation
	chain := c.AddChain(&nftables.Chain{
		Name: "out", Table: mine, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: &before,
	})
	c.AddRule(&nftables.Rule{Table: mine, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(passMark)},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: destinationPortAt, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(53)},
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(port))},
		&expr.Redir{RegisterProtoMin: 1, Flags: natSpecified},
	}})
}

func (r *resolver) serve(listener net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := listener.ReadFrom(buf)
		if err != nil {
			return
		}
		query := append([]byte(nil), buf[:n]...)
		answer, ours := r.reply(query)
		go func() {
			if !ours {
				answer, _ = forwardQuery(r.ctx, query)
			}
			if len(answer) > 0 {
				_, _ = listener.WriteTo(answer, from)
			}
		}()
	}
}

// reply answers a query by the latest override that matches.
func (r *resolver) reply(query []byte) (answer []byte, ours bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range slices.Backward(r.overrides) {
		if answer, ours = one.reply(query); ours {
			one.affected++
			return answer, true
		}
	}
	return nil, false
}

// reply answers a query; ours is false if it is for another name.
func (n DNSOverride) reply(query []byte) (answer []byte, ours bool) {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil, false
	}
	q := m.Questions[0]
	name := strings.TrimSuffix(strings.ToLower(q.Name.String()), ".")
	if n.Name != "" && name != n.Name {
		return nil, false
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	switch {
	case n.NoReply:
		return nil, true
	case n.ServFail:
		m.RCode = dnsmessage.RCodeServerFailure
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: n.Address.As4()},
		}}
	}
	answer, err := m.Pack()
	return answer, err == nil
}

// forwardQuery forwards a query to the real DNS server.
func forwardQuery(ctx context.Context, query []byte) ([]byte, error) {
	d := net.Dialer{Timeout: time.Second, Control: func(_, _ string, c syscall.RawConn) (err error) {
		mark := func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, passMark) }
		return errors.Join(c.Control(mark), err)
	}}
	conn, err := d.DialContext(ctx, "udp4", nameServer)
	if err != nil {
		return nil, fmt.Errorf("query the DNS server: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(query); err != nil {
		return nil, fmt.Errorf("query the DNS server: %w", err)
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	return buf[:n], err
}
