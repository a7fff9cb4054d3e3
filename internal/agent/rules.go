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

// Rule is a network fault of the node.
type Rule struct {
	Action Action
	Peers  []netip.Addr // the other ends; empty: everybody but the node itself
	// Ports are the affected ports of the node; empty: all traffic with the peers, whichever side opened the
	// connection.
	Ports     []int     `json:",omitempty"`
	Direction Direction `json:",omitempty"`
	SYNOnly   bool      `json:",omitempty"` // only packets that open a connection
	// ExpiresAfter undoes the rule automatically; 0: never.
	ExpiresAfter time.Duration
	Shape        Shape       `json:",omitzero"` // for Delay
	Stream       Stream      `json:",omitzero"` // for Relay
	DNS          DNSOverride `json:",omitzero"` // for Resolve
	From         netip.Addr  `json:",omitzero"` // for Move: the current address
	To           netip.Addr  `json:",omitzero"` // for Move: the new address
}

// Action is what a rule does.
type Action string

// The actions.
const (
	Refuse  Action = "refuse"  // respond with a TCP reset
	Drop    Action = "drop"    // drop packets silently
	Delay   Action = "delay"   // delay, limit or drop packets by Shape
	Relay   Action = "relay"   // forward connections by Stream
	Resolve Action = "resolve" // answer DNS queries by DNS
	Move    Action = "move"    // change the node's address
)

// Direction is the direction of packets as seen from the node.
type Direction string

// The directions.
const (
	Both Direction = ""
	In   Direction = "in"
	Out  Direction = "out"
)

// install puts a rule in force. undo removes it and returns how many packets or connections it affected.
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
	return nil, fmt.Errorf("unknown action %q", r.Action)
}

// nftTable is the nftables table of one rule.
type nftTable struct{ name string }

// addRules matches the rule's packets in the kernel.
func (t nftTable) addRules(r Rule, verdict expr.Any) (undo func() (int, error), err error) {
	if len(r.Peers) == 0 {
		return nil, errors.New("rule: needs peers")
	}
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("connect to nftables: %w", err)
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
		return nil, fmt.Errorf("apply nftables rules: %w", err)
	}
	return func() (int, error) { return t.delete(c, mine) }, nil
}

// isReject reports whether a verdict sends a reset. It is used for incoming packets only; outgoing ones are answered by
// the peer.
func isReject(verdict expr.Any) bool {
	_, is := verdict.(*expr.Reject)
	return is
}

// portsOf returns the rule's ports; 0: any.
func portsOf(r Rule) []int {
	if len(r.Ports) == 0 {
		return []int{0}
	}
	return r.Ports
}

// delete deletes the table and returns how many packets its rules matched.
func (t nftTable) delete(c *nftables.Conn, mine *nftables.Table) (touched int, err error) {
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return 0, fmt.Errorf("count matched packets: %w", err)
	}
	for _, chain := range chains {
		if chain.Table.Name != t.name {
			continue
		}
		rules, err := c.GetRules(mine, chain)
		if err != nil {
			return 0, fmt.Errorf("count matched packets: %w", err)
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
		return touched, fmt.Errorf("remove rule: %w", err)
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

// matchPackets matches packets in one direction between the node and another address. port is the node's own; 0: any
// protocol.
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

// toQueue passes packets to a queue, or accepts them if nobody reads it. Some kernels lack nftables' own queue
// expression, so it uses the iptables target (struct xt_NFQ_info_v2: queue, number of queues, bypass).
func toQueue(number uint16) expr.Any {
	info := xt.Unknown(binaryutil.NativeEndian.PutUint16(number))
	info = append(info, binaryutil.NativeEndian.PutUint16(1)...)
	info = append(info, binaryutil.NativeEndian.PutUint16(1)...)
	info = append(info, 0, 0) // padding to the struct's alignment
	return &expr.Target{Name: "NFQUEUE", Rev: 2, Info: &info}
}
