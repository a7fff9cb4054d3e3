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

// The tables of a run folder are Parquet files, which most tools for data read. Numbers are kept as differences to the row
// before, texts by their place in a dictionary: a hit takes a dozen bytes.

// hitRow is history.Hit, but for its Index, which Seq tells.
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

func rowOfHit(h history.Hit) hitRow {
	return hitRow{
		Seq: int64(h.Seq), Load: int32(h.Load), Due: int64(h.Due), Sent: int64(h.Sent), Done: int64(h.Done),
		Code: int32(h.Code), Server: h.Server, Size: h.Size, Sum: int64(h.Sum), Header: h.Header, Err: string(h.Err),
		Client: int32(h.Client), Conn: int32(h.Conn), Flight: int32(h.Flight), Connect: int64(h.Connect),
		Handshake: int64(h.Handshake), Resumed: h.Resumed, Shake: h.Shake, Quiet: int64(h.Quiet),
	}
}

// sent is what the rows of hits must keep to: the plan's phases, and the number of the first hit of each.
type sent struct {
	loads []plan.Phase
	first []uint64
}

func sentBy(p plan.Plan) sent {
	s := sent{loads: p.Phases}
	for i := range p.Phases {
		s.first = append(s.first, p.First(i))
	}
	return s
}

// hit gives an error where a row cannot be of the plan.
func (s sent) hit(r hitRow) (history.Hit, error) {
	switch load := int(r.Load); {
	case load < 0 || load >= len(s.loads):
		return history.Hit{}, fmt.Errorf("the hit is of phase %d, and the plan has %d", load, len(s.loads))
	case r.Seq < int64(s.first[load]) || r.Seq >= int64(s.first[load])+int64(s.loads[load].Count):
		return history.Hit{}, fmt.Errorf("hit %d is none of phase %d", r.Seq, load)
	}
	err := first(
		within("due_ns", r.Due, longestRun),
		within("sent_ns", r.Sent, longestRun),
		within("done_ns", r.Done, longestRun),
		within("code", int64(r.Code), 999),
		within("size", r.Size, math.MaxInt64),
		within("crc32c", r.Sum, math.MaxUint32),
		within("client", int64(r.Client), math.MaxInt32),
		within("conn", int64(r.Conn), math.MaxInt32),
		within("in_flight", int64(r.Flight), math.MaxInt32),
		within("connect_ns", r.Connect, longestRun),
		within("handshake_ns", r.Handshake, longestRun),
		within("quiet_ns", r.Quiet, longestRun),
	)
	if err == nil && !history.Err(r.Err).Known() {
		err = fmt.Errorf("error is %q, which is none", r.Err)
	}
	h := r.hit()
	h.Index = int(h.Seq - s.first[r.Load])
	return h, err
}

// longestRun is how long after the origin anything of a run happens at most.
const longestRun = int64(366 * 24 * time.Hour)

// within says which column has a value that it cannot have.
func within(column string, value, most int64) error {
	if value < 0 || value > most {
		return fmt.Errorf("%s is %d, which is not from 0 to %d", column, value, most)
	}
	return nil
}

func (r hitRow) hit() history.Hit {
	return history.Hit{
		Seq: uint64(r.Seq), Load: int(r.Load),
		Due: time.Duration(r.Due), Sent: time.Duration(r.Sent), Done: time.Duration(r.Done),
		Code: int(r.Code), Server: r.Server, Size: r.Size, Sum: uint32(r.Sum), Header: r.Header, Err: history.Err(r.Err),
		Client: int(r.Client), Conn: int(r.Conn), Flight: int(r.Flight), Connect: time.Duration(r.Connect),
		Handshake: time.Duration(r.Handshake), Resumed: r.Resumed, Shake: r.Shake, Quiet: time.Duration(r.Quiet),
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

// arrival takes any number and any time: health checks come before the origin too, and what reaches a backend may have any id.
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
	err := first(
		within("at_ns", r.At, longestRun),
		within("cpu_ns", r.CPU, math.MaxInt64),
		within("throttled_ns", r.Throttled, math.MaxInt64),
		within("memory", r.Memory, math.MaxInt64),
		within("received", r.Received, math.MaxInt64),
		within("sent", r.Sent, math.MaxInt64),
		within("restarts", int64(r.Restarts), math.MaxInt32),
	)
	return history.Sample{
		At: time.Duration(r.At), Node: r.Node, CPU: time.Duration(r.CPU), Throttled: time.Duration(r.Throttled),
		Memory: r.Memory, Received: r.Received, Sent: r.Sent, Restarts: int(r.Restarts),
	}, err
}

type attemptRow struct {
	At     int64  `parquet:"at_ns,delta"`
	Node   string `parquet:"node,dict"`
	From   string `parquet:"from,dict"`
	Source int32  `parquet:"source_port,delta"`
	Port   int32  `parquet:"port,delta"`
}

func rowOfAttempt(a history.Attempt) attemptRow {
	return attemptRow{At: int64(a.At), Node: a.Node, From: a.From, Source: int32(a.Source), Port: int32(a.Port)}
}

// attempt takes any time: the balancer asks for health before the origin too.
func (r attemptRow) attempt() (history.Attempt, error) {
	err := first(within("source_port", int64(r.Source), math.MaxUint16), within("port", int64(r.Port), math.MaxUint16))
	return history.Attempt{
		At: time.Duration(r.At), Node: r.Node, From: r.From, Source: int(r.Source), Port: int(r.Port),
	}, err
}

// Rows are written and read in batches, and a group of them is what a table holds in memory.
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
	out, err := aside(name)
	if err != nil {
		return nil, err
	}
	writer := parquet.NewGenericWriter[R](out, parquet.MaxRowsPerRowGroup(rowGroup), parquet.PageBufferSize(64<<10))
	return &table[R]{out: out, rows: writer, next: make([]R, 0, RowBatch)}, nil
}

