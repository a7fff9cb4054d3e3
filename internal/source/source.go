// Package source opens what the user named, and what lies in the folders that it may be read from. It knows nothing of what is in the
// files. What it opens is a regular file or a directory: to open anything else could wait for ever, or do something.
package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Folders opens files by the path that the user gave, so that errors and claims name them the same way. What it opens lies, symbolic
// links followed, in one of its folders.
type Folders struct {
	owner    string // whose folder the first one is
	userFile string // what the user named, wherever a link of this name leads
	folders  []folder
}

// folder is one that may be read from.
type folder struct {
	path string // its path from the root, without symbolic links
	root *os.Root
}

// OpenFolders opens folders, the first of which belongs to what is called of: "configuration". Close them.
func OpenFolders(of string, folders ...string) (*Folders, error) {
	f := &Folders{owner: of}
	for _, name := range folders {
		at, err := realPath(name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read %s %s: %w", of, name, err), f.Close())
		}
		root, err := os.OpenRoot(at)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read %s %s: %w", of, name, unwrapPathError(err)), f.Close())
		}
		f.folders = append(f.folders, folder{at, root})
	}
	return f, nil
}

// AllowFile lets a name be opened wherever a link of this name leads, because the user gave it.
func (f *Folders) AllowFile(name string) *Folders {
	f.userFile = name
	return f
}

// Close closes the folders.
func (f *Folders) Close() error {
	var problems []error
	for _, one := range f.folders {
		problems = append(problems, one.root.Close())
	}
	return errors.Join(problems...)
}

// ErrOutside is a file that lies in none of the folders.
var ErrOutside = errors.New("--allow-path FOLDER lets lbproof read it")

// Open is fs.FS's; names are those of the host. A link that is changed while it is followed leads nowhere outside.
func (f *Folders) Open(name string) (fs.File, error) {
	at, err := realPath(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	for _, one := range f.folders {
		if inside, err := filepath.Rel(one.path, at); err == nil && filepath.IsLocal(inside) {
			return fileOrNil(openRegular(one.root, inside, name))
		}
	}
	if name == f.userFile {
		return fileOrNil(openAt(at, name))
	}
	return nil, &fs.PathError{
		Op: "open", Path: name,
		Err: fmt.Errorf("it lies outside the %s's folder; %w", f.owner, ErrOutside),
	}
}

// ReadFile reads a file of the host that has at most so many bytes.
func ReadFile(name string, most int64) ([]byte, error) { return Read(hostFS{}, name, most) }

// hostFS opens any file by its name.
type hostFS struct{}

func (hostFS) Open(name string) (fs.File, error) { return fileOrNil(OpenFile(name)) }

// fileOrNil is a file that is none where there is an error.
func fileOrNil(f *os.File, err error) (fs.File, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// OpenFile opens a file of the host, or a directory. Its errors are *fs.PathError.
func OpenFile(name string) (*os.File, error) {
	at, err := realPath(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return openAt(at, name)
}

// Read reads a file that has at most so many bytes. Its errors are fsys's, or *fs.PathError.
func Read(fsys fs.FS, name string, most int64) ([]byte, error) {
	wrong := func(err error) ([]byte, error) {
		return nil, &fs.PathError{Op: "read", Path: name, Err: unwrapPathError(err)}
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return wrong(err)
	case info.IsDir():
		return wrong(errors.New("it is a directory"))
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return wrong(err)
	case int64(len(text)) > most:
		return wrong(&TooLargeError{MaxBytes: most})
	}
	return text, nil
}

// TooLargeError is a file that has more bytes than are read.
type TooLargeError struct{ MaxBytes int64 }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the file has more than %d MiB", e.MaxBytes>>20)
}

// realPath is a path from the root, without symbolic links.
func realPath(name string) (string, error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "", unwrapPathError(err)
	}
	return filepath.Abs(real)
}

func openAt(at, name string) (*os.File, error) {
	root, err := os.OpenRoot(filepath.Dir(at))
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: unwrapPathError(err)}
	}
	defer root.Close()
	return openRegular(root, filepath.Base(at), name)
}

// openRegular opens a file beneath root, or a directory. name is what errors call it.
func openRegular(root *os.Root, inside, name string) (*os.File, error) {
	wrong := func(err error) (*os.File, error) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: unwrapPathError(err)}
	}
	info, err := root.Stat(inside)
	if err == nil {
		err = checkRegular(info.Mode())
	}
	if err != nil {
		return wrong(err)
	}
	f, err := root.OpenFile(inside, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may be a pipe by now
	if err != nil {
		return wrong(err)
	}
	if info, err = f.Stat(); err == nil {
		err = checkRegular(info.Mode())
	}
	if err != nil {
		f.Close()
		return wrong(err)
	}
	return f, nil
}

// checkRegular says what a file is that is no file to read.
func checkRegular(mode fs.FileMode) error {
	for _, kind := range []struct {
		bit  fs.FileMode
		name string
	}{{fs.ModeNamedPipe, "a named pipe"}, {fs.ModeSocket, "a socket"}, {fs.ModeDevice, "a device"}} {
		if mode&kind.bit != 0 {
			return fmt.Errorf("it is %s: name a regular file", kind.name)
		}
	}
	if !mode.IsRegular() && !mode.IsDir() {
		return errors.New("it is no regular file: name one")
	}
	return nil
}

// unwrapPathError is an error without the operation and path that its wrapper repeats.
func unwrapPathError(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// MaxConfigBytes is the size, in bytes, of the largest configuration file that is read. Configurations of thousands of servers are smaller.
const MaxConfigBytes = 4 << 20
