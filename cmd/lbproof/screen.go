package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/lbproof/lbproof/internal/plain"
)

// screen is standard output or standard error, which a terminal or a CI system may read. Text written to it cannot
// command either; lbproof's own control sequences, and output for programs, are written to inner.
type screen struct {
	terminal bool

	mu     sync.Mutex
	inner  colourWriter
	quoted io.WriteCloser // writes to inner
}

func newScreen(w io.Writer) *screen {
	f, file := w.(*os.File)
	s := &screen{terminal: file && term.IsTerminal(int(f.Fd())), inner: colourWriter{w: w}}
	s.quoted = plain.NewWriter(&s.inner)
	return s
}

// Write implements io.Writer.
func (s *screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quoted.Write(text)
}

// Close flushes buffered text.
func (s *screen) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quoted.Close()
}

// restartLine moves to the beginning of the terminal's line and clears it.
func (s *screen) restartLine() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = io.WriteString(s.inner.w, "\r\x1b[K") // a closed terminal must not stop a run
}

// screenOf returns the screen behind a command's writer.
func screenOf(w io.Writer) *screen {
	if s, ok := w.(*screen); ok {
		return s
	}
	return newScreen(w)
}

// unquoted returns a command's writer for output that only programs read.
func unquoted(w io.Writer) io.Writer { return screenOf(w).inner.w }

// withColours colours verdicts if w is a terminal, unless NO_COLOR is set or TERM is dumb; FORCE_COLOR colours them
// everywhere.
func withColours(w io.Writer) io.Writer {
	s := screenOf(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	capable := s.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	s.inner.enabled = capable || os.Getenv("FORCE_COLOR") != ""
	return s
}

// colourWriter colours verdicts in the text written to it, if enabled.
type colourWriter struct {
	w       io.Writer
	enabled bool
}

var verdictColours = strings.NewReplacer(
	"UPHELD", "\x1b[32mUPHELD\x1b[0m",
	"REFUTED", "\x1b[31mREFUTED\x1b[0m",
	"REFUSED", "\x1b[31mREFUSED\x1b[0m",
	"CANNOT WORK", "\x1b[35mCANNOT WORK\x1b[0m",
	"UNDECIDED", "\x1b[33mUNDECIDED\x1b[0m",
	"SURVIVED", "\x1b[31mSURVIVED\x1b[0m",
	"UNTESTABLE", "\x1b[2mUNTESTABLE\x1b[0m",
)

// Write implements io.Writer.
func (p *colourWriter) Write(text []byte) (int, error) {
	switch {
	case len(text) == 0:
		return 0, nil // all text is buffered, and w may be closed already
	case !p.enabled:
		return p.w.Write(text)
	}
	if _, err := io.Copy(p.w, bytes.NewReader([]byte(verdictColours.Replace(string(text))))); err != nil {
		return 0, err
	}
	return len(text), nil
}
