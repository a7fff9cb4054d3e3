package docker

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"github.com/lbproof/lbproof/internal/history"
)

// Stdout is where the images of balancers have their logs of requests lead to.
const Stdout = "/dev/stdout"

// Written are the lines with history.LogMark of a file in a node. printed: the file is a link to Stdout. A file that is not there
// has none.
func (s *Stack) Written(ctx context.Context, node, file string) (lines []string, printed bool, err error) {
	id := s.node(node).container.GetContainerID()
	got, err := s.docker.client.CopyFromContainer(ctx, id, client.CopyFromContainerOptions{SourcePath: file})
	if errdefs.IsNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read %s of %s: %w", file, node, err)
	}
	defer got.Content.Close()
	if got.Stat.LinkTarget == Stdout {
		return nil, true, nil
	}
	archive := tar.NewReader(got.Content)
	if _, err := archive.Next(); err != nil {
		return nil, false, fmt.Errorf("read %s of %s: %w", file, node, err)
	}
	err = marked(archive, func(line string) { lines = append(lines, line) })
	return lines, false, err
}

// Printed tells of the lines with history.LogMark that a node prints, each with its time and a space before it, which make it one of
// its kind: of those that Docker still has or, to follow, of those to come until ctx is done.
func (s *Stack) Printed(ctx context.Context, node string, follow bool, tell func(line string)) error {
	what := client.ContainerLogsOptions{ShowStdout: true, Timestamps: true, Follow: follow}
	logs, err := s.docker.client.ContainerLogs(ctx, s.node(node).container.GetContainerID(), what)
	if err != nil {
		return fmt.Errorf("read the log of %s: %w", node, err)
	}
	defer logs.Close()
	in, out := io.Pipe()
	go func() {
		_, err := stdcopy.StdCopy(out, io.Discard, logs)
		out.CloseWithError(err)
	}()
	defer in.Close() // which ends the copy
	if err := marked(in, tell); ctx.Err() == nil && err != nil {
		return fmt.Errorf("read the log of %s: %w", node, err)
	}
	return nil
}

func marked(r io.Reader, tell func(line string)) error {
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
