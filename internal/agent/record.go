package agent

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/florianl/go-nfqueue/v2"
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"github.com/lbproof/lbproof/backends"
)

// looksFrom is the first source port of the agents' own looks. The kernel gives out lower ones to everybody else
// (net.ipv4.ip_local_port_range ends at 60999), so that a look is never taken for an attempt.
const looksFrom = 61000

// reportEvery is how long attempts are gathered until they are told.
const reportEvery = 200 * time.Millisecond

// attempts gathers who asks for a connection.
type attempts struct {
	mu   sync.Mutex
	seen []Attempt
	// last has an attempt's first sequence number: a SYN that comes again has the same, the port's next connection another.
	last map[netip.AddrPort]uint32
}

// record tells of every attempt to connect to the ports, whatever becomes of it. stop ends it.
func (a *agent) record(ctx context.Context, ports []int) (stop func(), err error) {
	r := &attempts{last: map[netip.AddrPort]uint32{}}
	close, err := receive(ctx, recordQueue, func(nf *nfqueue.Nfqueue, id uint32, packet []byte) {
		r.take(packet, func() { _ = nf.SetVerdict(id, nfqueue.NfAccept) })
	})
	if err != nil {
		return nil, err
	}
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("reach nftables: %w", err)
	}
	mine := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "lbproof-record"})
	before := *nftables.ChainPriorityFilter - 10 // a rule that drops it comes later
	chain := c.AddChain(&nftables.Chain{
		Name: "in", Table: mine, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: &before,
	})
	for _, port := range ports {
		exprs := append(tcp(),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: destinationPortAt, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(port))},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: sourcePortAt, Len: 2},
			&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.BigEndian.PutUint16(looksFrom)})
		c.AddRule(&nftables.Rule{Table: mine, Chain: chain, Exprs: append(append(exprs, syn()...), toQueue(recordQueue))})
	}
	if err := c.Flush(); err != nil {
		close()
		return nil, fmt.Errorf("tell nftables: %w", err)
	}
	telling, ended := context.WithCancel(ctx)
	a.working.Go(func() { r.tell(telling, a.answer) })
	return func() {
		ended()
		c.DelTable(mine)
		_ = c.Flush() // the namespace goes too
		close()
	}, nil
}

// take lets a packet pass. The attempt that it is was made before, however long the recorder is kept from running then: before the request
// that follows it arrives.
func (r *attempts) take(packet []byte, pass func()) {
	now := backends.Now()
	pass()
	if one, first, ok := attemptOf(packet, now); ok {
		r.note(one, first)
	}
}

// note keeps an attempt that is a new one.
func (r *attempts) note(one Attempt, first uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, known := r.last[one.From]
	r.last[one.From] = first
	if !known || first != before {
		r.seen = append(r.seen, one)
	}
}

// attemptOf reads an IPv4 packet that asks for a TCP connection; first is the sequence number that it begins with (RFC 9293, section 3.1).
func attemptOf(packet []byte, now time.Duration) (one Attempt, first uint32, ok bool) {
	if len(packet) < 20 {
		return one, 0, false
	}
	ip := int(packet[0]&0x0f) * 4
	from, ok := netip.AddrFromSlice(packet[sourceAt : sourceAt+4])
	if !ok || len(packet) < ip+sequenceAt+4 {
		return one, 0, false
	}
	return Attempt{
		At: now, From: netip.AddrPortFrom(from, binary.BigEndian.Uint16(packet[ip+sourcePortAt:])),
		Port: binary.BigEndian.Uint16(packet[ip+destinationPortAt:]),
	}, binary.BigEndian.Uint32(packet[ip+sequenceAt:]), true
}

// tell reports what was gathered, until ctx ends.
func (r *attempts) tell(ctx context.Context, answer func(Answer)) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		ended := false
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
		}
		r.mu.Lock()
		seen := r.seen
		r.seen = nil
		r.mu.Unlock()
		if len(seen) > 0 {
			answer(Answer{Attempts: seen})
		}
		if ended {
			return
		}
	}
}
