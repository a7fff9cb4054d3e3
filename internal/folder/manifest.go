package folder

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/source"
)

// manifest binds the files of a run folder: what is not as it says was changed after the run. Its text is what marshalling it gives, to
// the byte, and it has a digest of its own, so that a damage to itself is noticed too. Reports are written later, and not bound.
type manifest struct {
	Schema  string      `json:"schema"`  // manifestSchema
	Lbproof string      `json:"lbproof"` // the version that recorded the run
	Files   []fileEntry `json:"files"`
	SHA256  string      `json:"sha256"` // of this text with an empty sha256
}

// fileEntry is a file as the run left it.
type fileEntry struct {
	Name   string `json:"name"` // within the folder
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
	Rows   int64  `json:"rows,omitempty"` // of a table
}

// manifestSchema is the version of the form of run folders.
const manifestSchema = "lbproof.run/1"

// text is the manifest's own, with its digest.
func (m manifest) text() ([]byte, error) {
	m.SHA256 = ""
	bare, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	m.SHA256 = model.Digest(bare)
	text, err := json.MarshalIndent(m, "", "  ")
	return append(text, '\n'), err
}

// restoreOrRerun is the way out of a damage.
const restoreOrRerun = "take the folder from a copy, or run it again"

func changedError(file, problem string) error {
	return fmt.Errorf("%s: it was changed after the run: %s; %s", file, problem, restoreOrRerun)
}

// readManifest tells folders that are none, runs that did not end, and those of other versions from each other.
func readManifest(dir string) (m manifest, err error) {
	name := filepath.Join(dir, manifestFile)
	text, err := source.ReadFile(name, maxTextSize)
	if errors.Is(err, fs.ErrNotExist) {
		return m, missingManifestError(dir)
	}
	if err != nil {
		return m, fmt.Errorf("read the run: %w", err)
	}
	var form struct{ Schema, Lbproof string }
	if json.Unmarshal(text, &form) == nil && form.Schema != "" && form.Schema != manifestSchema {
		return m, fmt.Errorf("%s: schema %q; this lbproof reads %s: judge the run with the lbproof that recorded it, %q",
			name, form.Schema, manifestSchema, form.Lbproof)
	}
	if err := decode(text, &m); err != nil {
		return m, changedError(name, err.Error())
	}
	if whole, err := m.text(); err != nil || !bytes.Equal(whole, text) {
		return m, changedError(name, "it is not what its own digest says")
	}
	return m, nil
}

// ErrNoRun is a folder that no run has left.
var ErrNoRun = errors.New("it is no run folder: a run folder is what lbproof run or lbproof test leaves")

func missingManifestError(dir string) error {
	has := func(file string) bool {
		_, err := os.Stat(filepath.Join(dir, file))
		return err == nil
	}
	switch {
	case has(environmentFile):
		return fmt.Errorf("%s: it has no %s: the run did not end, the file was removed, "+
			"or an lbproof recorded it that wrote none yet; run it again", dir, manifestFile)
	case has(PlanFile):
		return fmt.Errorf("%s: the run did not end: it has no %s; run it again", dir, manifestFile)
	}
	return fmt.Errorf("%s: %w", dir, ErrNoRun)
}

// verifiedFolder is a run folder whose files were as its manifest says when they were looked at.
type verifiedFolder struct {
	dir   string
	files map[string]verifiedFile
	err   error // the first of reading it
}

// verifiedFile is a file, and what the file system said of it when its digest was right.
type verifiedFile struct {
	fileEntry
	info fs.FileInfo
}

// verify compares every file with the manifest.
func verify(dir string, m manifest) (*verifiedFolder, error) {
	r := &verifiedFolder{dir: dir, files: map[string]verifiedFile{}}
	for _, b := range m.Files { // first what costs nothing
		if !filepath.IsLocal(b.Name) {
			return nil, fmt.Errorf("%s: it names %s, which is outside the folder", r.path(manifestFile), b.Name)
		}
		info, err := os.Stat(r.path(b.Name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, changedError(r.path(b.Name), "it is missing")
		case err != nil:
			return nil, fmt.Errorf("read the run: %w", err)
		case info.Size() != b.Size:
			return nil, changedError(r.path(b.Name), fmt.Sprintf("it has %d bytes instead of %d", info.Size(), b.Size))
		}
		r.files[b.Name] = verifiedFile{b, info}
	}
	for _, b := range m.Files {
		sum, err := r.digest(b.Name)
		if err != nil {
			return nil, err
		}
		if sum != b.SHA256 {
			return nil, changedError(r.path(b.Name), "its SHA-256 is not that in "+manifestFile)
		}
	}
	return r, nil
}

// digest reads a file once, in memory that does not depend on its size.
func (r *verifiedFolder) digest(name string) (string, error) {
	file, err := r.open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", fmt.Errorf("read the run: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (r *verifiedFolder) path(name string) string {
	return filepath.Join(r.dir, filepath.FromSlash(name))
}

// open opens a file that is still the one that was verified.
func (r *verifiedFolder) open(name string) (*os.File, error) {
	known, named := r.files[name]
	if !named {
		return nil, fmt.Errorf("%s: it does not name %s; %s", r.path(manifestFile), name, restoreOrRerun)
	}
	file, err := source.OpenFile(r.path(name))
	if err != nil {
		return nil, fmt.Errorf("read the run: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("read the run: %w", err)
	}
	if !os.SameFile(info, known.info) || info.Size() != known.Size || !info.ModTime().Equal(known.info.ModTime()) {
		file.Close()
		return nil, fmt.Errorf("%s: somebody changed it while it was judged; %s", r.path(name), restoreOrRerun)
	}
	return file, nil
}

// maxTextSize is the size, bytes, of the largest file of a run folder that is read as a whole.
const maxTextSize = plan.MaxPlanSize

// read reads a file that is small enough.
func (r *verifiedFolder) read(name string) ([]byte, error) {
	if r.files[name].Size > maxTextSize {
		return nil, fmt.Errorf("%s: %w", r.path(name), &source.TooLargeError{MaxBytes: maxTextSize})
	}
	file, err := r.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("read the run: %w", err)
	}
	return text, nil
}

// decode reads JSON that holds what the value has fields for, and nothing else.
func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the end of the JSON text")
	}
	return nil
}
