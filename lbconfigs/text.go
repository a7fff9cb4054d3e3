package lbconfigs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/internal/source"
)

// Largest is the size, in bytes, of the largest file that is read; together is that of all files of a configuration. Configurations of
// thousands of servers are smaller.
const (
	Largest  = 4 << 20
	together = 32 << 20
)

// readText reads a configuration file and refuses what is no text, with the line.
func readText(fsys fs.FS, name string) ([]byte, error) {
	text, err := fs.ReadFile(fsys, name)
	var large *source.LargeError
	switch {
	case errors.As(err, &large):
		return nil, fmt.Errorf("%s:1: %w: this is no configuration", name, large)
	case err != nil:
		return nil, fmt.Errorf("read configuration %s: %w", name, cause(err))
	}
	return text, noText(name, text)
}

// kept holds what was read of a file, so that what is parsed, judged and run is the same.
type kept struct {
	fs.FS
	texts map[string][]byte
	size  int64
}

// ReadFile is fs.ReadFileFS's.
func (k *kept) ReadFile(name string) ([]byte, error) {
	if text, ok := k.texts[name]; ok {
		return text, nil
	}
	text, err := source.Read(k.FS, name, Largest)
	if err != nil {
		return nil, err
	}
	if k.size += int64(len(text)); k.size > together {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("with it the configuration's files have more than %d MiB together", together>>20)}
	}
	k.texts[name] = text
	return text, nil
}

// noText says, with file and line, why content is no text that a balancer could read.
func noText(name string, text []byte) error {
	at := func(offset int) lb.Pos { return lb.Pos{File: name, Line: 1 + bytes.Count(text[:offset], []byte("\n"))} }
	for mark, encoding := range map[string]string{"\xff\xfe": "UTF-16", "\xfe\xff": "UTF-16", "\xef\xbb\xbf": "UTF-8 with a byte order mark"} {
		if bytes.HasPrefix(text, []byte(mark)) {
			return fmt.Errorf("%s: the file is %s, which no balancer reads: save it as plain UTF-8", at(0), encoding)
		}
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return fmt.Errorf("%s: a NUL byte: this is no configuration, or a part of it was overwritten", at(i))
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return fmt.Errorf("%s: the byte %#x is no UTF-8: save the file as UTF-8", at(i), text[i])
		}
		i += size
	}
	return nil
}

// cause is an error without the operation and path that its wrapper repeats.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// isDir says whether a name is a directory of fsys.
func isDir(fsys fs.FS, name string) bool {
	info, err := fs.Stat(fsys, path.Clean(name))
	return err == nil && info.IsDir()
}

// literal is a text in which regexp.Expand finds no groups.
func literal(text string) string { return strings.ReplaceAll(text, "$", "$$") }
