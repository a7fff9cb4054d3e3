package stack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
)

// Logs writes a node's output to w.
func (r *Rig) Logs(ctx context.Context, name string, w io.Writer) error {
	return writeLog(ctx, r.find(name).Node, name, w)
}

func writeLog(ctx context.Context, n Node, name string, w io.Writer) error {
	if err := n.Logs(ctx, LogOptions{Stdout: w, Stderr: w}); err != nil {
		return fmt.Errorf("read the log of %s: %w", name, err)
	}
	return nil
}

// MarkedLines returns the lines with history.LogMark of a file in a node; none if the file does not exist. toStdout
// reports that the file is a link to Stdout.
func (r *Rig) MarkedLines(ctx context.Context, name, file string) (lines []string, toStdout bool, err error) {
	log, err := r.find(name).Node.Read(ctx, file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case errors.Is(err, ErrLinksToStdout):
		return nil, true, nil
	case err != nil:
		return nil, false, fmt.Errorf("read %s of %s: %w", file, name, err)
	}
	defer log.Close()
	err = scanMarked(log, func(line string) { lines = append(lines, line) })
	return lines, false, err
}

// StreamMarkedLines calls tell with each line of a node's output that has history.LogMark, prefixed with its timestamp,
// which makes equal lines distinct. It reads the kept output or, with follow, new output until ctx is done.
func (r *Rig) StreamMarkedLines(ctx context.Context, name string, follow bool, tell func(line string)) error {
	n := r.find(name).Node
	in, out := io.Pipe()
	go func() { out.CloseWithError(n.Logs(ctx, LogOptions{Stdout: out, Timestamps: true, Follow: follow})) }()
	defer in.Close() // ends the copy
	if err := scanMarked(in, tell); ctx.Err() == nil && err != nil {
		return fmt.Errorf("read the log of %s: %w", name, err)
	}
	return nil
}

func scanMarked(r io.Reader, tell func(line string)) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if strings.Contains(line, history.LogMark) {
			tell(strings.TrimSuffix(line, "\n"))
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
