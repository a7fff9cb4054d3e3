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
	Schema  string  `json:"schema"`  // manifestSchema
	Lbproof string  `json:"lbproof"` // the version that recorded the run
	Files   []bound `json:"files"`
	SHA256  string  `json:"sha256"` // of this text with an empty sha256
}

// bound is a file as the run left it.
type bound struct {
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

// copyOrRepeat is the way out of a damage.
const copyOrRepeat = "take the folder from a copy, or run it again"

func changed(file, problem string) error {
	return fmt.Errorf("%s: it was changed after the run: %s; %s", file, problem, copyOrRepeat)
}

// readManifest tells folders that are none, runs that did not end, and those of other versions from each other.
func readManifest(dir string) (m manifest, err error) {
	name := filepath.Join(dir, manifestFile)
	text, err := source.ReadFile(name, largestText)
	if errors.Is(err, fs.ErrNotExist) {
		return m, withoutManifest(dir)
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
		return m, changed(name, err.Error())
	}
	if whole, err := m.text(); err != nil || !bytes.Equal(whole, text) {
		return m, changed(name, "it is not what its own digest says")
	}
	return m, nil
}

// ErrNoRun is a folder that no run has left.
var ErrNoRun = errors.New("it is no run folder: a run folder is what lbproof run or lbproof test leaves")

func withoutManifest(dir string) error {
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

// recorded is a run folder whose files were as its manifest says when they were looked at.
type recorded struct {
	dir   string
	files map[string]stamped
	err   error // the first of reading it
}

// stamped is a file, and what the file system said of it when its digest was right.
type stamped struct {
	bound
	info fs.FileInfo
}

// verify compares every file with the manifest.
func verify(dir string, m manifest) (*recorded, error) {
	r := &recorded{dir: dir, files: map[string]stamped{}}
	for _, b := range m.Files { // first what costs nothing
		if !filepath.IsLocal(b.Name) {
			return nil, fmt.Errorf("%s: it names %s, which is outside the folder", r.path(manifestFile), b.Name)
		}
		info, err := os.Stat(r.path(b.Name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, changed(r.path(b.Name), "it is missing")
		case err != nil:
			return nil, fmt.Errorf("read the run: %w", err)
		case info.Size() != b.Size:
			return nil, changed(r.path(b.Name), fmt.Sprintf("it has %d bytes instead of %d", info.Size(), b.Size))
		}
		r.files[b.Name] = stamped{b, info}
	}
	for _, b := range m.Files {
		sum, err := r.digest(b.Name)
		if err != nil {
			return nil, err
		}
		if sum != b.SHA256 {
			return nil, changed(r.path(b.Name), "its SHA-256 is not that in "+manifestFile)
		}
	}
	return r, nil
}

// digest reads a file once, in memory that does not depend on its size.
func (r *recorded) digest(name string) (string, error) {
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

func (r *recorded) path(name string) string { return filepath.Join(r.dir, filepath.FromSlash(name)) }

// open opens a file that is still the one that was verified.
func (r *recorded) open(name string) (*os.File, error) {
	known, named := r.files[name]
	if !named {
		return nil, fmt.Errorf("%s: it does not name %s; %s", r.path(manifestFile), name, copyOrRepeat)
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
		return nil, fmt.Errorf("%s: somebody changed it while it was judged; %s", r.path(name), copyOrRepeat)
	}
	return file, nil
}

// largestText is the size, bytes, of the largest file of a run folder that is read as a whole.
const largestText = plan.PlanSize

// read reads a file that is small enough.
func (r *recorded) read(name string) ([]byte, error) {
	if r.files[name].Size > largestText {
		return nil, fmt.Errorf("%s: %w", r.path(name), &source.LargeError{Most: largestText})
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
