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

// screen is standard output or standard error, which a terminal or a CI system may read. What is written to it orders
// neither; the orders that lbproof itself gives a terminal, and what only programs read, are written to below.
type screen struct {
	terminal bool

	mu     sync.Mutex
	inner  colourWriter
	quoted io.WriteCloser // to below
}

func newScreen(w io.Writer) *screen {
	f, file := w.(*os.File)
	s := &screen{terminal: file && term.IsTerminal(int(f.Fd())), inner: colourWriter{w: w}}
	s.quoted = plain.NewWriter(&s.inner)
	return s
}

// Write is io.Writer's.
func (s *screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quoted.Write(text)
}

// Close writes what is held back.
func (s *screen) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quoted.Close()
}

// restartLine lets the terminal's line begin again.
func (s *screen) restartLine() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = io.WriteString(s.inner.w, "\r\x1b[K") // as with all progress, a terminal that is gone stops no run
}

// screenOf is what a command writes to: Main has given it no other.
func screenOf(w io.Writer) *screen {
	if s, ok := w.(*screen); ok {
		return s
	}
	return newScreen(w)
}

// unquoted is what a command writes to, for what no human being reads.
func unquoted(w io.Writer) io.Writer { return screenOf(w).inner.w }

// withColours paints verdicts from now on where w is a terminal and NO_COLOR is not set.
func withColours(w io.Writer) io.Writer {
	s := screenOf(w)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inner.enabled = s.terminal && os.Getenv("NO_COLOR") == ""
	return s
}

// colourWriter writes text in which verdicts have colours, where it paints.
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
	"UNTESTABLE", "\x1b[2mUNTESTABLE\x1b[0m",
)

// Write is io.Writer's.
func (p *colourWriter) Write(text []byte) (int, error) {
	switch {
	case len(text) == 0:
		return 0, nil // all is held back; w may be closed, and nothing is missing
	case !p.enabled:
		return p.w.Write(text)
	}
	if _, err := io.Copy(p.w, bytes.NewReader([]byte(verdictColours.Replace(string(text))))); err != nil {
		return 0, err
	}
	return len(text), nil
}
