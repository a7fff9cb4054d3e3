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
	"syscall"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/source"
)

// manifest lists the files of a run folder with their digests, to detect later changes. Its encoding is canonical and
// includes its own digest. Reports are written later and not listed.
type manifest struct {
	Schema  string      `json:"schema"`  // manifestSchema
	Lbproof string      `json:"lbproof"` // version that recorded the run
	Files   []fileEntry `json:"files"`
	SHA256  string      `json:"sha256"` // of this text with an empty sha256
}

// fileEntry is a file as written by the run.
type fileEntry struct {
	Name   string `json:"name"` // relative to the folder
	Size   int64  `json:"size"` // in bytes
	SHA256 string `json:"sha256"`
	Rows   int64  `json:"rows,omitempty"` // of a table
}

// manifestSchema is the version of the run folder format.
const manifestSchema = "lbproof.run/2"

// text returns the canonical encoding, with the digest.
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

// restoreOrRerun is the remedy for a damaged file.
const restoreOrRerun = "the run cannot be judged; restore the folder from a copy, or run it again"

func changedError(file, problem string) error {
	return fmt.Errorf("%s: changed after the run (%s); %s", file, problem, restoreOrRerun)
}

// readManifest reads the manifest, or returns why the folder is not a run, not complete, or of another version.
func readManifest(dir string) (m manifest, err error) {
	name := filepath.Join(dir, manifestFile)
	text, err := source.ReadFile(name, maxTextSize)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return m, missingManifestError(dir)
	}
	if err != nil {
		return m, fmt.Errorf("read the run: %w", err)
	}
	var form struct{ Schema, Lbproof string }
	if json.Unmarshal(text, &form) == nil && form.Schema != "" && form.Schema != manifestSchema {
		const wrong = "%s: schema %q, but this lbproof reads %s; judge the run with lbproof %q, which recorded it"
		return m, fmt.Errorf(wrong, name, form.Schema, manifestSchema, form.Lbproof)
	}
	if err := decode(text, &m); err != nil {
		return m, changedError(name, err.Error())
	}
	if whole, err := m.text(); err != nil || !bytes.Equal(whole, text) {
		return m, changedError(name, "its own digest does not match")
	}
	return m, nil
}

// ErrNoRun means that a folder is not a run folder.
var ErrNoRun = errors.New("not a run folder; run folders are created by lbproof run and lbproof test")

func missingManifestError(dir string) error {
	has := func(file string) bool {
		_, err := os.Stat(filepath.Join(dir, file))
		return err == nil
	}
	switch {
	case has(environmentFile):
		return fmt.Errorf("%s: no %s: the run did not finish, the file was removed, "+
			"or an older lbproof recorded it; run it again", dir, manifestFile)
	case has(PlanFile):
		return fmt.Errorf("%s: the run did not finish (no %s); run it again", dir, manifestFile)
	}
	return fmt.Errorf("%s: %w", dir, ErrNoRun)
}

// verifiedFolder is a run folder whose files matched the manifest when it was opened.
type verifiedFolder struct {
	dir   string
	files map[string]verifiedFile
	err   error // the first read error
}

// verifiedFile is a file and its metadata at the time its digest was verified.
type verifiedFile struct {
	fileEntry
	info fs.FileInfo
}

// verify compares every file with the manifest.
func verify(dir string, m manifest) (*verifiedFolder, error) {
	r := &verifiedFolder{dir: dir, files: map[string]verifiedFile{}}
	for _, b := range m.Files { // cheap checks first
		if !filepath.IsLocal(b.Name) {
			return nil, fmt.Errorf("%s: lists %s, which is outside the folder", r.path(manifestFile), b.Name)
		}
		info, err := os.Stat(r.path(b.Name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, changedError(r.path(b.Name), "missing")
		case err != nil:
			return nil, fmt.Errorf("read the run: %w", err)
		case info.Size() != b.Size:
			return nil, changedError(r.path(b.Name), fmt.Sprintf("%d bytes instead of %d", info.Size(), b.Size))
		}
		r.files[b.Name] = verifiedFile{b, info}
	}
	for _, b := range m.Files {
		sum, err := r.digest(b.Name)
		if err != nil {
			return nil, err
		}
		if sum != b.SHA256 {
			return nil, changedError(r.path(b.Name), "its SHA-256 differs from that in "+manifestFile)
		}
	}
	return r, nil
}

// digest returns a file's SHA-256.
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

// open opens a file, unless it has changed since it was verified.
func (r *verifiedFolder) open(name string) (*os.File, error) {
	known, named := r.files[name]
	if !named {
		return nil, fmt.Errorf("%s: does not list %s; %s", r.path(manifestFile), name, restoreOrRerun)
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
		return nil, fmt.Errorf("%s: changed while it was being judged; %s", r.path(name), restoreOrRerun)
	}
	return file, nil
}

// maxTextSize limits files that are read as a whole, in bytes.
const maxTextSize = plan.MaxPlanSize

// read reads a whole file of limited size.
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

// decode decodes JSON strictly: no unknown fields, nothing after the value.
func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the JSON value")
	}
	return nil
}
