package folder

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Partial is the suffix of a file while it is being written.
const Partial = ".part"

// output is a file being written, with its size and digest. Memory use does not depend on the size.
type output struct {
	file *os.File
	part string // temporary name; empty if written in place, which is then never renamed or removed
	name string // final name
	size int64
	sum  hash.Hash
}

// createTemp creates a file that gets its final name on commit.
func createTemp(name string) (*output, error) {
	file, err := os.OpenFile(name+Partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &output{file: file, part: name + Partial, name: name, sum: sha256.New()}, nil
}

// createInPlace creates a new file under its final name, so that it can be read while being written.
func createInPlace(name string) (*output, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &output{file: file, name: name, sum: sha256.New()}, nil
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	o.sum.Write(p[:n])
	o.size += int64(n)
	return n, err
}

// commit syncs the file and renames it to its final name.
func (o *output) commit() error {
	err := firstError(o.file.Sync(), o.file.Close())
	if err == nil && o.part != "" {
		err = os.Rename(o.part, o.name)
	}
	return err
}

// discard removes the temporary file.
func (o *output) discard() {
	_ = o.file.Close()
	if o.part != "" {
		_ = os.Remove(o.part)
	}
}

func (o *output) digest() string { return hex.EncodeToString(o.sum.Sum(nil)) }

// WriteFile writes a file atomically: readers see either nothing or the whole file.
func WriteFile(name string, write func(io.Writer) error) error {
	o, err := createTemp(name)
	if err != nil {
		return err
	}
	if err := write(o); err != nil {
		o.discard()
		return err
	}
	if err := o.commit(); err != nil {
		o.discard()
		return err
	}
	return nil
}

// firstError returns the first error; later ones are its consequences.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ErrFolder means that the run folder cannot be written. It is an environment error, not a usage error.
var ErrFolder = errors.New("cannot write the run folder")

// unwritable wraps an error of writing the run folder with a remedy.
func unwritable(err error) error {
	switch {
	case err == nil || errors.Is(err, ErrFolder):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w; it was removed during the run; choose another place with --out", ErrFolder, err)
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("%w: %w; free some space, or choose another place with --out", ErrFolder, err)
	}
	return fmt.Errorf("%w: %w; choose another place with --out", ErrFolder, err)
}
