package reading

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/source"
)

// UnreadableFile returns the problem of a line that names an unreadable file.
func UnreadableFile(pos model.Pos, err error) model.Problem {
	return model.Problem{
		Pos: pos, Effect: model.Misleading, Text: fmt.Sprintf("the balancer runs without this file: %v", err),
		Instead: "put it next to the configuration, or allow its folder with --allow-path",
	}
}

// PathInContainer returns the container path of an included file, for a main file at another path.
func PathInContainer(at, main, file string) string {
	if path.IsAbs(file) && !path.IsAbs(main) {
		return file
	}
	return path.Join(path.Dir(at), strings.TrimPrefix(strings.TrimPrefix(file, path.Dir(main)), "/"))
}

// PathIn returns the absolute path of a name that a balancer looks up in one of its directories.
func PathIn(dir, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(dir, name)
}

// maxTotalBytes is the maximum size of all files of a configuration.
const maxTotalBytes = 32 << 20

// fileCache reads each file once, so that the parsed, judged and started configurations are the same.
type fileCache struct {
	fs.FS
	texts map[string][]byte
	size  int64
}

// SubFS returns an existing folder of embedded files.
func SubFS(files embed.FS, folder string) fs.FS {
	sub, err := fs.Sub(files, folder)
	if err != nil {
		panic(err) // the name is valid
	}
	return sub
}

// CacheFiles returns a file system that reads each file of fsys once.
func CacheFiles(fsys fs.FS) fs.FS { return &fileCache{FS: fsys, texts: map[string][]byte{}} }

// ReadFile implements fs.ReadFileFS.
func (k *fileCache) ReadFile(name string) ([]byte, error) {
	if text, ok := k.texts[name]; ok {
		return text, nil
	}
	text, err := source.Read(k.FS, name, source.MaxConfigBytes)
	if err != nil {
		return nil, err
	}
	if k.size += int64(len(text)); k.size > maxTotalBytes {
		return nil, &fs.PathError{
			Op: "read", Path: name,
			Err: fmt.Errorf("all files of the configuration together are larger than %d MiB", maxTotalBytes>>20),
		}
	}
	k.texts[name] = text
	return text, nil
}

// Glob is like fs.Glob, but reports unreadable folders, which fs.Glob takes for empty ones. A wildcard does not match a
// leading dot (glob(7)).
func Glob(fsys fs.FS, pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, `*?[\`) {
		_, err := fs.Stat(fsys, pattern)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", pattern, UnwrapPathError(err))
		}
		return []string{pattern}, nil
	}
	dir, last := path.Split(pattern)
	dirs, err := Glob(fsys, path.Clean(dir))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, dir := range dirs {
		if info, err := fs.Stat(fsys, dir); err == nil && !info.IsDir() {
			continue
		}
		entries, err := fs.ReadDir(fsys, dir)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, UnwrapPathError(err))
		}
		for _, e := range entries {
			hidden := strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(last, ".")
			ok, err := path.Match(last, e.Name())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", pattern, err)
			}
			if ok && !hidden {
				found = append(found, path.Join(dir, e.Name()))
			}
		}
	}
	return found, nil
}

// Stat implements fs.StatFS.
func (k *fileCache) Stat(name string) (fs.FileInfo, error) { return fs.Stat(k.FS, name) }

// IsDir reports whether a name is a directory of fsys.
func IsDir(fsys fs.FS, name string) bool {
	info, err := fs.Stat(fsys, path.Clean(name))
	return err == nil && info.IsDir()
}
