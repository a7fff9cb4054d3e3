package folder

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// The files of a run folder.
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

// expectedFiles are those that a run of the plan leaves, beside the logs and the manifest.
func expectedFiles(p plan.Plan) []string {
	files := []string{PlanFile, environmentFile, hitsFile, arrivalsFile, samplesFile}
	if len(p.Events) > 0 {
		files = append(files, attemptsFile, journalFile)
	}
	return files
}

// Folder is a run being written: the plan first, rows as they come, the environment last but one, and the manifest last, which
// says that the folder is whole. Every file is written beside its place and renamed when it is whole, but the journal, which is
// there for those who look after lbproof was killed.
type Folder struct {
	Dir      string
	hits     *table[hitRow]
	arrivals *table[arrivalRow]
	samples  *table[sampleRow]

	mu         sync.Mutex // of what is told from several sides
	attempts   *table[attemptRow]
	journal    *output
	journalErr error       // the first
	files      []fileEntry // that are whole
}

// Create makes the folder of a run, which must not exist. Where it fails it leaves none.
func Create(dir string, p plan.Plan) (*Folder, error) {
	if err := p.CheckRunnable(); err != nil {
		return nil, fmt.Errorf("the plan: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, unwritable(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, unwritable(err)
	}
	f := &Folder{Dir: dir}
	if err := f.create(p); err != nil {
		_ = f.Discard() // what keeps a folder from being written may keep it from being removed
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

// Entry is a line of the journal: what is about to be broken, and what has been healed.
type Entry struct {
	Event  int           `json:"event"`  // number in the plan
	Action string        `json:"action"` // order or heal
	At     time.Duration `json:"at_ns"`
	Fault  plan.Event    `json:"fault"`
}

// What an entry says was done.
const (
	Injected = "inject"
	Healed   = "heal"
)

// Journal writes a line down, for good before it returns.
func (f *Folder) Journal(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.journalErr == nil {
		_, err = f.journal.Write(append(line, '\n'))
		f.journalErr = unwritable(firstError(err, f.journal.file.Sync()))
	}
	return f.journalErr
}

// Attempt adds a row. It may be called from several sides; that one could not be written is told when the folder is finished.
func (f *Folder) Attempt(a history.Attempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.attempts != nil { // else all is written, and an agent had something more to tell
		_ = f.attempts.write(rowOfAttempt(a)) // which the table remembers
	}
}

// Discard removes a folder that nobody can judge.
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
		return fmt.Errorf("remove the run's folder: %w", err)
	}
	return nil
}

// Hit adds a row.
func (f *Folder) Hit(h history.Hit) error { return f.hits.write(rowOfHit(h)) }

// Arrival adds a row.
func (f *Folder) Arrival(a history.Arrival) error { return f.arrivals.write(rowOfArrival(a)) }

// Sample adds a row.
func (f *Folder) Sample(s history.Sample) error { return f.samples.write(rowOfSample(s)) }

// Log opens a file for what a node printed, which has to be closed before the folder is finished.
func (f *Folder) Log(node string) (io.WriteCloser, error) {
	if err := os.MkdirAll(f.Path(LogsFolder), 0o755); err != nil {
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
	err    error // the first of writing
}

// Write is io.Writer's.
func (w *logWriter) Write(p []byte) (int, error) {
	n, err := w.output.Write(p)
	w.err = firstError(w.err, unwritable(err))
	return n, w.err
}

// Close makes the log one of the folder's files. It repeats an error of Write's, which needs no more than itself to be understood.
func (w *logWriter) Close() error {
	return firstError(w.err, unwritable(w.folder.addFile(w.output, 0)))
}

// addFile makes a file one of the folder's.
func (f *Folder) addFile(o *output, count int64) error {
	if err := o.commit(); err != nil {
		o.discard()
		return err
	}
	name, err := filepath.Rel(f.Dir, o.name)
	f.files = append(f.files, fileEntry{Name: filepath.ToSlash(name), Size: o.size, SHA256: o.digest(), Rows: count})
	return err
}

// Finish writes the environment, and the manifest, which says that the folder is whole. Its error is the first of writing the folder.
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
		_ = dir.Sync() // which not every file system can
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
