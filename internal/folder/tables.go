package folder

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// The tables of a run folder are Parquet files, which most data tools can read. Numbers are delta-encoded and strings
// dictionary-encoded: a hit takes about a dozen bytes.

// hitRow is history.Hit without its Index, which follows from Seq.
type hitRow struct {
	Seq           int64  `parquet:"seq,delta"`
	Phase         int32  `parquet:"phase,delta"`
	Due           int64  `parquet:"due_ns,delta"`
	Sent          int64  `parquet:"sent_ns,delta"`
	Done          int64  `parquet:"done_ns,delta"`
	Code          int32  `parquet:"code,delta"`
	Server        string `parquet:"server,dict"`
	Size          int64  `parquet:"size,delta"`
	Checksum      int64  `parquet:"crc32c,delta"`
	Client        int32  `parquet:"client,delta"`
	Conn          int32  `parquet:"conn,delta"`
	InFlight      int32  `parquet:"in_flight,delta"`
	ConnectTime   int64  `parquet:"connect_ns,delta"`
	HandshakeTime int64  `parquet:"handshake_ns,delta"`
	Resumed       bool   `parquet:"resumed"`
	Err           string `parquet:"error,dict"`
	Header        string `parquet:"headers,dict"`
	HandshakeInfo string `parquet:"handshake_info,dict"`
	Silence       int64  `parquet:"silence_ns,delta"`
}

func rowOfHit(h history.Hit) hitRow {
	return hitRow{
		Seq: int64(h.Seq), Phase: int32(h.Phase), Due: int64(h.Due), Sent: int64(h.Sent), Done: int64(h.Done),
		Code: int32(h.Code), Server: h.Server, Size: h.Size, Checksum: int64(h.Checksum), Header: h.Header,
		Err:    string(h.Err),
		Client: int32(h.Client), Conn: int32(h.Conn), InFlight: int32(h.InFlight), ConnectTime: int64(h.ConnectTime),
		HandshakeTime: int64(h.HandshakeTime), Resumed: h.Resumed, HandshakeInfo: h.HandshakeInfo,
		Silence: int64(h.Silence),
	}
}

// phaseBounds validates hits against the plan's phases and the number of each phase's first hit.
type phaseBounds struct {
	phases []plan.Phase
	first  []uint64
}

func newPhaseBounds(p plan.Plan) phaseBounds {
	s := phaseBounds{phases: p.Phases}
	for i := range p.Phases {
		s.first = append(s.first, p.FirstHit(i))
	}
	return s
}

// check converts a row, or returns why it cannot belong to the plan.
func (s phaseBounds) check(r hitRow) (history.Hit, error) {
	switch load := int(r.Phase); {
	case load < 0 || load >= len(s.phases):
		return history.Hit{}, fmt.Errorf("phase %d, but the plan has %d", load, len(s.phases))
	case r.Seq < int64(s.first[load]) || r.Seq >= int64(s.first[load])+int64(s.phases[load].Count):
		return history.Hit{}, fmt.Errorf("hit %d is not in phase %d", r.Seq, load)
	}
	err := firstError(
		checkRange("due_ns", r.Due, maxRunTime),
		checkRange("sent_ns", r.Sent, maxRunTime),
		checkRange("done_ns", r.Done, maxRunTime),
		checkRange("code", int64(r.Code), 999),
		checkRange("size", r.Size, math.MaxInt64),
		checkRange("crc32c", r.Checksum, math.MaxUint32),
		checkRange("client", int64(r.Client), math.MaxInt32),
		checkRange("conn", int64(r.Conn), math.MaxInt32),
		checkRange("in_flight", int64(r.InFlight), math.MaxInt32),
		checkRange("connect_ns", r.ConnectTime, maxRunTime),
		checkRange("handshake_ns", r.HandshakeTime, maxRunTime),
		checkRange("quiet_ns", r.Silence, maxRunTime),
	)
	if err == nil && !history.Err(r.Err).IsValid() {
		err = fmt.Errorf("unknown error %q", r.Err)
	}
	h := r.hit()
	h.Index = int(h.Seq - s.first[r.Phase])
	return h, err
}

// maxRunTime limits times since the origin.
const maxRunTime = int64(366 * 24 * time.Hour)

// checkRange returns an error if a column's value is out of range.
func checkRange(column string, value, most int64) error {
	if value < 0 || value > most {
		return fmt.Errorf("%s is %d, outside 0 to %d", column, value, most)
	}
	return nil
}

