package run

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// sends are the requests of a phase.
var sends = []plan.Request{{Method: "GET", Path: "/"}}

// hit returns a hit with every column set.
func hit(i int) history.Hit {
	at := time.Duration(i) * 123457
	return history.Hit{
		Seq: uint64(i + 1), Index: i, Due: at, Sent: at + 1, Done: at + 2, Code: 200, Server: "back-01", Size: 9, Checksum: 1 << 31,
		Client: i % 7, Conn: i % 64, InFlight: 64, ConnectTime: 5, HandshakeTime: 6, Resumed: i%2 == 0, Err: history.Reset,
	}
}

func TestHitBlocks(t *testing.T) {
	var p packer
	for range 2 { // a packer can be reused
		var want, got []history.Hit
		for _, i := range []int{7, 3, 1000, 4} {
			h := hit(i)
			h.Phase, h.Err = i%2, []history.Err{"", history.Timeout}[i%2]
			want = append(want, h)
			p.add(h)
		}
		block := p.take()
		require.NoError(t, block.each(func(h history.Hit) error { got = append(got, h); return nil }))
		assert.Equal(t, want, got)
		assert.Less(t, len(block)/len(want), 40)
	}
}

func TestDamagedBlocks(t *testing.T) {
	var p packer
	p.add(hit(1))
	p.add(hit(2))
	whole := append(hitBlock(nil), p.take()...)
	n := 0
	for cut := 1; cut < len(whole); cut++ {
		if whole[:cut].each(func(history.Hit) error { return nil }) != nil {
			n++
		}
	}
	assert.GreaterOrEqual(t, n, len(whole)-3, "all but the cut between the two")
}

func BenchmarkHitBlock(b *testing.B) {
	var p packer
	h := hit(12345)
	b.ReportAllocs()
	for b.Loop() {
		p.add(h)
		if p.n == batch {
			_ = p.take().each(func(history.Hit) error { return nil })
		}
	}
}
