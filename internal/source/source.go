// Package source opens the files that the user named and those in allowed folders. It knows nothing of their content.
// It opens regular files and directories only: opening anything else could block or have side effects.
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

// Folders opens files by the path that the user gave, so that errors and claims use the same names. After symbolic
// links are resolved, every file is in one of its folders.
type Folders struct {
	owner    string // what is in the first folder, e.g. "configuration"
	userFile string // the user named it: it may be a link to anywhere
	folders  []folder
}

// folder is a folder that may be read.
type folder struct {
	path string // absolute, without symbolic links
	root *os.Root
}

// OpenFolders opens folders. of names what is in the first one, e.g. "configuration". The caller closes them.
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

// AllowFile allows a file that the user named, even if it is a link to another folder.
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

// ErrOutside is a file in none of the folders.
var ErrOutside = errors.New("allow it with --allow-path FOLDER")

// Open implements fs.FS, with paths of the host as names. A link that changes meanwhile leads nowhere outside.
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
		Err: fmt.Errorf("outside the %s's folder; %w", f.owner, ErrOutside),
	}
}

// ReadFile reads a file of the host of at most that many bytes.
func ReadFile(name string, maxBytes int64) ([]byte, error) { return Read(hostFS{}, name, maxBytes) }

// hostFS is the file system of the host.
type hostFS struct{}

func (hostFS) Open(name string) (fs.File, error) { return fileOrNil(OpenFile(name)) }

// fileOrNil returns a nil interface, not a nil *os.File, if there is an error.
func fileOrNil(f *os.File, err error) (fs.File, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// OpenFile opens a file or a directory of the host. Its errors are *fs.PathError.
func OpenFile(name string) (*os.File, error) {
	at, err := realPath(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return openAt(at, name)
}

// Read reads a file of at most that many bytes. Its errors are those of fsys, or *fs.PathError.
func Read(fsys fs.FS, name string, maxBytes int64) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
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
		return fail(err)
	case info.IsDir():
		return fail(errors.New("is a directory"))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	switch {
	case err != nil:
		return fail(err)
	case int64(len(text)) > maxBytes:
		return fail(&TooLargeError{MaxBytes: maxBytes})
	}
	return text, nil
}

// TooLargeError is a file that is too large to read.
type TooLargeError struct{ MaxBytes int64 }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("larger than %d MiB", e.MaxBytes>>20)
}

// realPath returns an absolute path without symbolic links.
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

// openRegular opens a regular file or a directory below root. Errors contain name.
func openRegular(root *os.Root, inside, name string) (*os.File, error) {
	fail := func(err error) (*os.File, error) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: unwrapPathError(err)}
	}
	info, err := root.Stat(inside)
	if err == nil {
		err = checkRegular(info.Mode())
	}
	if err != nil {
		return fail(err)
	}
	f, err := root.OpenFile(inside, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a pipe
	if err != nil {
		return fail(err)
	}
	if info, err = f.Stat(); err == nil {
		err = checkRegular(info.Mode())
	}
	if err != nil {
		f.Close()
		return fail(err)
	}
	return f, nil
}

// checkRegular returns an error if a file is neither a regular file nor a directory.
func checkRegular(mode fs.FileMode) error {
	for _, kind := range []struct {
		bit  fs.FileMode
		name string
	}{{fs.ModeNamedPipe, "named pipe"}, {fs.ModeSocket, "socket"}, {fs.ModeDevice, "device"}} {
		if mode&kind.bit != 0 {
			return fmt.Errorf("is a %s; name a regular file", kind.name)
		}
	}
	if !mode.IsRegular() && !mode.IsDir() {
		return errors.New("is not a regular file; name a regular file")
	}
	return nil
}

// unwrapPathError strips the operation and path, which the caller adds again.
func unwrapPathError(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// MaxConfigBytes is the size limit of configuration files. Configurations with thousands of servers are smaller.
const MaxConfigBytes = 4 << 20
