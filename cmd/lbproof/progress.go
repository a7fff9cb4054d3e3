package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
)

// progress prints the progress of a run on standard error: one changing line on a terminal, plain lines elsewhere.
type progress struct {
	w      *screen
	began  time.Time
	phases []plan.Phase // of the run, in order; without them the remaining time is not printed

	mu      sync.Mutex
	open    bool // the terminal's line has no line end yet
	phase   string
	current int // index of the phase in phases
	last    time.Time
}

func newProgress(w io.Writer) *progress {
	return &progress{w: screenOf(w), began: time.Now(), current: -1}
}

// Step prints the beginning of a step.
func (p *progress) Step(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLine()
	p.phase = ""
	fmt.Fprintf(p.w, "%5.1fs  %s\n", time.Since(p.began).Seconds(), plain.Text(what))
}

// Phase prints the progress of a phase: ten times a second on a terminal, else when it begins and ends.
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
		p.advance(name)
	}
	p.phase, p.last = name, time.Now()
	line := fmt.Sprintf("%5.1fs  %s: %s of %s requests",
		time.Since(p.began).Seconds(), plain.Text(name), units.Number(hits), units.Number(of))
	if errs > 0 {
		line += fmt.Sprintf(", %s failed", units.Number(errs))
	}
	if left := p.remaining(hits, of); left >= time.Second {
		line += fmt.Sprintf(", about %s left", left.Round(time.Second))
	}
	if !p.w.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	p.w.restartLine()
	fmt.Fprint(p.w, line)
	p.open = true
}

// advance moves on to the next phase with a name.
func (p *progress) advance(name string) {
	for i := p.current + 1; i < len(p.phases); i++ {
		if p.phases[i].Name == name {
			p.current = i
			return
		}
	}
}

// remaining estimates the duration of the rest of the current phase and the later phases; 0 if unknown.
func (p *progress) remaining(hits, of int) (left time.Duration) {
	if p.current < 0 || of == 0 {
		return 0
	}
	for i, phase := range p.phases[p.current:] {
		takes := phase.EstimatedDuration()
		if i == 0 {
			takes = time.Duration(float64(takes) * float64(of-hits) / float64(of))
		}
		left += takes
	}
	return left
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
