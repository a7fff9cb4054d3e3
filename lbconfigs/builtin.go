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
var BuiltIn fs.FS = joined{}

// Names lists the configurations that come with lbproof.
func Names() []string {
	names, err := fs.Glob(BuiltIn, "*/*")
	if err != nil {
		panic(err) // the pattern is good
	}
	return names
}

// joined is a file system with a folder for each balancer, which holds its BuiltIn.
type joined struct{}

// Open is fs.FS's.
func (joined) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return &folders{}, nil
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
			return named{file.(fs.ReadDirFile), balancer}, nil
		}
		return file, err
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// named is a folder under another name.
type named struct {
	fs.ReadDirFile
	name string
}

// Stat is fs.File's.
func (n named) Stat() (fs.FileInfo, error) { return folder(n.name), nil }

// folders is the opened root: a folder for each balancer.
type folders struct{ read int }

// Stat is fs.File's.
func (*folders) Stat() (fs.FileInfo, error) { return folder("."), nil }

// Read is fs.File's.
func (*folders) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: errors.New("is a directory")}
}

// Close is fs.File's.
func (*folders) Close() error { return nil }

// ReadDir is fs.ReadDirFile's.
func (f *folders) ReadDir(n int) ([]fs.DirEntry, error) {
	var all []fs.DirEntry
	for _, b := range All {
		all = append(all, fs.FileInfoToDirEntry(folder(b.Name)))
	}
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	rest := all[f.read:]
	if n > 0 && len(rest) == 0 {
		return nil, io.EOF
	}
	if n > 0 {
		rest = rest[:min(n, len(rest))]
	}
	f.read += len(rest)
	return rest, nil
}

// folder is what is known of a folder: its name.
type folder string

// Name is fs.FileInfo's, as are the others.
func (f folder) Name() string     { return string(f) }
func (folder) Size() int64        { return 0 }
func (folder) Mode() fs.FileMode  { return fs.ModeDir | 0o555 }
func (folder) ModTime() time.Time { return time.Time{} }
func (folder) IsDir() bool        { return true }
func (folder) Sys() any           { return nil }
