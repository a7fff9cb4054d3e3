package run

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/lbproof/lbproof/internal/lb"
)

// The tables of a run folder are Parquet files, which most tools for data read. Numbers are kept as differences to the row
// before, texts by their place in a dictionary: a hit takes a dozen bytes.

// hitRow is lb.Hit, but for its Index, which Seq tells.
type hitRow struct {
	Seq       int64  `parquet:"seq,delta"`
	Load      int32  `parquet:"load,delta"`
	Due       int64  `parquet:"due_ns,delta"`
	Sent      int64  `parquet:"sent_ns,delta"`
	Done      int64  `parquet:"done_ns,delta"`
	Code      int32  `parquet:"code,delta"`
	Server    string `parquet:"server,dict"`
	Size      int64  `parquet:"size,delta"`
	Sum       int64  `parquet:"crc32c,delta"`
	Client    int32  `parquet:"client,delta"`
	Conn      int32  `parquet:"conn,delta"`
	Flight    int32  `parquet:"in_flight,delta"`
	Connect   int64  `parquet:"connect_ns,delta"`
	Handshake int64  `parquet:"handshake_ns,delta"`
	Resumed   bool   `parquet:"resumed"`
	Err       string `parquet:"error,dict"`
	Header    string `parquet:"headers,dict"`
	Shake     string `parquet:"handshake,dict"`
	Quiet     int64  `parquet:"quiet_ns,delta"`
}

func rowOfHit(h lb.Hit) hitRow {
	return hitRow{
		Seq: int64(h.Seq), Load: int32(h.Load), Due: int64(h.Due), Sent: int64(h.Sent), Done: int64(h.Done), Code: int32(h.Code),
		Server: h.Server, Size: h.Size, Sum: int64(h.Sum), Client: int32(h.Client), Conn: int32(h.Conn), Flight: int32(h.Flight),
		Connect: int64(h.Connect), Handshake: int64(h.Handshake), Resumed: h.Resumed, Err: string(h.Err),
		Header: h.Header, Shake: h.Shake, Quiet: int64(h.Quiet),
	}
}

// hit needs the number of each phase's first hit.
func (r hitRow) hit(first []uint64) lb.Hit {
	h := lb.Hit{
		Seq: uint64(r.Seq), Load: int(r.Load), Due: time.Duration(r.Due), Sent: time.Duration(r.Sent), Done: time.Duration(r.Done),
		Code: int(r.Code), Server: r.Server, Size: r.Size, Sum: uint32(r.Sum), Client: int(r.Client), Conn: int(r.Conn), Flight: int(r.Flight),
		Connect: time.Duration(r.Connect), Handshake: time.Duration(r.Handshake), Resumed: r.Resumed, Err: lb.Err(r.Err),
		Header: r.Header, Shake: r.Shake, Quiet: time.Duration(r.Quiet),
	}
	if h.Load >= 0 && h.Load < len(first) {
		h.Index = int(h.Seq - first[h.Load])
	}
	return h
}

type arrivalRow struct {
	Seq    int64  `parquet:"seq,delta"`
	At     int64  `parquet:"at_ns,delta"`
	Server string `parquet:"server,dict"`
	Header string `parquet:"headers,dict"`
}

func rowOfArrival(a lb.Arrival) arrivalRow {
	return arrivalRow{Seq: int64(a.Seq), At: int64(a.At), Server: a.Server, Header: a.Header}
}

func (r arrivalRow) arrival() lb.Arrival {
	return lb.Arrival{Seq: uint64(r.Seq), At: time.Duration(r.At), Server: r.Server, Header: r.Header}
}

type sampleRow struct {
	At        int64  `parquet:"at_ns,delta"`
	Node      string `parquet:"node,dict"`
	CPU       int64  `parquet:"cpu_ns,delta"`
	Throttled int64  `parquet:"throttled_ns,delta"`
	Memory    int64  `parquet:"memory,delta"`
	Received  int64  `parquet:"received,delta"`
	Sent      int64  `parquet:"sent,delta"`
	Restarts  int32  `parquet:"restarts,delta"`
}