func (r hitRow) hit() history.Hit {
	return history.Hit{
		Seq: uint64(r.Seq), Phase: int(r.Phase),
		Due: time.Duration(r.Due), Sent: time.Duration(r.Sent), Done: time.Duration(r.Done),
		Code: int(r.Code), Server: r.Server, Size: r.Size, Checksum: uint32(r.Checksum), Header: r.Header,
		Err:    history.Err(r.Err),
		Client: int(r.Client), Conn: int(r.Conn), InFlight: int(r.InFlight), ConnectTime: time.Duration(r.ConnectTime),
		HandshakeTime: time.Duration(r.HandshakeTime), Resumed: r.Resumed, HandshakeInfo: r.HandshakeInfo,
		Silence: time.Duration(r.Silence),
	}
}

type arrivalRow struct {
	Seq    int64  `parquet:"seq,delta"`
	At     int64  `parquet:"at_ns,delta"`
	Server string `parquet:"server,dict"`
	Header string `parquet:"headers,dict"`
}

func rowOfArrival(a history.Arrival) arrivalRow {
	return arrivalRow{Seq: int64(a.Seq), At: int64(a.At), Server: a.Server, Header: a.Header}
}

// arrival accepts any number and time: health checks may precede the origin, and requests may carry any ID.
func (r arrivalRow) arrival() (history.Arrival, error) {
	return history.Arrival{Seq: uint64(r.Seq), At: time.Duration(r.At), Server: r.Server, Header: r.Header}, nil
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

func rowOfSample(s history.Sample) sampleRow {
	return sampleRow{
		At: int64(s.At), Node: s.Node, CPU: int64(s.CPU), Throttled: int64(s.Throttled), Memory: s.Memory,
		Received: s.Received, Sent: s.Sent, Restarts: int32(s.Restarts),
	}
}

func (r sampleRow) sample() (history.Sample, error) {
	err := firstError(
		checkRange("at_ns", r.At, maxRunTime),
		checkRange("cpu_ns", r.CPU, math.MaxInt64),
		checkRange("throttled_ns", r.Throttled, math.MaxInt64),
		checkRange("memory", r.Memory, math.MaxInt64),
		checkRange("received", r.Received, math.MaxInt64),
		checkRange("sent", r.Sent, math.MaxInt64),
		checkRange("restarts", int64(r.Restarts), math.MaxInt32),
	)
	return history.Sample{
		At: time.Duration(r.At), Node: r.Node, CPU: time.Duration(r.CPU), Throttled: time.Duration(r.Throttled),
		Memory: r.Memory, Received: r.Received, Sent: r.Sent, Restarts: int(r.Restarts),
	}, err
}

type attemptRow struct {
	At         int64  `parquet:"at_ns,delta"`
	Node       string `parquet:"node,dict"`
	SourceAddr string `parquet:"source_address,dict"`
	SourcePort int32  `parquet:"source_port,delta"`
	Port       int32  `parquet:"port,delta"`
}

func rowOfAttempt(a history.Attempt) attemptRow {
	return attemptRow{
		At: int64(a.At), Node: a.Node, SourceAddr: a.SourceAddr, SourcePort: int32(a.SourcePort), Port: int32(a.Port),
	}
}

// attempt accepts any time: health checks may precede the origin.
func (r attemptRow) attempt() (history.Attempt, error) {
	err := firstError(
		checkRange("source_port", int64(r.SourcePort), math.MaxUint16),
		checkRange("port", int64(r.Port), math.MaxUint16),
	)
	return history.Attempt{
		At: time.Duration(r.At), Node: r.Node,
		SourceAddr: r.SourceAddr, SourcePort: int(r.SourcePort), Port: int(r.Port),
	}, err
}

// Rows are read and written in batches; a row group is held in memory.
const (
	RowBatch = 1 << 10
	rowGroup = 1 << 16
)

// table is a Parquet file being written.
type table[R any] struct {
	out   *output
	rows  *parquet.GenericWriter[R]
	next  []R
	count int64
	err   error // the first
}

func createTable[R any](name string) (*table[R], error) {
	out, err := createTemp(name)
	if err != nil {
		return nil, err
	}
	writer := parquet.NewGenericWriter[R](out, parquet.MaxRowsPerRowGroup(rowGroup), parquet.PageBufferSize(64<<10))
	return &table[R]{out: out, rows: writer, next: make([]R, 0, RowBatch)}, nil
}

// write adds a row. After an error it keeps returning that error.
func (t *table[R]) write(row R) error {
	if t.err != nil {
		return t.err
	}
	if t.next = append(t.next, row); len(t.next) < RowBatch {
		return nil
	}
	return t.flush()
}

func (t *table[R]) flush() error {
	_, err := t.rows.Write(t.next)
	t.count += int64(len(t.next))
	t.next = t.next[:0]
	_, missing := os.Lstat(t.out.file.Name()) // writing to a removed file would lose data silently
	t.err = unwritable(firstError(err, missing))
	return t.err
}

// finish writes the remaining rows, but does not commit the file.
func (t *table[R]) finish() error {
	if t.err != nil {
		return t.err
	}
	if err := t.flush(); err != nil {
		return err
	}
	t.err = unwritable(t.rows.Close())
	return t.err
}

// discard may be called on a nil table.
func (t *table[R]) discard() {
	if t != nil {
		t.out.discard()
	}
}

// rows returns a loop that reads a table from disk. A read error is kept in r.err and ends all loops: half a history
// must not be judged.
func rows[R, T any](r *verifiedFolder, name string, convert func(R) (T, error)) iter.Seq[T] {
	return func(yield func(T) bool) {
		if r.err != nil {
			return
		}
		err := readTable(r, name, func(row R) (bool, error) {
			value, err := convert(row)
			return err == nil && yield(value), err
		})
		if err != nil && r.err == nil { // a nested loop may have set it
			r.err = err
		}
	}
}

// readTable calls each for every row until it returns false.
func readTable[R any](r *verifiedFolder, name string, each func(R) (bool, error)) error {
	file, err := r.open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	problem := func(err error) error { return fmt.Errorf("%s: damaged (%w); %s", r.path(name), err, restoreOrRerun) }
	reader, err := openTable[R](file, r.files[name])
	if err != nil {
		return problem(err)
	}
	defer func() { _ = recoverPanic(reader.Close) }() // everything has been read
	batch, read := make([]R, RowBatch), int64(0)
	for {
		n := 0
		err := recoverPanic(func() (err error) {
			n, err = reader.Read(batch)
			return err
		})
		for _, row := range batch[:n] {
			read++
			if more, err := each(row); err != nil {
				return problem(fmt.Errorf("row %d: %w", read, err))
			} else if !more {
				return nil
			}
		}
		switch whole := r.files[name].Rows; {
		case errors.Is(err, io.EOF) && read == whole:
			return nil
		case errors.Is(err, io.EOF), err == nil && n == 0, err == nil && read > whole:
			return problem(fmt.Errorf("%d rows instead of %d", read, whole))
		case err != nil:
			return problem(err)
		}
	}
}

// openTable opens a table and checks its columns and number of rows.
func openTable[R any](file *os.File, known verifiedFile) (reader *parquet.GenericReader[R], err error) {
	err = recoverPanic(func() error {
		opened, err := parquet.OpenFile(file, known.Size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
		if err != nil {
			return err
		}
		if err := sameColumns(opened.Schema(), parquet.SchemaOf(new(R))); err != nil {
			return err
		}
		if opened.NumRows() != known.Rows {
			return fmt.Errorf("%d rows instead of %d", opened.NumRows(), known.Rows)
		}
		reader = parquet.NewGenericReader[R](opened)
		return nil
	})
	return reader, err
}

// sameColumns compares columns; the library would fill missing ones with zeros.
func sameColumns(has, needs *parquet.Schema) error {
	for i, want := range needs.Fields() {
		if i >= len(has.Fields()) {
			return fmt.Errorf("no column %q", want.Name())
		}
		switch got := has.Fields()[i]; {
		case got.Name() != want.Name():
			return fmt.Errorf("column %d is %q instead of %q", i+1, got.Name(), want.Name())
		case !parquet.EqualNodes(got, want):
			return fmt.Errorf("column %q is %s instead of %s", want.Name(), typeName(got), typeName(want))
		}
	}
	if extra := has.Fields()[len(needs.Fields()):]; len(extra) > 0 {
		return fmt.Errorf("unknown column %q", extra[0].Name())
	}
	return nil
}

// typeName returns the type of a column.
func typeName(n parquet.Node) string {
	switch {
	case !n.Leaf():
		return "a group"
	case n.Optional():
		return "optional " + n.Type().String()
	case n.Repeated():
		return "repeated " + n.Type().String()
	}
	return n.Type().String()
}

// recoverPanic returns the library's panics on damaged files as errors.
func recoverPanic(read func() error) (err error) {
	defer func() {
		if crash := recover(); crash != nil {
			err = fmt.Errorf("%v", crash)
		}
	}()
	return read()
}
