package stack

import (
	"io"
	"slices"
	"sync"
)

// Streams are the standard streams of a node that the harness talks to, without a port or a log file.
type Streams struct {
	In   io.WriteCloser
	Out  *io.PipeReader
	Log  LogBuffer // the node's standard error
	done chan struct{}
}

// LogBuffer is a buffer that can be read while it is written.
type LogBuffer struct {
	mu   sync.Mutex
	text []byte
}

// maxLogBytes bounds a LogBuffer; the rest is dropped.
const maxLogBytes = 1 << 20

func (l *LogBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p[:min(len(p), maxLogBytes-len(l.text))]...)
	return len(p), nil
}

// Bytes returns what was written so far.
func (l *LogBuffer) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.text)
}

// NewStreams returns streams that write to in. pump copies the node's output until it ends.
func NewStreams(in io.WriteCloser, pump func(stdout, stderr io.Writer) error) *Streams {
	r, w := io.Pipe()
	s := &Streams{In: in, Out: r, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		w.CloseWithError(pump(w, &s.Log))
	}()
	return s
}

// Close closes the streams; the node sees the end of its input.
func (s *Streams) Close() {
	s.In.Close()
	s.Out.Close()
	<-s.done
}
