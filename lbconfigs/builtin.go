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

// Names returns the names of the configurations that come with lbproof.
func Names() []string {
	names, err := fs.Glob(BuiltIn, "*/*")
	if err != nil {
		panic(err) // the pattern is valid
	}
	return names
}

// builtInFS is a file system with a folder per balancer, which holds its BuiltIn.
type builtInFS struct{}

// Open implements fs.FS.
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
			at.Path = name // as requested
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

// Stat implements fs.File.
func (n renamedDir) Stat() (fs.FileInfo, error) { return dirInfo(n.name), nil }

// rootDir is the open root: a folder per balancer.
type rootDir struct{ listed int }

// Stat implements fs.File.
func (*rootDir) Stat() (fs.FileInfo, error) { return dirInfo("."), nil }

// Read implements fs.File.
func (*rootDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: errors.New("is a directory")}
}

// Close implements fs.File.
func (*rootDir) Close() error { return nil }

// ReadDir implements fs.ReadDirFile.
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

// dirInfo is the fs.FileInfo of a folder: its name.
type dirInfo string

// Name and the others implement fs.FileInfo.
func (f dirInfo) Name() string     { return string(f) }
func (dirInfo) Size() int64        { return 0 }
func (dirInfo) Mode() fs.FileMode  { return fs.ModeDir | 0o555 }
func (dirInfo) ModTime() time.Time { return time.Time{} }
func (dirInfo) IsDir() bool        { return true }
func (dirInfo) Sys() any           { return nil }
