package agent

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/florianl/go-nfqueue/v2"
)

// Shape is what the action Delay does to packets. The zero value does nothing.
type Shape struct {
	Delay        time.Duration `json:",omitempty"`
	Jitter       time.Duration `json:",omitempty"`
	Distribution Distribution  `json:",omitempty"` // of Jitter
	Loss         float64       `json:",omitempty"` // share of packets dropped at random
	DropEvery    int           `json:",omitempty"` // drop every nth packet
	Rate         int64         `json:",omitempty"` // bytes per second
	Seed         uint64        `json:",omitempty"`
}

// Distribution is a distribution of delays.
type Distribution string

// The distributions. Jitter is half the width of the uniform one, the standard deviation of the normal one, and the
// scale of the Pareto one, which has shape 3: one packet in a thousand is delayed nine times as long.
const (
	Uniform Distribution = "uniform"
	Normal  Distribution = "normal"
	Pareto  Distribution = "pareto"
)

// sampleDelay returns a packet's random delay.
func (s Shape) sampleDelay(r *rand.Rand) time.Duration {
	jitter := float64(s.Jitter)
	switch s.Distribution {
	case Normal:
		jitter *= r.NormFloat64()
	case Pareto:
		jitter *= math.Pow(1-r.Float64(), -1.0/3) - 1
	default:
		jitter *= 2*r.Float64() - 1
	}
	return max(0, s.Delay+time.Duration(jitter))
}

// recordQueue is the kernel queue for connection attempts; rules use queues from firstQueue on.
const (
	recordQueue = 1
	firstQueue  = 100
)

// queue delays packets handed over by the kernel.
type queue struct {
	stop     func()
	shape    Shape
	affected atomic.Int64

	mu       sync.Mutex
	rand     *rand.Rand
	n        int
	nextFree time.Time              // when the previous packet leaves: packets keep their order
	waiting  map[uint32]*time.Timer // by the kernel's packet ID
	nf       *nfqueue.Nfqueue
}

func newQueue(ctx context.Context, number uint16, shape Shape) (*queue, error) {
	q := &queue{
		shape: shape, rand: rand.New(rand.NewPCG(shape.Seed, uint64(number))), waiting: map[uint32]*time.Timer{},
	}
	var err error
	q.stop, err = openQueue(ctx, number, q.handle)
	return q, err
}

// maxQueueLen limits queued packets; the kernel drops further ones.
const maxQueueLen = 1 << 16

// copiedBytes is how much of each packet is copied: enough for IPv4 and TCP headers with options.
const copiedBytes = 128

// openQueue passes every packet of a queue to take, which must set its verdict, until stop is called.
func openQueue(ctx context.Context, number uint16,
	take func(nf *nfqueue.Nfqueue, id uint32, packet []byte),
) (stop func(), err error) {
	nf, err := nfqueue.Open(&nfqueue.Config{
		NfQueue: number, MaxPacketLen: copiedBytes, MaxQueueLen: maxQueueLen, Copymode: nfqueue.NfQnlCopyPacket,
		Flags: nfqueue.NfQaCfgFlagGSO | nfqueue.NfQaCfgFlagFailOpen,
	})
	if err != nil {
		return nil, fmt.Errorf("open kernel packet queue: %w", err)
	}
	_ = nf.Con.SetReadBuffer(4 << 20) // absorbs bursts
	hook := func(p nfqueue.Attribute) int {
		if p.PacketID != nil && p.Payload != nil {
			take(nf, *p.PacketID, *p.Payload)
		}
		return 0
	}
	ctx, cancel := context.WithCancel(ctx)
	stop = func() {
		cancel() // otherwise Close never returns
		nf.Close()
	}
	if err := nf.RegisterWithErrorFunc(ctx, hook, func(error) int { return 0 }); err != nil {
		stop()
		return nil, fmt.Errorf("read kernel packet queue: %w", err)
	}
	return stop, nil
}

// handle drops, delays or accepts a packet.
func (q *queue) handle(nf *nfqueue.Nfqueue, id uint32, packet []byte) {
	q.affected.Add(1)
	wait, lost := q.schedule(packet)
	if lost {
		_ = nf.SetVerdict(id, nfqueue.NfDrop)
		return
	}
	if wait <= 0 {
		_ = nf.SetVerdict(id, nfqueue.NfAccept)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.nf = nf
	q.waiting[id] = time.AfterFunc(wait, func() { q.release(id) })
}

// release accepts a delayed packet.
func (q *queue) release(id uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if timer := q.waiting[id]; timer != nil {
		timer.Stop()
		delete(q.waiting, id)
		_ = q.nf.SetVerdict(id, nfqueue.NfAccept)
	}
}

// schedule returns a packet's delay; lost reports that it is dropped.
func (q *queue) schedule(packet []byte) (wait time.Duration, lost bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.n++
	isRandom := q.shape.Loss > 0 && q.rand.Float64() < q.shape.Loss
	isNth := q.shape.DropEvery > 0 && q.n%q.shape.DropEvery == 0
	if isRandom || isNth {
		return 0, true
	}
	now := time.Now()
	leaves := now.Add(q.shape.sampleDelay(q.rand))
	if leaves.Before(q.nextFree) {
		leaves = q.nextFree
	}
	if q.shape.Rate > 0 {
		leaves = leaves.Add(time.Duration(float64(packetSize(packet)) / float64(q.shape.Rate) * float64(time.Second)))
	}
	q.nextFree = leaves
	return leaves.Sub(now), false
}

// packetSize returns the length in the IPv4 header, in bytes.
func packetSize(packet []byte) int {
	if len(packet) < 4 {
		return len(packet)
	}
	return cmp.Or(int(binary.BigEndian.Uint16(packet[2:])), len(packet))
}

// close releases all waiting packets and returns the number of packets handled.
func (q *queue) close() int {
	q.mu.Lock()
	left := slices.Sorted(maps.Keys(q.waiting))
	q.mu.Unlock()
	for _, id := range left {
		q.release(id)
	}
	q.stop()
	return int(q.affected.Load())
}
