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

// logCollector collects marked log lines by node. A runtime keeps only the most recent output, so lines are followed
// from the start; timestamps make them unique.
type logCollector struct {
	mu    sync.Mutex
	lines map[string]map[string]bool
}

func (p *logCollector) collect(node string) func(line string) {
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

// logFiles returns the access-log files of the configuration.
func (s *execution) logFiles() []string {
	var files []string
	for _, r := range s.plan.Config.Routes {
		for _, l := range r.Logs {
			files = append(files, l.File)
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// followLogs collects marked lines from the balancers' output until ctx ends.
func (s *execution) followLogs(ctx context.Context) {
	var following sync.WaitGroup
	defer following.Wait()
	if len(s.logFiles()) == 0 {
		return
	}
	for _, spec := range s.balancers() {
		// readLogs may still find what is missed here
		following.Go(func() { _ = s.stack.StreamMarkedLines(ctx, spec.Name, true, s.logLines.collect(spec.Name)) })
	}
}

// readLogs adds the marked lines of all access logs to the environment.
func (s *execution) readLogs(ctx context.Context) error {
	if len(s.logFiles()) == 0 {
		return nil
	}
	for _, spec := range s.balancers() {
		if err := s.stack.StreamMarkedLines(ctx, spec.Name, false, s.logLines.collect(spec.Name)); err != nil {
			return err
		}
		stdout := stack.Stdout // or the file that links to it
		for _, file := range s.logFiles() {
			if file == "" || file == stack.Stdout {
				continue
			}
			lines, isPrinted, err := s.stack.MarkedLines(ctx, spec.Name, file)
			if err != nil {
				return err
			}
			if isPrinted {
				stdout = file
			}
			for _, line := range lines {
				s.env.AccessLog = append(s.env.AccessLog, history.AccessLogLine{File: file, Text: line})
			}
		}
		for _, line := range slices.Sorted(maps.Keys(s.logLines.lines[spec.Name])) {
			_, text, _ := strings.Cut(line, " ")
			s.env.AccessLog = append(s.env.AccessLog, history.AccessLogLine{File: stdout, Text: text})
		}
	}
	return nil
}

// balancers returns all balancers of the plan.
func (s *execution) balancers() []plan.Spec {
	return slices.DeleteFunc(slices.Clone(s.plan.Specs), func(spec plan.Spec) bool { return !isBalancer(spec) })
}

func isBalancer(spec plan.Spec) bool { return spec.Role == plan.Balancer || spec.Role == plan.Peer }
