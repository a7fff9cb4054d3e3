package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// The node image holds the lbproof binary. make build links it statically, so it needs nothing else. Plain go build and
// go install link it dynamically if cgo is enabled; then the image also holds its loader and shared libraries.

// libraryDir is the directory of a dynamic program's shared libraries in an image.
const libraryDir = "/lib/lbproof"

// dynamicEnv is the environment of a dynamic program. Go resolves names itself, as in a static program: glibc's
// resolver would load more libraries, which the image lacks.
var dynamicEnv = map[string]string{"LD_LIBRARY_PATH": libraryDir, "GODEBUG": "netdns=go"}

// loaderOf returns the ELF interpreter of a Linux program, which loads its shared libraries; "" if it is static.
func loaderOf(binary string) (string, error) {
	f, err := elf.Open(binary)
	if err != nil {
		return "", fmt.Errorf("%s: not a Linux program: %w", binary, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name, err := io.ReadAll(p.Open())
		if err != nil {
			return "", fmt.Errorf("read the interpreter of %s: %w", binary, err)
		}
		return string(bytes.TrimRight(name, "\x00")), nil
	}
	return "", nil
}

// librariesOf returns the paths of a program's shared libraries on this machine, by name. The loader itself lists them:
// it knows its cache, its default directories and the program's run paths.
func librariesOf(ctx context.Context, loader, binary string) (map[string]string, error) {
	list, err := newCommand(ctx, childEnv("LD_LIBRARY_PATH"), loader, "--list", binary).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("list the shared libraries of %s: %w: %s", binary, exitCause(ctx, err), outputTail(list))
	}
	return parseLibraries(binary, string(list))
}

// parseLibraries parses the loader's list: "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f6a5008a000)". Lines
// without an arrow are the kernel's vDSO and the loader itself.
func parseLibraries(binary, list string) (map[string]string, error) {
	libraries := map[string]string{}
	for line := range strings.Lines(list) {
		name, found, ok := strings.Cut(strings.TrimSpace(line), " => ")
		if !ok {
			continue
		}
		file, _, _ := strings.Cut(found, " (0x")
		if !path.IsAbs(file) {
			return nil, fmt.Errorf("%s: shared library %s is not on this machine; install it, or build lbproof with "+
				"CGO_ENABLED=0", binary, name)
		}
		libraries[path.Base(name)] = file
	}
	return libraries, nil
}

// addLibraries adds a dynamic program's loader and libraries to an image.
func addLibraries(l layer, loader string, libraries map[string]string) error {
	problems := []error{l.hostFile(loader, loader)}
	for name, file := range libraries {
		problems = append(problems, l.hostFile(path.Join(libraryDir, name), file))
	}
	return errors.Join(problems...)
}

// hostFile adds an executable file of this machine under another name.
func (l layer) hostFile(name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return l.add(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: info.Size()}, f)
}
