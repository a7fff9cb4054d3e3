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

// firstPollPort is the first source port of the agents' own looks. The kernel gives out lower ones to everybody else
// (net.ipv4.ip_local_port_range ends at 60999), so that a look is never taken for an attempt.
const firstPollPort = 61000

// reportInterval is how long attempts are gathered until they are told.
const reportInterval = 200 * time.Millisecond

// attemptLog gathers who asks for a connection.
type attemptLog struct {
	mu      sync.Mutex
	pending []Attempt
	// lastSeq has an attempt's first sequence number: a SYN that comes again has the same, the port's next connection another.
	lastSeq map[netip.AddrPort]uint32
}

// recordAttempts tells of every attempt to connect to the ports, whatever becomes of it. stop ends it.
func (a *agent) recordAttempts(ctx context.Context, ports []int) (stop func(), err error) {
	r := &attemptLog{lastSeq: map[netip.AddrPort]uint32{}}
	close, err := openQueue(ctx, recordQueue, func(nf *nfqueue.Nfqueue, id uint32, packet []byte) {
		r.handle(packet, func() { _ = nf.SetVerdict(id, nfqueue.NfAccept) })
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
		exprs := append(matchTCP(),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: destinationPortAt, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(port))},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: sourcePortAt, Len: 2},
			&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.BigEndian.PutUint16(firstPollPort)})
		c.AddRule(&nftables.Rule{Table: mine, Chain: chain, Exprs: append(append(exprs, matchSYN()...), toQueue(recordQueue))})
	}
	if err := c.Flush(); err != nil {
		close()
		return nil, fmt.Errorf("tell nftables: %w", err)
	}
	telling, ended := context.WithCancel(ctx)
	a.working.Go(func() { r.report(telling, a.send) })
	return func() {
		ended()
		c.DelTable(mine)
		_ = c.Flush() // the namespace goes too
		close()
	}, nil
}

// handle lets a packet pass. The attempt that it is was made before, however long the recorder is kept from running then: before the request
// that follows it arrives.
func (r *attemptLog) handle(packet []byte, pass func()) {
	now := backends.Now()
	pass()
	if one, first, ok := parseAttempt(packet, now); ok {
		r.add(one, first)
	}
}

// add keeps an attempt that is a new one.
func (r *attemptLog) add(one Attempt, first uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, known := r.lastSeq[one.From]
	r.lastSeq[one.From] = first
	if !known || first != before {
		r.pending = append(r.pending, one)
	}
}

// parseAttempt reads an IPv4 packet that asks for a TCP connection; first is the sequence number that it begins with (RFC 9293, section 3.1).
func parseAttempt(packet []byte, now time.Duration) (one Attempt, first uint32, ok bool) {
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

// report reports what was gathered, until ctx ends.
func (r *attemptLog) report(ctx context.Context, answer func(Response)) {
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	for {
		ended := false
		select {
		case <-ctx.Done():
			ended = true
		case <-tick.C:
		}
		r.mu.Lock()
		seen := r.pending
		r.pending = nil
		r.mu.Unlock()
		if len(seen) > 0 {
			answer(Response{Attempts: seen})
		}
		if ended {
			return
		}
	}
}
