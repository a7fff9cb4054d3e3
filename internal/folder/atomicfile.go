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

// Partial ends the name of a file while it is written beside its place.
const Partial = ".part"

// output is a file being written. It counts and digests what is written, in memory that does not depend on how much that is.
type output struct {
	file *os.File
	part string // its name beside its place; empty where it is written in place, and so is never renamed or removed
	name string // its place, which it takes when it is whole
	size int64
	sum  hash.Hash
}

// createTemp begins a file that takes its place when settle is called.
func createTemp(name string) (*output, error) {
	file, err := os.OpenFile(name+Partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &output{file: file, part: name + Partial, name: name, sum: sha256.New()}, nil
}

// createInPlace makes a file, which must not exist, that is to be read while it is written.
func createInPlace(name string) (*output, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &output{file: file, name: name, sum: sha256.New()}, nil
}

// Write is io.Writer's.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	o.sum.Write(p[:n])
	o.size += int64(n)
	return n, err
}

// commit brings the file to the disk and to its place.
func (o *output) commit() error {
	err := firstError(o.file.Sync(), o.file.Close())
	if err == nil && o.part != "" {
		err = os.Rename(o.part, o.name)
	}
	return err
}

// discard removes what was written beside its place.
func (o *output) discard() {
	_ = o.file.Close()
	if o.part != "" {
		_ = os.Remove(o.part)
	}
}

func (o *output) digest() string { return hex.EncodeToString(o.sum.Sum(nil)) }

// WriteFile writes a file beside its place and renames it when it is whole, so that no reader ever sees half of it.
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

// firstError is the first error: later ones are its consequences.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ErrFolder is a run folder that cannot be written.
var ErrFolder = errors.New("the run folder cannot be written")

// unwritable says what keeps the run folder from being written, and what to do.
func unwritable(err error) error {
	switch {
	case err == nil || errors.Is(err, ErrFolder):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w; somebody removed it during the run: name another place with --out", ErrFolder, err)
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("%w: %w; free some space, or name another place with --out", ErrFolder, err)
	}
	return fmt.Errorf("%w: %w; name another place with --out", ErrFolder, err)
}
