package lbconfigs

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// BuiltIn holds the configurations that come with lbproof, as <balancer>/<name>.
var BuiltIn fs.FS = builtInFS{}

// Names lists the configurations that come with lbproof.
func Names() []string {
	names, err := fs.Glob(BuiltIn, "*/*")
	if err != nil {
		panic(err) // the pattern is good
	}
	return names
}

// builtInFS is a file system with a folder for each balancer, which holds its BuiltIn.
type builtInFS struct{}

// Open is fs.FS's.
func (builtInFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return &rootDir{}, nil
	}
	balancer, rest, inside := strings.Cut(name, "/")
	if !inside {
		rest = "."
	}
	for _, b := range All {
		if b.Name != balancer {
			continue
		}
		file, err := b.BuiltIn.Open(rest)
		var at *fs.PathError
		if errors.As(err, &at) {
			at.Path = name // as it was asked for
		}
		if err == nil && !inside {
			return renamedDir{file.(fs.ReadDirFile), balancer}, nil
		}
		return file, err
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// renamedDir is a folder under another name.
type renamedDir struct {
	fs.ReadDirFile
	name string
}

// Stat is fs.File's.
func (n renamedDir) Stat() (fs.FileInfo, error) { return dirInfo(n.name), nil }

// rootDir is the opened root: a folder for each balancer.
type rootDir struct{ listed int }

// Stat is fs.File's.
func (*rootDir) Stat() (fs.FileInfo, error) { return dirInfo("."), nil }

// Read is fs.File's.
func (*rootDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: errors.New("is a directory")}
}

// Close is fs.File's.
func (*rootDir) Close() error { return nil }

// ReadDir is fs.ReadDirFile's.
func (f *rootDir) ReadDir(n int) ([]fs.DirEntry, error) {
	var all []fs.DirEntry
	for _, b := range All {
		all = append(all, fs.FileInfoToDirEntry(dirInfo(b.Name)))
	}
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	rest := all[f.listed:]
	if n > 0 && len(rest) == 0 {
		return nil, io.EOF
	}
	if n > 0 {
		rest = rest[:min(n, len(rest))]
	}
	f.listed += len(rest)
	return rest, nil
}

// dirInfo is what is known of a folder: its name.
type dirInfo string

// Name is fs.FileInfo's, as are the others.
func (f dirInfo) Name() string     { return string(f) }
func (dirInfo) Size() int64        { return 0 }
func (dirInfo) Mode() fs.FileMode  { return fs.ModeDir | 0o555 }
func (dirInfo) ModTime() time.Time { return time.Time{} }
func (dirInfo) IsDir() bool        { return true }
func (dirInfo) Sys() any           { return nil }