// write adds a row. After an error it adds none, and gives that error again.
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
	_, gone := os.Lstat(t.out.file.Name()) // what is written to a file that was removed is lost
	t.err = unwritable(first(err, gone))
	return t.err
}

// finish writes all that is left; the file is not in its place yet.
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

// abandon is safe on a table that was never made.
func (t *table[R]) abandon() {
	if t != nil {
		t.out.abandon()
	}
}

// rows reads a table from disk in each loop. Why one ended early stands in r.err, after which no loop has any rows: half of a
// history is none.
func rows[R, T any](r *recorded, name string, convert func(R) (T, error)) iter.Seq[T] {
	return func(yield func(T) bool) {
		if r.err != nil {
			return
		}
		err := readTable(r, name, func(row R) (bool, error) {
			value, err := convert(row)
			return err == nil && yield(value), err
		})
		if err != nil && r.err == nil { // a loop within the loop may have met one
			r.err = err
		}
	}
}

// readTable calls each for every row, until it says stop.
func readTable[R any](r *recorded, name string, each func(R) (bool, error)) error {
	file, err := r.open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	problem := func(err error) error { return fmt.Errorf("%s: %w; %s", r.path(name), err, copyOrRepeat) }
	reader, err := openTable[R](file, r.files[name])
	if err != nil {
		return problem(err)
	}
	defer func() { _ = guarded(reader.Close) }() // all is read by then
	batch, read := make([]R, RowBatch), int64(0)
	for {
		n := 0
		err := guarded(func() (err error) {
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
			return problem(fmt.Errorf("it has %d rows instead of %d", read, whole))
		case err != nil:
			return problem(err)
		}
	}
}

// openTable opens a table that has the columns of R, and as many rows as the manifest says.
func openTable[R any](file *os.File, known stamped) (reader *parquet.GenericReader[R], err error) {
	err = guarded(func() error {
		opened, err := parquet.OpenFile(file, known.Size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
		if err != nil {
			return err
		}
		if err := sameColumns(opened.Schema(), parquet.SchemaOf(new(R))); err != nil {
			return err
		}
		if opened.NumRows() != known.Rows {
			return fmt.Errorf("it has %d rows instead of %d", opened.NumRows(), known.Rows)
		}
		reader = parquet.NewGenericReader[R](opened)
		return nil
	})
	return reader, err
}

// sameColumns compares the columns of a file with those that its rows need: the library would fill in zeros for what is missing.
func sameColumns(has, needs *parquet.Schema) error {
	for i, want := range needs.Fields() {
		if i >= len(has.Fields()) {
			return fmt.Errorf("it has no column %q", want.Name())
		}
		switch got := has.Fields()[i]; {
		case got.Name() != want.Name():
			return fmt.Errorf("its column %d is %q instead of %q", i+1, got.Name(), want.Name())
		case !parquet.EqualNodes(got, want):
			return fmt.Errorf("its column %q is %s instead of %s", want.Name(), kind(got), kind(want))
		}
	}
	if extra := has.Fields()[len(needs.Fields()):]; len(extra) > 0 {
		return fmt.Errorf("its column %q is none of this lbproof's", extra[0].Name())
	}
	return nil
}

// kind is the type of a column.
func kind(n parquet.Node) string {
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

// guarded makes an error of the library's crash on a damaged file.
func guarded(read func() error) (err error) {
	defer func() {
		if crash := recover(); crash != nil {
			err = fmt.Errorf("%v", crash)
		}
	}()
	return read()
}
