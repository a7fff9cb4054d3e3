package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress tells on standard error how a run gets on: one line that changes on a terminal, plain lines elsewhere.
type progress struct {
	w     io.Writer
	live  bool
	began time.Time

	mu    sync.Mutex
	open  bool // the terminal's line is not ended yet
	phase string
	last  time.Time
}

func newProgress(w io.Writer) *progress {
	return &progress{w: w, live: isTerminal(w), began: time.Now()}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Step tells of something that begins.
func (p *progress) Step(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLine()
	p.phase = ""
	fmt.Fprintf(p.w, "%5.1fs  %s\n", time.Since(p.began).Seconds(), what)
}

// Phase tells how far a phase of traffic is: ten times a second on a terminal, else when it begins and ends.
func (p *progress) Phase(name string, hits, of, errs int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ended := hits == of
	if p.phase == name && !ended && (!p.live || time.Since(p.last) < 100*time.Millisecond) {
		return
	}
	if p.phase != name {
		p.endLine()
	}
	p.phase, p.last = name, time.Now()
	line := fmt.Sprintf("%5.1fs  %s: %d of %d requests, %d failed", time.Since(p.began).Seconds(), name, hits, of, errs)
	if !p.live {
		fmt.Fprintln(p.w, line)
		return
	}
	fmt.Fprint(p.w, "\r\x1b[K"+line)
	p.open = true
}

func (p *progress) endLine() {
	if p.open {
		fmt.Fprintln(p.w)
		p.open = false
	}
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLine()
}

// coloured paints verdicts where w is a terminal and NO_COLOR is not set.
func coloured(w io.Writer) io.Writer {
	if !isTerminal(w) || os.Getenv("NO_COLOR") != "" {
		return w
	}
	return painter{w}
}

type painter struct{ w io.Writer }

var paint = strings.NewReplacer(
	"UPHELD", "\x1b[32mUPHELD\x1b[0m",
	"REFUTED", "\x1b[31mREFUTED\x1b[0m",
	"UNDECIDED", "\x1b[33mUNDECIDED\x1b[0m",
	"UNTESTABLE", "\x1b[2mUNTESTABLE\x1b[0m",
)

func (p painter) Write(text []byte) (int, error) {
	if _, err := io.Copy(p.w, bytes.NewReader([]byte(paint.Replace(string(text))))); err != nil {
		return 0, err
	}
	return len(text), nil
}
