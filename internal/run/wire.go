package run

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/lbproof/lbproof/internal/history"
)

// hitBlock encodes hits on the way from the worker, in a few bytes each; gob would cost more than sending the requests.
// Numbers are varints, times are relative to the previous hit, and strings are indexes into a table built along the
// way.
type hitBlock []byte

// packer encodes hit blocks. The zero value is ready to use.
type packer struct {
	block hitBlock
	texts map[string]int
	last  history.Hit
	n     int
}

func (p *packer) text(s string) {
	at, known := p.texts[s]
	if known {
		p.block = binary.AppendUvarint(p.block, uint64(at)+1)
		return
	}
	if p.texts == nil {
		p.texts = map[string]int{}
	}
	p.texts[s] = len(p.texts)
	p.block = binary.AppendUvarint(p.block, 0)
	p.block = binary.AppendUvarint(p.block, uint64(len(s)))
	p.block = append(p.block, s...)
}

func (p *packer) add(h history.Hit) {
	resumed := int64(0)
	if h.Resumed {
		resumed = 1
	}
	for _, v := range [...]int64{
		int64(h.Seq - p.last.Seq), int64(h.Phase), int64(h.Index - p.last.Index),
		int64(h.Due - p.last.Due), int64(h.Sent - h.Due), int64(h.Done - h.Sent),
		int64(h.Code), h.Size, int64(h.Checksum), int64(h.Client), int64(h.Conn), int64(h.InFlight),
		int64(h.ConnectTime), int64(h.HandshakeTime), resumed, int64(h.Silence),
	} {
		p.block = binary.AppendVarint(p.block, v)
	}
	p.text(h.Server)
	p.text(string(h.Err))
	p.text(h.Header)
	p.text(h.HandshakeInfo)
	p.last = h
	p.n++
}

// take returns the hits added since the last take. It is valid until the next add.
func (p *packer) take() hitBlock {
	block := p.block
	clear(p.texts)
	p.block, p.last, p.n = p.block[:0], history.Hit{}, 0
	return block
}

var errBlock = errors.New("invalid block of hits from the worker")

// each calls yield for every hit of a block.
func (b hitBlock) each(yield func(history.Hit) error) error {
	r := unpacker{rest: b}
	var last history.Hit
	for len(r.rest) > 0 {
		h := r.hit(last)
		if r.broken {
			return errBlock
		}
		if err := yield(h); err != nil {
			return err
		}
		last = h
	}
	return nil
}

// unpacker decodes a block.
type unpacker struct {
	rest   hitBlock
	texts  []string
	broken bool
}

func (r *unpacker) hit(last history.Hit) history.Hit {
	var v [16]int64
	for i := range v {
		u := r.uvarint()
		v[i] = int64(u>>1) ^ -int64(u&1) // zigzag, as in binary.Varint
	}
	h := history.Hit{
		Seq: last.Seq + uint64(v[0]), Phase: int(v[1]), Index: last.Index + int(v[2]),
		Due:  last.Due + time.Duration(v[3]),
		Code: int(v[6]), Size: v[7], Checksum: uint32(v[8]), Client: int(v[9]), Conn: int(v[10]), InFlight: int(v[11]),
		ConnectTime: time.Duration(v[12]), HandshakeTime: time.Duration(v[13]), Resumed: v[14] == 1,
		Silence: time.Duration(v[15]),
	}
	h.Sent = h.Due + time.Duration(v[4])
	h.Done = h.Sent + time.Duration(v[5])
	h.Server, h.Err, h.Header, h.HandshakeInfo = r.text(), history.Err(r.text()), r.text(), r.text()
	return h
}

func (r *unpacker) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.broken = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *unpacker) text() string {
	at := r.uvarint()
	if at > 0 && at <= uint64(len(r.texts)) {
		return r.texts[at-1]
	}
	size := r.uvarint()
	if at > 0 || size > uint64(len(r.rest)) {
		r.broken = true
		return ""
	}
	r.texts = append(r.texts, string(r.rest[:size]))
	r.rest = r.rest[size:]
	return r.texts[len(r.texts)-1]
}
