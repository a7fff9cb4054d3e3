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

// Shape is what Delay does to packets. The zero value does nothing.
type Shape struct {
	Delay        time.Duration `json:",omitempty"`
	Jitter       time.Duration `json:",omitempty"`
	Distribution Distribution  `json:",omitempty"` // how Jitter is spread
	Loss         float64       `json:",omitempty"` // share of the packets, at random
	DropEvery    int           `json:",omitempty"` // every nth packet is lost
	Rate         int64         `json:",omitempty"` // bytes per second
	Seed         uint64        `json:",omitempty"`
}

// Distribution is a distribution of delays.
type Distribution string

// The distributions: Jitter is half the width of the uniform one, the standard deviation of the normal one, and the scale
// of the Pareto one, whose shape is 3, so that one packet in a thousand waits nine times as long.
const (
	Uniform Distribution = "uniform"
	Normal  Distribution = "normal"
	Pareto  Distribution = "pareto"
)

// sampleDelay draws how long a packet waits.
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

// firstQueue is the number of the first rule's queue; recordQueue is that of the record of attempts.
const (
	recordQueue = 1
	firstQueue  = 100
)

// queue holds packets that the kernel has handed over.
type queue struct {
	stop     func()
	shape    Shape
	affected atomic.Int64

	mu       sync.Mutex
	rand     *rand.Rand
	n        int
	nextFree time.Time              // when the packet before has left: none overtakes another
	waiting  map[uint32]*time.Timer // packets, by the kernel's numbers
	nf       *nfqueue.Nfqueue
}

func newQueue(ctx context.Context, number uint16, shape Shape) (*queue, error) {
	q := &queue{shape: shape, rand: rand.New(rand.NewPCG(shape.Seed, uint64(number))), waiting: map[uint32]*time.Timer{}}
	var err error
	q.stop, err = openQueue(ctx, number, q.handle)
	return q, err
}

// maxQueueLen is how many packets may wait; the kernel drops those beyond.
const maxQueueLen = 1 << 16

// copiedBytes is how much of a packet a program sees: IPv4 and TCP headers with options fit in.
const copiedBytes = 128

// openQueue hands every packet of a queue to take, which must see to its verdict, until stop is called.
func openQueue(ctx context.Context, number uint16,
	take func(nf *nfqueue.Nfqueue, id uint32, packet []byte),
) (stop func(), err error) {
	nf, err := nfqueue.Open(&nfqueue.Config{
		NfQueue: number, MaxPacketLen: copiedBytes, MaxQueueLen: maxQueueLen, Copymode: nfqueue.NfQnlCopyPacket,
		Flags: nfqueue.NfQaCfgFlagGSO | nfqueue.NfQaCfgFlagFailOpen,
	})
	if err != nil {
		return nil, fmt.Errorf("open the kernel's packet queue: %w", err)
	}
	_ = nf.Con.SetReadBuffer(4 << 20) // so that a burst is not lost
	hook := func(p nfqueue.Attribute) int {
		if p.PacketID != nil && p.Payload != nil {
			take(nf, *p.PacketID, *p.Payload)
		}
		return 0
	}
	ctx, cancel := context.WithCancel(ctx)
	stop = func() {
		cancel() // without which Close waits for ever
		nf.Close()
	}
	if err := nf.RegisterWithErrorFunc(ctx, hook, func(error) int { return 0 }); err != nil {
		stop()
		return nil, fmt.Errorf("listen to the kernel's packet queue: %w", err)
	}
	return stop, nil
}

// handle decides on a packet when it comes.
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

// release lets a packet go on that has waited.
func (q *queue) release(id uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if timer := q.waiting[id]; timer != nil {
		timer.Stop()
		delete(q.waiting, id)
		_ = q.nf.SetVerdict(id, nfqueue.NfAccept)
	}
}

// schedule says how long a packet waits, or that it is lost.
func (q *queue) schedule(packet []byte) (wait time.Duration, lost bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.n++
	byChance := q.shape.Loss > 0 && q.rand.Float64() < q.shape.Loss
	byTurn := q.shape.DropEvery > 0 && q.n%q.shape.DropEvery == 0
	if byChance || byTurn {
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

// packetSize is what an IPv4 packet says of its own length, bytes.
func packetSize(packet []byte) int {
	if len(packet) < 4 {
		return len(packet)
	}
	return cmp.Or(int(binary.BigEndian.Uint16(packet[2:])), len(packet))
}

// close lets go of what still waits, and says how many packets came.
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
