package lbconfigs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/source"
)

// Largest is the size, in bytes, of the largest configuration file that is read. Configurations of thousands of servers are smaller.
const Largest = 4 << 20

// together is the size, in bytes, of all files of a configuration.
const together = 32 << 20

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

// keep gives a file system that reads each file of fsys once.
func keep(fsys fs.FS) fs.FS { return &kept{FS: fsys, texts: map[string][]byte{}} }

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
	at := func(offset int) model.Pos {
		return model.Pos{File: name, Line: 1 + bytes.Count(text[:offset], []byte("\n"))}
	}
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

// glob is fs.Glob, but says why a folder cannot be looked at, where fs.Glob takes it for an empty one. A wildcard stands for no dot that a
// name begins with (glob(7)).
func glob(fsys fs.FS, pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, `*?[\`) {
		_, err := fs.Stat(fsys, pattern)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", pattern, cause(err))
		}
		return []string{pattern}, nil
	}
	dir, last := path.Split(pattern)
	dirs, err := glob(fsys, path.Clean(dir))
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
			return nil, fmt.Errorf("%s: %w", dir, cause(err))
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

// shallow reports a text whose brackets are nested deeper than any configuration's: its reader would follow them with a stack as deep. A
// quote begins, and a comment, after one of between.
func shallow(name string, text []byte, opening, closing, between string) error {
	depth, line, begins, quote := 0, 1, true, byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\n' {
			line++
		}
		switch {
		case c == '\\':
			i++
			if i < len(text) && text[i] == '\n' {
				line++
			}
			begins = false
			continue
		case quote == '#' && c != '\n', quote != 0 && quote != '#' && c != quote:
			continue
		case quote != 0:
			quote = 0
		case begins && strings.IndexByte(`"'#`, c) >= 0:
			quote = c
			continue
		case strings.IndexByte(opening, c) >= 0:
			depth++
		case strings.IndexByte(closing, c) >= 0:
			depth--
		}
		if depth > deepest {
			return fmt.Errorf("%s:%d: this is nested more than %d deep: it is no configuration", name, line, deepest)
		}
		begins = strings.IndexByte(between, c) >= 0
	}
	return nil
}

// Stat is fs.StatFS's.
func (k *kept) Stat(name string) (fs.FileInfo, error) { return fs.Stat(k.FS, name) }

// isDir says whether a name is a directory of fsys.
func isDir(fsys fs.FS, name string) bool {
	info, err := fs.Stat(fsys, path.Clean(name))
	return err == nil && info.IsDir()
}

// literal is a text in which regexp.Expand finds no groups.
func literal(text string) string { return strings.ReplaceAll(text, "$", "$$") }
