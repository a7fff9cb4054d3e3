package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/lb"
)

// The files of a run folder.
const (
	planFile        = "plan.json"
	hitsFile        = "hits.parquet"
	arrivalsFile    = "arrivals.parquet"
	samplesFile     = "samples.parquet"
	attemptsFile    = "attempts.parquet"
	journalFile     = "journal.jsonl"
	environmentFile = "environment.json"
	logsFolder      = "logs"
)

// ErrFolder is a run folder that cannot be written.
var ErrFolder = errors.New("the run folder cannot be written: free some space, or name another place with --out")

// Folder is a run being written: the plan first, rows as they come, the environment last.
type Folder struct {
	Dir      string
	hits     *table[hitRow]
	arrivals *table[arrivalRow]
	samples  *table[sampleRow]

	mu       sync.Mutex // of what is told from several sides
	attempts *table[attemptRow]
	journal  *os.File
	// attemptsErr is why attempts could not be written.
	attemptsErr error
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
		f.hits, err = createTable[hitRow](filepath.Join(dir, hitsFile))
	}
	if err == nil {
		f.arrivals, err = createTable[arrivalRow](filepath.Join(dir, arrivalsFile))
	}
	if err == nil {
		f.samples, err = createTable[sampleRow](filepath.Join(dir, samplesFile))
	}
	if err == nil && len(plan.Events) > 0 {
		err = f.createForFaults()
	}
	if err != nil {
		return nil, errors.Join(err, f.Discard())
	}
	return f, nil
}

// createForFaults makes the files that only runs with faults have.
func (f *Folder) createForFaults() (err error) {
	if f.attempts, err = createTable[attemptRow](filepath.Join(f.Dir, attemptsFile)); err != nil {
		return err
	}
	if f.journal, err = os.Create(filepath.Join(f.Dir, journalFile)); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return nil
}

// entry is a line of the journal: what is about to be broken, and what has been healed.
type entry struct {
	Event int           `json:"event"` // number in the plan
	Did   string        `json:"did"`   // order or heal
	At    time.Duration `json:"at_ns"`
	Fault lb.Event      `json:"fault"`
}

// Journal writes a line down, for good before it returns.
func (f *Folder) Journal(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err = f.journal.Write(append(line, '\n'))
	if err = errors.Join(err, f.journal.Sync()); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return nil
}

// Attempt adds a row. It may be called from several sides; that one could not be written is told when the folder is finished.
func (f *Folder) Attempt(a lb.Attempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.attempts != nil { // else all is written, and an agent had something more to tell
		f.attemptsErr = errors.Join(f.attemptsErr, f.attempts.write(rowOfAttempt(a)))
	}
}

// Discard removes a folder in which nothing was measured.
func (f *Folder) Discard() error {
	_ = f.closeTables() // they are not wanted
	if err := os.RemoveAll(f.Dir); err != nil {
		return fmt.Errorf("remove the run's folder: %w", err)
	}
	return nil
}

func (f *Folder) closeTables() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	problems := []error{f.hits.close(), f.arrivals.close(), f.samples.close()}
	if f.journal != nil {
		problems = append(problems, f.attemptsErr, f.attempts.close(), f.journal.Close())
		f.attempts, f.journal = nil, nil
	}
	return errors.Join(problems...)
}

// Hit adds a row.
func (f *Folder) Hit(h lb.Hit) error { return f.hits.write(rowOfHit(h)) }

// Arrival adds a row.
func (f *Folder) Arrival(a lb.Arrival) error { return f.arrivals.write(rowOfArrival(a)) }

// Sample adds a row.
func (f *Folder) Sample(s lb.Sample) error { return f.samples.write(rowOfSample(s)) }

// Log opens a file for what a node printed.
func (f *Folder) Log(node string) (io.WriteCloser, error) {
	dir := filepath.Join(f.Dir, logsFolder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	w, err := os.Create(f.logFile(node))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return w, nil
}

func (f *Folder) logFile(node string) string { return filepath.Join(f.Dir, logsFolder, node+".log") }

// Finish writes the environment, which says that the folder is whole.
func (f *Folder) Finish(env lb.Environment) error {
	return errors.Join(f.closeTables(), writeJSON(filepath.Join(f.Dir, environmentFile), env))
}

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
	first := make([]uint64, len(h.Plan.Loads))
	for i := range first {
		first[i] = h.Plan.First(i)
	}
	h.Hits = rows(filepath.Join(dir, hitsFile), &failed, func(r hitRow) lb.Hit { return r.hit(first) })
	arrivals := rows(filepath.Join(dir, arrivalsFile), &failed, arrivalRow.arrival)
	h.Arrivals = func(yield func(lb.Arrival) bool) {
		for a := range arrivals {
			if _, check := a.Check(); !check && !yield(a) {
				return
			}
		}
	}
	h.Checks = func(yield func(lb.Check) bool) {
		for a := range arrivals {
			if c, check := a.Check(); check && !yield(c) {
				return
			}
		}
	}
	h.Samples = rows(filepath.Join(dir, samplesFile), &failed, sampleRow.sample)
	h.Attempts = func(func(lb.Attempt) bool) {}
	if len(h.Plan.Events) > 0 {
		h.Attempts = rows(filepath.Join(dir, attemptsFile), &failed, attemptRow.attempt)
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
