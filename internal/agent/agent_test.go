package agent

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/lbproof/lbproof/backends"
)

func TestShapes(t *testing.T) {
	mean := func(s Shape) float64 {
		r, sum := rand.New(rand.NewPCG(1, 2)), 0.0
		for range 100_000 {
			sum += s.sampleDelay(r).Seconds()
		}
		return sum / 100_000
	}
	assert.InDelta(t, 0.05, mean(Shape{Delay: 50 * time.Millisecond}), 1e-9)
	assert.InDelta(t, 0.05, mean(Shape{Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond}), 1e-4)
	assert.InDelta(t, 0.05, mean(Shape{Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond, Distribution: Normal}), 1e-3)
	assert.InDelta(t, 0.055, mean(Shape{Delay: 50 * time.Millisecond, Jitter: 10 * time.Millisecond, Distribution: Pareto}), 1e-3) // Pareto(3) has mean 3/2

	lost := func(s Shape) int {
		q, n := queue{shape: s, rand: rand.New(rand.NewPCG(1, 2))}, 0
		for range 1000 {
			if _, gone := q.schedule(nil); gone {
				n++
			}
		}
		return n
	}
	assert.Equal(t, 100, lost(Shape{DropEvery: 10}))
	assert.InDelta(t, 300, lost(Shape{Loss: 0.3}), 60) // four standard deviations
	assert.Zero(t, lost(Shape{}))
}

// Packets keep their order, and the rate is limited.
func TestBandwidth(t *testing.T) {
	q := queue{shape: Shape{Rate: 1000}, rand: rand.New(rand.NewPCG(1, 2))}
	packet := []byte{0x45, 0, 0, 100}
	for i := range 5 {
		wait, lost := q.schedule(packet)
		assert.False(t, lost)
		assert.InDelta(t, 0.1*float64(i+1), wait.Seconds(), 0.02)
	}
	q = queue{shape: Shape{Delay: 50 * time.Millisecond, Jitter: 40 * time.Millisecond}, rand: rand.New(rand.NewPCG(1, 2))}
	var last time.Time
	for range 100 {
		wait, _ := q.schedule(packet)
		leaves := time.Now().Add(wait)
		assert.False(t, leaves.Before(last.Add(-time.Millisecond)))
		last = leaves
	}
}

func TestAttempts(t *testing.T) {
	packet := append([]byte{0x46, 0, 0, 48}, make([]byte, 60)...)
	copy(packet[sourceAt:], []byte{10, 0, 0, 9})
	copy(packet[24:], []byte{0x9c, 0x40, 0x1f, 0x40, 0, 0, 1, 2}) // after 24 bytes of header
	one, first, ok := parseAttempt(packet, 7)
	require.True(t, ok)
	assert.Equal(t, uint32(0x102), first)
	r := &attemptLog{lastSeq: map[netip.AddrPort]uint32{}}
	r.add(one, first)
	r.add(one, first)
	assert.Len(t, r.pending, 1, "retransmitted")
	r.add(one, first+1)
	assert.Len(t, r.pending, 2, "the port's next connection")
	assert.Equal(t, Attempt{At: 7, From: netip.MustParseAddrPort("10.0.0.9:40000"), Port: 8000}, one)
	_, _, ok = parseAttempt(packet[:19], 7)
	assert.False(t, ok)
	_, _, ok = parseAttempt(packet[:31], 7)
	assert.False(t, ok)
}

// An attempt's timestamp precedes its request, even if the recorder is delayed.
func TestAttemptPrecedesRequest(t *testing.T) {
	packet := append([]byte{0x45, 0, 0, 40}, make([]byte, 40)...)
	r := attemptLog{lastSeq: map[netip.AddrPort]uint32{}}
	var arrived time.Duration
	r.handle(packet, func() { arrived = backends.Now() })
	require.Len(t, r.pending, 1)
	assert.LessOrEqual(t, r.pending[0].At, arrived)
}

func TestChunks(t *testing.T) {
	f := func(s Stream, passed int64, n, want int, end bool) {
		t.Helper()
		got, ended := s.nextChunk(make([]byte, n), passed)
		assert.Equal(t, want, got)
		assert.Equal(t, end, ended)
	}
	f(Stream{}, 0, 500, 500, false)
	f(Stream{ChunkSize: 16}, 0, 500, 16, false)
	f(Stream{ChunkSize: 16}, 0, 5, 5, false)
	f(Stream{CutAfter: 100}, 0, 500, 100, true)
	f(Stream{CutAfter: 100}, 90, 5, 5, false)
	f(Stream{CutAfter: 100}, 90, 50, 10, true)
	f(Stream{Reset: true}, 0, 50, 0, true)
}

func TestDNSOverrides(t *testing.T) {
	query := func(n DNSOverride, name string) (m dnsmessage.Message, ours bool, answered bool) {
		q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
		}}}
		packed, err := q.Pack()
		require.NoError(t, err)
		answer, ours := n.reply(packed)
		if len(answer) > 0 {
			require.NoError(t, m.Unpack(answer))
		}
		return m, ours, len(answer) > 0
	}
	other := netip.MustParseAddr("192.0.2.1")
	m, ours, _ := query(DNSOverride{Name: "b1", Address: other}, "B1.")
	assert.True(t, ours)
	assert.Equal(t, uint16(7), m.ID)
	assert.Equal(t, &dnsmessage.AResource{A: other.As4()}, m.Answers[0].Body)
	m, _, _ = query(DNSOverride{Name: "b1", ServFail: true}, "b1.")
	assert.Equal(t, dnsmessage.RCodeServerFailure, m.RCode)
	_, ours, answered := query(DNSOverride{Name: "b1", NoReply: true}, "b1.")
	assert.True(t, ours)
	assert.False(t, answered)
	_, ours, _ = query(DNSOverride{Name: "b1", Address: other}, "b2.")
	assert.False(t, ours)
	_, ours = DNSOverride{Name: "b1"}.reply([]byte("no question"))
	assert.False(t, ours)
}

// A poll reports its node's state and notices when that changes.
func TestPoll(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	at := netip.MustParseAddrPort(l.Addr().String())
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write([]byte("HTTP/1.1 503 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"))
			conn.Close()
		}
	}()
	poll := Poll{Addr: at, Path: "/", Timeout: time.Second, Interval: 5 * time.Millisecond, GiveUpAfter: 5 * time.Second, Expect: Expectation{Codes: []int{503}}, Consecutive: 3}
	seen, err := poll.run(t.Context())
	require.NoError(t, err)
	assert.Equal(t, Answered, seen.Outcome)
	assert.GreaterOrEqual(t, seen.Tries, 3)
	time.AfterFunc(50*time.Millisecond, func() { l.Close() })
	poll.Expect, poll.Consecutive = Expectation{Outcomes: []Outcome{Refused}}, 1
	seen, err = poll.run(t.Context())
	require.NoError(t, err)
	assert.Equal(t, Refused, seen.Outcome)
	poll.Expect, poll.GiveUpAfter = Expectation{Outcomes: []Outcome{Answered}}, 50*time.Millisecond
	_, err = poll.run(t.Context())
	assert.ErrorContains(t, err, "not observed within 50ms")
	assert.ErrorContains(t, err, "last: ")
}
