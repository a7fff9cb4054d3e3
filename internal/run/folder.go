package run

import (
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lbproof/lbproof/internal/lb"
)

// The files of a run folder.
const (
	planFile        = "plan.json"
	hitsFile        = "hits.csv.gz"
	arrivalsFile    = "arrivals.csv.gz"
	environmentFile = "environment.json"
	logsFolder      = "logs"
)

var (
	hitsHead     = []string{"seq", "load", "index", "due_ns", "sent_ns", "done_ns", "code", "server", "size", "crc32c", "error"}
	arrivalsHead = []string{"seq", "at_ns", "server", "headers"}
)

// ErrFolder is a run folder that cannot be written.
var ErrFolder = errors.New("the run folder cannot be written: free some space, or name another place with --out")

// Folder is a run being written: the plan first, rows as they come, the environment last.
type Folder struct {
	Dir      string
	hits     *table
	arrivals *table
}

// Create makes the folder of a run, which must not exist.
func Create(dir string, plan lb.Plan) (*Folder, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	f := &Folder{Dir: dir}
	err := writeJSON(filepath.Join(dir, planFile), plan)
	if err == nil {
		f.hits, err = createTable(filepath.Join(dir, hitsFile), hitsHead)
	}
	if err == nil {
		f.arrivals, err = createTable(filepath.Join(dir, arrivalsFile), arrivalsHead)
	}
	if err != nil {
		return nil, errors.Join(err, f.Discard())
	}
	return f, nil
}

// Discard removes a folder in which nothing was measured.
func (f *Folder) Discard() error {
	for _, t := range []*table{f.hits, f.arrivals} {
		if t != nil {
			t.file.Close()
		}
	}
	if err := os.RemoveAll(f.Dir); err != nil {
		return fmt.Errorf("remove the run's folder: %w", err)
	}
	return nil
}

// Hit adds a row.
func (f *Folder) Hit(h lb.Hit) error {
	return f.hits.write(
		strconv.FormatUint(h.Seq, 10), strconv.Itoa(h.Load), strconv.Itoa(h.Index),
		nanos(h.Due), nanos(h.Sent), nanos(h.Done), strconv.Itoa(h.Code), h.Server,
		strconv.FormatInt(h.Size, 10), strconv.FormatUint(uint64(h.Sum), 10), string(h.Err),
	)
}

// Arrival adds a row.
func (f *Folder) Arrival(a lb.Arrival) error {
	return f.arrivals.write(strconv.FormatUint(a.Seq, 10), nanos(a.At), a.Server, a.Header)
}

// Log opens a file for what a node printed.
func (f *Folder) Log(node string) (io.WriteCloser, error) {
	dir := filepath.Join(f.Dir, logsFolder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	w, err := os.Create(filepath.Join(dir, node+".log"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return w, nil
}

// Finish writes the environment, which says that the folder is whole.
func (f *Folder) Finish(env lb.Environment) error {
	return errors.Join(f.hits.close(), f.arrivals.close(), writeJSON(filepath.Join(f.Dir, environmentFile), env))
}

func nanos(d time.Duration) string { return strconv.FormatInt(int64(d), 10) }

func writeJSON(file string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return nil
}

// table is a compressed CSV file being written.
type table struct {
	file *os.File
	zip  *gzip.Writer
	rows *csv.Writer
}

func createTable(name string, head []string) (*table, error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	zip, err := gzip.NewWriterLevel(file, gzip.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	t := &table{file: file, zip: zip, rows: csv.NewWriter(zip)}
	return t, t.write(head...)
}

func (t *table) write(fields ...string) error {
	if err := t.rows.Write(fields); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return nil
}

func (t *table) close() error {
	t.rows.Flush()
	if err := errors.Join(t.rows.Error(), t.zip.Close(), t.file.Close()); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return nil
}

// Open reads a run folder. Hits and arrivals are read from disk by each loop over them.
func Open(dir string) (lb.History, error) {
	var h lb.History
	if err := readJSON(filepath.Join(dir, planFile), &h.Plan); err != nil {
		return h, fmt.Errorf("%w (a run folder is what lbproof run or lbproof test leaves)", err)
	}
	if h.Plan.Schema != lb.PlanSchema {
		return h, fmt.Errorf("%s: schema %q; this lbproof reads %s", filepath.Join(dir, planFile), h.Plan.Schema, lb.PlanSchema)
	}
	err := readJSON(filepath.Join(dir, environmentFile), &h.Env)
	if errors.Is(err, fs.ErrNotExist) {
		return h, fmt.Errorf("%s: the run did not end: it has no %s", dir, environmentFile)
	}
	if err != nil {
		return h, err
	}
	var failed error
	h.Err = func() error { return failed }
	h.Hits = func(yield func(lb.Hit) bool) {
		failed = readTable(filepath.Join(dir, hitsFile), len(hitsHead), func(row []string) (bool, error) {
			hit, err := parseHit(row)
			return err == nil && yield(hit), err
		})
	}
	h.Arrivals = func(yield func(lb.Arrival) bool) {
		var same interned
		failed = readTable(filepath.Join(dir, arrivalsFile), len(arrivalsHead), func(row []string) (bool, error) {
			a, err := parseArrival(row, &same)
			return err == nil && yield(a), err
		})
	}
	return h, nil
}

func readJSON(file string, into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the run: %w", err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// readTable calls each for every row after the head, until it says stop.
func readTable(name string, width int, each func(row []string) (more bool, err error)) error {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		return fmt.Errorf("read the history: %s: %w", name, err)
	}
	rows := csv.NewReader(zip)
	rows.ReuseRecord, rows.FieldsPerRecord = true, width
	for n := 0; ; n++ {
		row, err := rows.Read()
		switch {
		case err == io.EOF && n > 0:
			return nil
		case err != nil:
			return fmt.Errorf("read the history: %s: row %d: %w", name, n, err)
		case n == 0:
			continue
		}
		more, err := each(row)
		if err != nil {
			return fmt.Errorf("read the history: %s: row %d: %w", name, n, err)
		}
		if !more {
			return nil
		}
	}
}

// numbers parses fields and keeps the first error.
type numbers struct{ err error }

func (n *numbers) int(field string) int64 {
	v, err := strconv.ParseInt(field, 10, 64)
	if err != nil && n.err == nil {
		n.err = err
	}
	return v
}

func parseHit(row []string) (lb.Hit, error) {
	var n numbers
	hit := lb.Hit{
		Seq: uint64(n.int(row[0])), Load: int(n.int(row[1])), Index: int(n.int(row[2])),
		Due: time.Duration(n.int(row[3])), Sent: time.Duration(n.int(row[4])), Done: time.Duration(n.int(row[5])),
		Code: int(n.int(row[6])), Server: row[7], Size: n.int(row[8]), Sum: uint32(n.int(row[9])), Err: lb.Err(row[10]),
	}
	return hit, n.err
}

func parseArrival(row []string, same *interned) (lb.Arrival, error) {
	var n numbers
	a := lb.Arrival{Seq: uint64(n.int(row[0])), At: time.Duration(n.int(row[1])), Server: row[2], Header: same.get(row[3])}
	return a, n.err
}

// interned gives equal texts one copy: rows often repeat the text of the row before, and then share its memory.
type interned struct{ last string }

func (i *interned) get(s string) string {
	if s != i.last {
		i.last = s
	}
	return i.last
}
