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

// Logs writes what a node printed.
func (r *Rig) Logs(ctx context.Context, name string, w io.Writer) error {
	return writeLog(ctx, r.find(name).Node, name, w)
}

func writeLog(ctx context.Context, n Node, name string, w io.Writer) error {
	if err := n.Logs(ctx, LogOptions{Stdout: w, Stderr: w}); err != nil {
		return fmt.Errorf("read the log of %s: %w", name, err)
	}
	return nil
}

// MarkedLines are the lines with history.LogMark of a file in a node. printed: the file is a link to Stdout. A file that
// is not there has none.
func (r *Rig) MarkedLines(ctx context.Context, name, file string) (lines []string, printed bool, err error) {
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

// StreamMarkedLines tells of the lines with history.LogMark that a node prints, each with its time and a space before it, which
// make it one of its kind: of those that the runtime still has or, to follow, of those to come until ctx is done.
func (r *Rig) StreamMarkedLines(ctx context.Context, name string, follow bool, tell func(line string)) error {
	n := r.find(name).Node
	in, out := io.Pipe()
	go func() { out.CloseWithError(n.Logs(ctx, LogOptions{Stdout: out, Timestamps: true, Follow: follow})) }()
	defer in.Close() // which ends the copy
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
