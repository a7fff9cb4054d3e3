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

// firstPollPort is the lowest source port of polls. Other connections get lower ports from the kernel
// (net.ipv4.ip_local_port_range ends at 60999), so a poll is never recorded as an attempt.
const firstPollPort = 61000

// reportInterval is the interval at which attempts are sent.
const reportInterval = 200 * time.Millisecond

// attemptLog collects connection attempts.
type attemptLog struct {
	mu      sync.Mutex
	pending []Attempt
	// lastSeq is the initial sequence number of an address's latest attempt: a retransmitted SYN has the same, a new
	// connection another.
	lastSeq map[netip.AddrPort]uint32
}

// recordAttempts sends every connection attempt to the ports, whatever its outcome, until stop is called.
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
		return nil, fmt.Errorf("connect to nftables: %w", err)
	}
	mine := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "lbproof-record"})
	before := *nftables.ChainPriorityFilter - 10 // before rules that drop packets
	chain := c.AddChain(&nftables.Chain{
		Name: "in", Table: mine, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: &before,
	})
	for _, port := range ports {
		exprs := append(matchTCP(),
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: destinationPortAt, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(uint16(port))},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: sourcePortAt, Len: 2},
			&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.BigEndian.PutUint16(firstPollPort)})
		exprs = append(append(exprs, matchSYN()...), toQueue(recordQueue))
		c.AddRule(&nftables.Rule{Table: mine, Chain: chain, Exprs: exprs})
	}
	if err := c.Flush(); err != nil {
		close()
		return nil, fmt.Errorf("apply nftables rules: %w", err)
	}
	reporting, stop := context.WithCancel(ctx)
	a.working.Go(func() { r.report(reporting, a.send) })
	return func() {
		stop()
		c.DelTable(mine)
		_ = c.Flush() // the namespace goes away too
		close()
	}, nil
}

// handle accepts a packet and records its attempt. The timestamp is taken first: it precedes the request on that
// connection, even if the recorder is delayed afterwards.
func (r *attemptLog) handle(packet []byte, pass func()) {
	now := backends.Now()
	pass()
	if one, first, ok := parseAttempt(packet, now); ok {
		r.add(one, first)
	}
}

// add records an attempt unless it is a retransmission.
func (r *attemptLog) add(one Attempt, first uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, known := r.lastSeq[one.From]
	r.lastSeq[one.From] = first
	if !known || first != before {
		r.pending = append(r.pending, one)
	}
}

// parseAttempt parses an IPv4 packet with a TCP SYN; first is its initial sequence number (RFC 9293, section 3.1).
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

// report sends collected attempts until ctx ends.
func (r *attemptLog) report(ctx context.Context, send func(Response)) {
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
			send(Response{Attempts: seen})
		}
		if ended {
			return
		}
	}
}
