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

// DNSOverride is how the node's questions for names are answered; other questions are passed on.
type DNSOverride struct {
	Name     string     `json:",omitempty"`
	Address  netip.Addr `json:",omitzero"`  // in place of the true address
	ServFail bool       `json:",omitempty"` // a server failure
	NoReply  bool       `json:",omitempty"` // no answer at all
}

// passMark is on the packets of questions that are passed on, so that they are not taken back.
const passMark = 0x1b

// nameServer is where Docker answers in a container.
const nameServer = "127.0.0.11:53"

// resolver answers the node's questions while any name is to be answered otherwise: one for all of them, since a question
// comes by once only.
type resolver struct {
	ctx context.Context

	changeMu sync.Mutex // held while names come and go
	stop     func() error

	mu        sync.Mutex
	overrides []*activeOverride // the latest last
}

// activeOverride is a name with an answer of its own, and how often that was given.
type activeOverride struct {
	DNSOverride
	affected int
}

// add has a name answered otherwise. undo says how often it was.
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

// start takes the node's questions.
func (r *resolver) start() (stop func() error, err error) {
	listener, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for questions: %w", err)
	}
	c, err := nftables.New()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reach nftables: %w", err), listener.Close())
	}
	t := nftTable{name: "lbproof-names"}
	mine := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: t.name})
	redirectQueries(c, mine, listener.LocalAddr().(*net.UDPAddr).Port)
	if err := c.Flush(); err != nil {
		return nil, errors.Join(fmt.Errorf("tell nftables: %w", err), listener.Close())
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

// redirectQueries sends the host's questions for names to a port, but those with passMark.
func redirectQueries(c *nftables.Conn, mine *nftables.Table, port int) {
	before := *nftables.ChainPriorityNATDest - 1 // Docker's own translation comes after
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
		question := append([]byte(nil), buf[:n]...)
		answer, ours := r.reply(question)
		go func() {
			if !ours {
				answer, _ = forwardQuery(r.ctx, question)
			}
			if len(answer) > 0 {
				_, _ = listener.WriteTo(answer, from)
			}
		}()
	}
}

// reply asks the names, the latest first.
func (r *resolver) reply(question []byte) (answer []byte, ours bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range slices.Backward(r.overrides) {
		if answer, ours = one.reply(question); ours {
			one.affected++
			return answer, true
		}
	}
	return nil, false
}

// reply says what a question gets; ours is false where it is not about the name.
func (n DNSOverride) reply(question []byte) (answer []byte, ours bool) {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil, false
	}
	q := m.Questions[0]
	asked := strings.TrimSuffix(strings.ToLower(q.Name.String()), ".")
	if n.Name != "" && asked != n.Name {
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

// forwardQuery asks the true name server.
func forwardQuery(ctx context.Context, question []byte) ([]byte, error) {
	d := net.Dialer{Timeout: time.Second, Control: func(_, _ string, c syscall.RawConn) (err error) {
		mark := func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, passMark) }
		return errors.Join(c.Control(mark), err)
	}}
	conn, err := d.DialContext(ctx, "udp4", nameServer)
	if err != nil {
		return nil, fmt.Errorf("ask the name server: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(question); err != nil {
		return nil, fmt.Errorf("ask the name server: %w", err)
	}
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	return buf[:n], err
}
