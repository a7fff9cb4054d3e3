package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// Rule is a fault of the node's network.
type Rule struct {
	Action Action
	Peers  []netip.Addr // the other ends; empty is everybody but the node itself
	// Ports are the node's own that it is about; empty is all traffic between the two, whichever opened the connection.
	Ports     []int     `json:",omitempty"`
	Direction Direction `json:",omitempty"`
	SYNOnly   bool      `json:",omitempty"` // only packets that ask for a connection
	// ExpiresAfter is when the rule takes itself back; 0 is when it is told to.
	ExpiresAfter time.Duration
	Shape        Shape       `json:",omitzero"` // of Delay
	Stream       Stream      `json:",omitzero"` // of Relay
	DNS          DNSOverride `json:",omitzero"` // of Resolve
	From         netip.Addr  `json:",omitzero"` // of Move: the address that the node has,
	To           netip.Addr  `json:",omitzero"` // and the one that it gets
}

// Action is what becomes of the packets.
type Action string

// The deeds.
const (
	Refuse  Action = "refuse"  // answered with a TCP reset
	Drop    Action = "drop"    // without a trace
	Delay   Action = "delay"   // late, at a rate or in part not at all, as Shape says
	Relay   Action = "relay"   // connections are taken apart, as Stream says
	Resolve Action = "resolve" // the node's questions for names are answered as Names says
	Move    Action = "move"    // the node has another address
)

// Direction is the direction of the packets, seen from the node.
type Direction string

// The ways.
const (
	Both Direction = ""
	In   Direction = "in"
	Out  Direction = "out"
)

// install makes a rule the kernel's. undo takes it back, and says how many packets or connections it touched.
func (a *agent) install(ctx context.Context, id int, r Rule) (undo func() (int, error), err error) {
	t := nftTable{name: fmt.Sprintf("lbproof-%d", id)}
	switch r.Action {
	case Refuse:
		return t.addRules(r, &expr.Reject{Type: unix.NFT_REJECT_TCP_RST})
	case Drop:
		return t.addRules(r, &expr.Verdict{Kind: expr.VerdictDrop})
	case Delay:
		number := uint16(firstQueue + id)
		q, err := newQueue(ctx, number, r.Shape)
		if err != nil {
			return nil, err
		}
		off, err := t.addRules(r, toQueue(number))
		if err != nil {
			q.close()
			return nil, err
		}
		return func() (int, error) {
			_, err := off()
			return q.close(), err
		}, nil
	case Relay:
		return a.relays.set(r)
	case Resolve:
		return a.resolver.add(r.DNS)
	case Move:
		return changeAddress(r.From, r.To)
	}
	return nil, fmt.Errorf("no rule does %q", r.Action)
}

// nftTable is an nftables table of one rule's own.
type nftTable struct{ name string }

// addRules catches packets as the rule describes them.
func (t nftTable) addRules(r Rule, verdict expr.Any) (undo func() (int, error), err error) {
	if len(r.Peers) == 0 {
		return nil, errors.New("a rule needs to know between whom")
	}
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("reach nftables: %w", err)
	}
	mine := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: t.name})
	chains := map[Direction]*nftables.ChainHook{In: nftables.ChainHookInput, Out: nftables.ChainHookOutput}
	for way, hook := range chains {
		concerned := r.Direction == Both || r.Direction == way
		if !concerned || way == Out && isReject(verdict) {
			continue
		}
		chain := c.AddChain(&nftables.Chain{
			Name: string(way), Table: mine, Type: nftables.ChainTypeFilter,
			Hooknum: hook, Priority: nftables.ChainPriorityFilter,
		})
		for _, other := range r.Peers {
			for _, port := range portsOf(r) {
				c.AddRule(&nftables.Rule{
					Table: mine, Chain: chain,
					Exprs: append(matchPackets(way, other, port, r.SYNOnly), &expr.Counter{}, verdict),
				})
			}
		}
	}
	if err := c.Flush(); err != nil {
		return nil, fmt.Errorf("tell nftables: %w", err)
	}
	return func() (int, error) { return t.delete(c, mine) }, nil
}

// isReject: a reset answers what comes in; what goes out is then answered by the other end.
func isReject(verdict expr.Any) bool {
	_, is := verdict.(*expr.Reject)
	return is
}

// portsOf are the ports of a rule; 0 is any.
func portsOf(r Rule) []int {
	if len(r.Ports) == 0 {
		return []int{0}
	}
	return r.Ports
}

// delete deletes the table, and counts what its rules caught.
func (t nftTable) delete(c *nftables.Conn, mine *nftables.Table) (touched int, err error) {
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return 0, fmt.Errorf("count what was caught: %w", err)
	}
	for _, chain := range chains {
		if chain.Table.Name != t.name {
			continue
		}
		rules, err := c.GetRules(mine, chain)
		if err != nil {
			return 0, fmt.Errorf("count what was caught: %w", err)
		}
		for _, rule := range rules {
			for _, e := range rule.Exprs {
				if counter, is := e.(*expr.Counter); is {
					touched += int(counter.Packets)
				}
			}
		}
	}
	c.DelTable(mine)
	if err := c.Flush(); err != nil {
		return touched, fmt.Errorf("take back a rule: %w", err)
	}
	return touched, nil
}

// Offsets in the IPv4 and TCP headers (RFC 791, RFC 9293).
const (
	sourceAt, destinationAt         = 12, 16
	sourcePortAt, destinationPortAt = 0, 2
	sequenceAt                      = 4
	flagsAt                         = 13
	flagSYN, flagACK                = 0x02, 0x10
)

// matchPackets selects packets that go one way between the node and another address. port is the node's own, 0 is any protocol.
func matchPackets(way Direction, other netip.Addr, port int, opens bool) []expr.Any {
	address, portAt := uint32(sourceAt), uint32(destinationPortAt)
	if way == Out {
		address, portAt = destinationAt, sourcePortAt
	}
	at := other.As4()
	out := []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: address, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: at[:]},
	}
	if port != 0 || opens {
		out = append(out, matchTCP()...)
	}
	if port != 0 {
		out = append(out,
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: portAt, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(port))})
	}
	if opens {
		out = append(out, matchSYN()...)
	}
	return out
}

func matchTCP() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
	}
}

func matchSYN() []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: flagsAt, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{flagSYN | flagACK}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{flagSYN}},
	}
}

// toQueue hands packets to a program, and lets them pass where it is gone. The kernel at hand may lack nftables' own queue
// expression, and has the target of iptables (struct xt_NFQ_info_v2: queue, how many, bypass).
func toQueue(number uint16) expr.Any {
	info := xt.Unknown(binaryutil.NativeEndian.PutUint16(number))
	info = append(info, binaryutil.NativeEndian.PutUint16(1)...)
	info = append(info, binaryutil.NativeEndian.PutUint16(1)...)
	info = append(info, 0, 0) // to the alignment of its size
	return &expr.Target{Name: "NFQUEUE", Rev: 2, Info: &info}
}
