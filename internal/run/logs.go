package run

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// printed are the marked lines that balancers print, by node. A runtime keeps the last of what a node prints only, so
// that they are followed from the beginning; each line is known by its time.
type printed struct {
	mu    sync.Mutex
	lines map[string]map[string]bool
}

func (p *printed) tell(node string) func(line string) {
	return func(line string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.lines == nil {
			p.lines = map[string]map[string]bool{}
		}
		if p.lines[node] == nil {
			p.lines[node] = map[string]bool{}
		}
		p.lines[node][line] = true
	}
}

// logs are the files in which balancers have lines of requests.
func (s *execution) logs() []string {
	var files []string
	for _, r := range s.plan.Config.Routes {
		for _, l := range r.Logs {
			files = append(files, l.File)
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// followLogs keeps what balancers print of marked requests, until ctx is done.
func (s *execution) followLogs(ctx context.Context) {
	var following sync.WaitGroup
	defer following.Wait()
	if len(s.logs()) == 0 {
		return
	}
	for _, spec := range s.balancers() {
		// what is missing, readLogs may still find
		following.Go(func() { _ = s.stack.Printed(ctx, spec.Name, true, s.printed.tell(spec.Name)) })
	}
}

// readLogs keeps what the balancers' logs say of marked requests.
func (s *execution) readLogs(ctx context.Context) error {
	if len(s.logs()) == 0 {
		return nil
	}
	for _, spec := range s.balancers() {
		if err := s.stack.Printed(ctx, spec.Name, false, s.printed.tell(spec.Name)); err != nil {
			return err
		}
		stdout := stack.Stdout // or the file that is a link to it
		for _, file := range s.logs() {
			if file == "" || file == stack.Stdout {
				continue
			}
			lines, isPrinted, err := s.stack.Written(ctx, spec.Name, file)
			if err != nil {
				return err
			}
			if isPrinted {
				stdout = file
			}
			for _, line := range lines {
				s.env.Lines = append(s.env.Lines, history.Line{File: file, Text: line})
			}
		}
		for _, line := range slices.Sorted(maps.Keys(s.printed.lines[spec.Name])) {
			_, text, _ := strings.Cut(line, " ")
			s.env.Lines = append(s.env.Lines, history.Line{File: stdout, Text: text})
		}
	}
	return nil
}

// balancers are those of the plan, both of a pair.
func (s *execution) balancers() []plan.Spec {
	return slices.DeleteFunc(slices.Clone(s.plan.Specs), func(spec plan.Spec) bool { return !isBalancer(spec) })
}

func isBalancer(spec plan.Spec) bool { return spec.Role == plan.Balancer || spec.Role == plan.Peer }
