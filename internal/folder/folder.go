package folder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// Files of a run folder.
const (
	PlanFile        = "plan.json"
	hitsFile        = "hits.parquet"
	arrivalsFile    = "arrivals.parquet"
	samplesFile     = "samples.parquet"
	attemptsFile    = "attempts.parquet"
	journalFile     = "journal.jsonl"
	environmentFile = "environment.json"
	manifestFile    = "manifest.json"
	LogsFolder      = "logs"
)

// expectedFiles returns the files that a run of the plan writes, besides the logs and the manifest.
func expectedFiles(p plan.Plan) []string {
	files := []string{PlanFile, environmentFile, hitsFile, arrivalsFile, samplesFile}
	if len(p.Events) > 0 {
		files = append(files, attemptsFile, journalFile)
	}
	return files
}

// Folder is a run folder being written: the plan first, rows as they arrive, then the environment, and last the
// manifest, which marks the folder as complete. Every file is written atomically, except the journal, which must be
// readable if lbproof is killed.
type Folder struct {
	Dir      string
	hits     *table[hitRow]
	arrivals *table[arrivalRow]
	samples  *table[sampleRow]

	mu         sync.Mutex // guards the fields below, which several goroutines use
	attempts   *table[attemptRow]
	journal    *output
	journalErr error       // the first
	files      []fileEntry // complete files
}

// Create creates a run folder, which must not exist. On error it leaves none.
func Create(dir string, p plan.Plan) (*Folder, error) {
	if err := p.CheckRunnable(); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, unwritable(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, unwritable(err)
	}
	f := &Folder{Dir: dir}
	if err := f.create(p); err != nil {
		_ = f.Discard() // whatever prevents writing may prevent this too
		return nil, unwritable(err)
	}
	return f, nil
}

func (f *Folder) create(p plan.Plan) (err error) {
	if err := f.writeJSON(PlanFile, p); err != nil {
		return err
	}
	if f.hits, err = createTable[hitRow](f.Path(hitsFile)); err != nil {
		return err
	}
	if f.arrivals, err = createTable[arrivalRow](f.Path(arrivalsFile)); err != nil {
		return err
	}
	if f.samples, err = createTable[sampleRow](f.Path(samplesFile)); err != nil {
		return err
	}
	if len(p.Events) == 0 {
		return nil
	}
	if f.attempts, err = createTable[attemptRow](f.Path(attemptsFile)); err != nil {
		return err
	}
	f.journal, err = createInPlace(f.Path(journalFile))
	return err
}

func (f *Folder) Path(name string) string { return filepath.Join(f.Dir, name) }

// Entry is a line of the journal: a fault injected or healed.
type Entry struct {
	Event  int           `json:"event"`  // index in the plan
	Action string        `json:"action"` // Injected or Healed
	At     time.Duration `json:"at_ns"`
	Fault  plan.Event    `json:"fault"`
}

// Values of Entry.Action.
const (
	Injected = "inject"
	Healed   = "heal"
)

// Journal appends an entry and syncs it before returning.
func (f *Folder) Journal(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.journalErr == nil {
		_, err = f.journal.Write(append(line, '\n'))
		f.journalErr = unwritable(firstError(err, f.journal.file.Sync()))
	}
	return f.journalErr
}

// Attempt adds a row. It may be called concurrently; Finish returns its error.
func (f *Folder) Attempt(a history.Attempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.attempts != nil { // otherwise all is written, and an agent reported late
		_ = f.attempts.write(rowOfAttempt(a)) // the table keeps the error
	}
}

// Discard removes a folder that cannot be judged.
func (f *Folder) Discard() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hits.discard()
	f.arrivals.discard()
	f.samples.discard()
	f.attempts.discard()
	if f.journal != nil {
		f.journal.discard()
	}
	f.attempts, f.journal = nil, nil
	if err := os.RemoveAll(f.Dir); err != nil {
		return fmt.Errorf("remove the run folder: %w", err)
	}
	return nil
}

func (f *Folder) Hit(h history.Hit) error { return f.hits.write(rowOfHit(h)) }

func (f *Folder) Arrival(a history.Arrival) error { return f.arrivals.write(rowOfArrival(a)) }

func (f *Folder) Sample(s history.Sample) error { return f.samples.write(rowOfSample(s)) }

// Log creates a file for a node's log. It must be closed before Finish.
func (f *Folder) Log(node string) (io.WriteCloser, error) {
	err := os.Mkdir(f.Path(LogsFolder), 0o755) // not MkdirAll, which would restore a folder removed during the run
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, unwritable(err)
	}
	o, err := createTemp(f.LogFile(node))
	if err != nil {
		return nil, unwritable(err)
	}
	return &logWriter{output: o, folder: f}, nil
}

func (f *Folder) LogFile(node string) string { return f.Path(filepath.Join(LogsFolder, node+".log")) }

// logWriter is a log being written.
type logWriter struct {
	*output
	folder *Folder
	err    error // the first write error
}

// Write implements io.Writer.
func (w *logWriter) Write(p []byte) (int, error) {
	n, err := w.output.Write(p)
	w.err = firstError(w.err, unwritable(err))
	return n, w.err
}

// Close adds the log to the folder. It returns the first error of Write, if any.
func (w *logWriter) Close() error {
	return firstError(w.err, unwritable(w.folder.addFile(w.output, 0)))
}

// addFile commits a file and adds it to the manifest.
func (f *Folder) addFile(o *output, count int64) error {
	if err := o.commit(); err != nil {
		o.discard()
		return err
	}
	name, err := filepath.Rel(f.Dir, o.name)
	f.files = append(f.files, fileEntry{Name: filepath.ToSlash(name), Size: o.size, SHA256: o.digest(), Rows: count})
	return err
}

// Finish writes the environment and the manifest, which marks the folder as complete. It returns the first error of
// writing the folder.
func (f *Folder) Finish(env history.Environment) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := firstError(addTable(f, f.hits), addTable(f, f.arrivals), addTable(f, f.samples))
	if err == nil && f.journal != nil {
		err = firstError(f.journalErr, addTable(f, f.attempts), f.addFile(f.journal, 0))
		f.attempts, f.journal = nil, nil
	}
	if err == nil {
		err = f.writeJSON(environmentFile, env)
	}
	if err == nil {
		err = f.writeManifest(env.Lbproof)
	}
	return unwritable(err)
}

func addTable[R any](f *Folder, t *table[R]) error {
	if err := t.finish(); err != nil {
		t.discard()
		return err
	}
	return f.addFile(t.out, t.count)
}

func (f *Folder) writeManifest(lbproof string) error {
	slices.SortFunc(f.files, func(a, b fileEntry) int { return strings.Compare(a.Name, b.Name) })
	text, err := manifest{Schema: manifestSchema, Lbproof: lbproof, Files: f.files}.text()
	if err != nil {
		return err
	}
	err = WriteFile(f.Path(manifestFile), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return err
	}
	if dir, err := os.Open(f.Dir); err == nil {
		_ = dir.Sync() // not supported by every file system
		_ = dir.Close()
	}
	return nil
}

func (f *Folder) writeJSON(name string, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	o, err := createTemp(f.Path(name))
	if err != nil {
		return err
	}
	if _, err := o.Write(append(text, '\n')); err != nil {
		o.discard()
		return err
	}
	return f.addFile(o, 0)
}
