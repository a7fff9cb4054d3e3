package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lbproof/lbproof/internal/folder"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/load"
	"github.com/lbproof/lbproof/internal/plan"
)

// sendWithEngine runs a closed loop with one of lbproof's engines and records it like a run.
func sendWithEngine(ctx context.Context, engine string, conns int, d time.Duration, body, where string) error {
	l := plan.Phase{
		Name: "bench", Engine: plan.Engine(engine), Count: 1 << 30,
		Concurrency: conns, Timeout: 20 * time.Second,
	}
	_, err := record(ctx, l, where, body, d)
	return err
}

// record sends a load for a time and writes every hit to disk. It returns the hits of an open loop.
func record(ctx context.Context, l plan.Phase, where, body string, d time.Duration) (hits []history.Hit, err error) {
	at, err := url.Parse(where)
	if err != nil {
		return nil, err
	}
	if l.Requests, err = requests(at, body); err != nil {
		return nil, err
	}
	if err := raiseFileLimit(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "lbproof-peers-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	f, err := folder.Create(filepath.Join(dir, "run"), plan.Plan{Schema: plan.PlanSchema, Phases: []plan.Phase{l}})
	if err != nil {
		return nil, err
	}
	var over atomic.Bool
	defer time.AfterFunc(d, func() { over.Store(true) }).Stop()
	n, failed := 0, 0
	p := load.Phase{Phase: l, FirstSeq: 1, DefaultHost: at.Hostname(), Origin: time.Now(), ShouldStop: over.Load}
	load.EngineFor(l).Send(ctx, p, func(h history.Hit) {
		n++
		if h.Failed() {
			failed++
		}
		if l.IsOpenLoop() {
			hits = append(hits, h)
		}
		err = errors.Join(err, f.Hit(h))
	})
	if failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d requests failed", failed, n))
	}
	return hits, errors.Join(err, f.Finish(history.Environment{}))
}

// requests returns the only request of the load.
func requests(at *url.URL, body string) ([]plan.Request, error) {
	port, err := strconv.Atoi(at.Port())
	if err != nil {
		return nil, err
	}
	r := plan.Request{Method: "GET", Port: port, Path: at.Path}
	if body != "" {
		text, err := os.ReadFile(body)
		if err != nil {
			return nil, err
		}
		r.Method, r.Body, r.Header = "POST", text, map[string]string{"Content-Type": "application/json"}
	}
	return []plan.Request{r}, nil
}

// raiseFileLimit raises the limit on open files to the maximum.
func raiseFileLimit() error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// The measured open loop.
const (
	openRate    = 5000 // requests per second
	openSeconds = 10
)

// openLoops measures lbproof's open loops on an idle and on a loaded machine: the send lag, the cost per request, and
// the latency if the server stops for a second.
func (s *server) openLoops(ctx context.Context, rounds int) error {
	var rows [][]string
	for _, loaded := range []bool{false, true} {
		for _, engine := range []plan.Engine{plan.Goroutines, plan.Epoll} {
			for _, precise := range []bool{false, true} {
				row, err := s.openLoop(ctx, rounds, engine, precise, loaded)
				if err != nil {
					return err
				}
				rows = append(rows, row)
			}
		}
	}
	fmt.Printf("\n### Open loop, %d requests/s for %d s\n\n", openRate, openSeconds)
	return table([]string{
		"engine", "machine", "lag p50 ms", "lag p99 ms (range)",
		"CPU µs per request", "p99 ms with a server stall of 1 s",
	}, rows)
}

func (s *server) openLoop(ctx context.Context, rounds int, engine plan.Engine, precise, loaded bool) ([]string, error) {
	if loaded {
		defer occupyCPUs(ctx)()
	}
	l := plan.Phase{
		Name: "open", Engine: engine, Count: openRate * openSeconds, Rate: openRate, Concurrency: 256,
		PreciseTiming: precise, Timeout: 20 * time.Second,
	}
	var lag50, lag99, cpu, stalled []float64
	for range rounds {
		before := cpuTime()
		hits, err := record(ctx, l, s.url+"/", "", time.Minute)
		if err != nil {
			return nil, err
		}
		cpu = append(cpu, float64((cpuTime()-before).Microseconds())/float64(len(hits)))
		lags := sorted(hits, func(h history.Hit) time.Duration { return h.Sent - h.Due })
		lag50, lag99 = append(lag50, lags[len(lags)/2]), append(lag99, lags[len(lags)*99/100])
		p99, err := s.measureStall(ctx, l)
		if err != nil {
			return nil, err
		}
		stalled = append(stalled, p99)
	}
	manner := map[bool]string{true: "precise", false: "default"}[precise]
	return []string{
		fmt.Sprintf("%s, %s", engine, manner), map[bool]string{true: "loaded", false: "idle"}[loaded],
		fmt.Sprintf("%.2f", medianOf(lag50)),
		fmt.Sprintf("%.2f (%.2f to %.2f)", medianOf(lag99), slices.Min(lag99), slices.Max(lag99)),
		fmt.Sprintf("%.0f", medianOf(cpu)), fmt.Sprintf("%.0f", medianOf(stalled)),
	}, nil
}

// occupyCPUs keeps every CPU busy until off is called.
func occupyCPUs(ctx context.Context) (off func()) {
	ctx, cancel := context.WithCancel(ctx)
	var busy []*exec.Cmd
	for range runtime.NumCPU() {
		c := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if c.Start() == nil {
			busy = append(busy, c)
		}
	}
	return func() {
		cancel()
		for _, c := range busy {
			_ = c.Wait() // killed by cancel
		}
	}
}

// measureStall sends while nginx is stopped for a second, and returns the 99th percentile of the latency, milliseconds.
func (s *server) measureStall(ctx context.Context, l plan.Phase) (float64, error) {
	timer := time.AfterFunc(3*time.Second, func() {
		_ = s.cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(time.Second)
		_ = s.cmd.Process.Signal(syscall.SIGCONT)
	})
	defer timer.Stop()
	hits, err := record(ctx, l, s.url+"/", "", time.Minute)
	if err != nil {
		return 0, err
	}
	late := sorted(hits, func(h history.Hit) time.Duration { return h.Done - h.Due })
	return late[len(late)*99/100], nil
}

func sorted(hits []history.Hit, of func(history.Hit) time.Duration) []float64 {
	var ms []float64
	for _, h := range hits {
		ms = append(ms, float64(of(h))/float64(time.Millisecond))
	}
	slices.Sort(ms)
	return ms
}

func medianOf(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