func rowOfSample(s lb.Sample) sampleRow {
	return sampleRow{
		At: int64(s.At), Node: s.Node, CPU: int64(s.CPU), Throttled: int64(s.Throttled), Memory: s.Memory,
		Received: s.Received, Sent: s.Sent, Restarts: int32(s.Restarts),
	}
}

func (r sampleRow) sample() lb.Sample {
	return lb.Sample{
		At: time.Duration(r.At), Node: r.Node, CPU: time.Duration(r.CPU), Throttled: time.Duration(r.Throttled), Memory: r.Memory,
		Received: r.Received, Sent: r.Sent, Restarts: int(r.Restarts),
	}
}

type attemptRow struct {
	At     int64  `parquet:"at_ns,delta"`
	Node   string `parquet:"node,dict"`
	From   string `parquet:"from,dict"`
	Source int32  `parquet:"source_port,delta"`
	Port   int32  `parquet:"port,delta"`
}

func rowOfAttempt(a lb.Attempt) attemptRow {
	return attemptRow{At: int64(a.At), Node: a.Node, From: a.From, Source: int32(a.Source), Port: int32(a.Port)}
}

func (r attemptRow) attempt() lb.Attempt {
	return lb.Attempt{At: time.Duration(r.At), Node: r.Node, From: r.From, Source: int(r.Source), Port: int(r.Port)}
}

// Rows are written and read in batches, and a group of them is what a table holds in memory.
const (
	rowBatch = 1 << 10
	rowGroup = 1 << 16
)

// table is a Parquet file being written.
type table[R any] struct {
	file *os.File
	rows *parquet.GenericWriter[R]
	next []R
}

func createTable[R any](name string) (*table[R], error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	rows := parquet.NewGenericWriter[R](file, parquet.MaxRowsPerRowGroup(rowGroup), parquet.PageBufferSize(64<<10))
	return &table[R]{file: file, rows: rows, next: make([]R, 0, rowBatch)}, nil
}

func (t *table[R]) write(row R) error {
	if t.next = append(t.next, row); len(t.next) < rowBatch {
		return nil
	}
	return t.flush()
}

func (t *table[R]) flush() error {
	_, err := t.rows.Write(t.next)
	t.next = t.next[:0]
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return nil
}

// close is safe on a table that was never made.
func (t *table[R]) close() error {
	if t == nil {
		return nil
	}
	if err := errors.Join(t.flush(), t.rows.Close(), t.file.Close()); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return nil
}

// rows reads a table anew in each loop, and leaves in failed why one ended early.
func rows[R, T any](name string, failed *error, convert func(R) T) iter.Seq[T] {
	return func(yield func(T) bool) { *failed = readTable(name, func(r R) bool { return yield(convert(r)) }) }
}

// readTable calls each for every row, until it says stop.
func readTable[R any](name string, each func(R) bool) error {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	var opened *parquet.File
	err = guarded(func() (err error) {
		opened, err = parquet.OpenFile(file, info.Size())
		return err
	})
	if err != nil {
		return fmt.Errorf("read the history: %s: %w", name, err)
	}
	reader := parquet.NewGenericReader[R](opened)
	defer reader.Close()
	batch := make([]R, rowBatch)
	for {
		n := 0
		err := guarded(func() (err error) {
			n, err = reader.Read(batch)
			return err
		})
		for _, r := range batch[:n] {
			if !each(r) {
				return nil
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the history: %s: %w", name, err)
		}
	}
}

// guarded makes an error of the library's crash on a damaged file.
func guarded(read func() error) (err error) {
	defer func() {
		if crash := recover(); crash != nil {
			err = fmt.Errorf("%v", crash)
		}
	}()
	return read()
}
