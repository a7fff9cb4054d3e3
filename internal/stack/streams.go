package stack

import (
	"io"
	"slices"
	"sync"
)

// Streams are the standard streams of a node that the harness talks to. Nothing of them goes through a port or a log
// file.
type Streams struct {
	In   io.WriteCloser
	Out  *io.PipeReader
	Log  LogBuffer // what the node wrote to its standard error
	done chan struct{}
}

// LogBuffer keeps text that is written while it is read.
type LogBuffer struct {
	mu   sync.Mutex
	text []byte
}

// maxLogBytes bounds what a node that talks without end makes the harness hold.
const maxLogBytes = 1 << 20

func (l *LogBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p[:min(len(p), maxLogBytes-len(l.text))]...)
	return len(p), nil
}

// Bytes is what was written so far.
func (l *LogBuffer) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.text)
}

// NewStreams are streams with a node's standard input. pump writes what the node writes, until that ends.
func NewStreams(in io.WriteCloser, pump func(stdout, stderr io.Writer) error) *Streams {
	r, w := io.Pipe()
	s := &Streams{In: in, Out: r, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		w.CloseWithError(pump(w, &s.Log))
	}()
	return s
}

// Close ends the streams, which the node sees as the end of its input.
func (s *Streams) Close() {
	s.In.Close()
	s.Out.Close()
	<-s.done
}
