package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/plain"
)

// progress tells on standard error how a run gets on: one line that changes on a terminal, plain lines elsewhere.
type progress struct {
	w     *screen
	began time.Time

	mu    sync.Mutex
	open  bool // the terminal's line is not ended yet
	phase string
	last  time.Time
}

func newProgress(w io.Writer) *progress {
	return &progress{w: screenOf(w), began: time.Now()}
}

// Step tells of something that begins.
func (p *progress) Step(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLine()
	p.phase = ""
	fmt.Fprintf(p.w, "%5.1fs  %s\n", time.Since(p.began).Seconds(), plain.Text(what))
}

// Phase tells how far a phase of traffic is: ten times a second on a terminal, else when it begins and ends.
func (p *progress) Phase(name string, hits, of, errs int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ended := hits == of
	early := !p.w.terminal || time.Since(p.last) < 100*time.Millisecond
	if p.phase == name && !ended && early {
		return
	}
	if p.phase != name {
		p.endLine()
	}
	p.phase, p.last = name, time.Now()
	line := fmt.Sprintf("%5.1fs  %s: %d of %d requests, %d failed",
		time.Since(p.began).Seconds(), plain.Text(name), hits, of, errs)
	if !p.w.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	p.w.again()
	fmt.Fprint(p.w, line)
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
