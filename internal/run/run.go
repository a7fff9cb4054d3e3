// Package run turns a plan into a history: it starts the stack, makes a worker in it send the traffic, records the
// results and cleans up. Besides the runtimes it is the only package that starts goroutines. The result is a run
// folder, see internal/folder.
package run

import (
	"context"
	"crypto/rand"
	"debug/elf"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lbproof/lbproof/internal/faults"
	"github.com/lbproof/lbproof/internal/folder"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// Progress reports the progress of a run.
type Progress interface {
	Step(what string) // a step begins
	// Phase reports traffic; it is called often. failed is 0 for the engine prober, whose error responses may be
	// expected.
	Phase(name string, hits, of, failed int)
}

// Runner runs plans.
type Runner struct {
	Runtime  stack.Runtime
	Progress Progress
	Out      string // parent of run folders
}

// Run executes a plan and returns its run folder. Once traffic has begun, the folder is complete even if Run also
// returns an error or ctx ends; its environment then says why the run was interrupted. Before that, and with ErrFolder,
// Run leaves no folder.
func (r Runner) Run(ctx context.Context, p plan.Plan) (dir string, err error) {
	if err := p.Validate(); err != nil {
		return "", fmt.Errorf("plan %q: %w", p.Name, err)
	}
	host, err := r.Runtime.Host(ctx)
	if err != nil {
		return "", err
	}
	if err := faults.ValidateHost(p.Events, host); err != nil {
		return "", fmt.Errorf("plan %q: %w", p.Name, err)
	}
	id := runID()
	name := fmt.Sprintf("%s-%s-%s", p.Name, time.Now().UTC().Format(folderTime), id)
	f, err := folder.Create(filepath.Join(r.Out, name), p)
	if err != nil {
		return "", err
	}
	s := &execution{
		Runner: r, plan: p, folder: f, phaseEnded: make(chan struct{}, 1), clock: newPhaseClock(),
		env: history.Environment{
			Started: time.Now().UTC(), Lbproof: Version(),
			Host: host.System, Runtime: host.Runtime + " " + host.Version, CPUs: host.CPUs,
		},
	}
	return s.result(s.run(ctx, id))
}

// result returns what Run returns. It removes a folder that cannot be judged.
func (s *execution) result(err error) (dir string, _ error) {
	switch {
	case errors.Is(err, folder.ErrFolder):
		_ = s.folder.Discard() // whatever prevents writing may prevent this too
		return "", err
	case !s.trafficStarted:
		return "", errors.Join(err, s.folder.Discard())
	}
	return s.folder.Dir, err
}

// folderTime is the layout of the time in a run folder's name, NAME-TIME-ID.
const folderTime = "20060102T150405"

var folderName = regexp.MustCompile(`-(\d{8}T\d{6})-[0-9a-f]{8}$`)

// ParseFolderTime returns when a run folder was created. ok is false if the name is not that of a run folder, or the
// folder contains no plan.
func ParseFolderTime(dir string) (at time.Time, ok bool) {
	m := folderName.FindStringSubmatch(dir)
	if m == nil {
		return at, false
	}
	if info, err := os.Lstat(filepath.Join(dir, folder.PlanFile)); err != nil || !info.Mode().IsRegular() {
		return at, false
	}
	at, err := time.Parse(folderTime, m[1])
	return at, err == nil
}

func runID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Version returns the version of this binary. A build without a version gets its build ID as well: "(devel)
// 3fJ1xqHn0dU5".
func Version() string { return version() }

var version = sync.OnceValue(func() string {
	name := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		name = info.Main.Version
	}
	if name == "(devel)" || strings.HasSuffix(name, "+dirty") {
		name = strings.TrimSpace(name + " " + buildID())
	}
	return name
})

// buildID returns the last part of the Go build ID, which is a digest of the binary, or "".
func buildID() string {
	program, err := os.Executable()
	if err != nil {
		return ""
	}
	f, err := elf.Open(program)
	if err != nil {
		return ""
	}
	defer f.Close()
	note := f.Section(".note.go.buildid")
	if note == nil {
		return ""
	}
	text, err := note.Data()
	if err != nil {
		return ""
	}
	id := strings.TrimRight(string(text), "\x00")
	id = id[strings.LastIndexByte(id, '/')+1:]
	return id[:min(12, len(id))]
}

// execution is a run in progress.
type execution struct {
	Runner
	plan           plan.Plan
	folder         *folder.Folder
	env            history.Environment
	stack          *stack.Rig
	authority      stack.Authority // of the run's certificates
	balancerSpec   plan.Spec       // with the files provisioned for it
	files          []model.File    // of the configuration, including the provisioned ones
	streams        *stack.Streams
	requests       *gob.Encoder
	events         *gob.Decoder
	origin         time.Time    // of the worker's clock, accurate to the latency of a message
	monotonic      atomic.Int64 // the same on the host's monotonic clock, in nanoseconds; 0 until known
	clock          *phaseClock
	barrier        *phaseBarrier
	trafficStarted bool          // the folder is worth keeping
	phaseEnded     chan struct{} // signals the end of a phase
	logLines       logCollector
}

func (s *execution) run(ctx context.Context, id string) (err error) {
	s.Progress.Step("starting the stack of run " + id)
	if s.stack, err = stack.Open(ctx, s.Runtime, s.setup(id)); err != nil {
		return interrupted(ctx, err)
	}
	defer func() {
		s.Progress.Step("cleaning up")
		if s.streams != nil {
			s.streams.Close()
		}
		err = errors.Join(err, s.stack.Close())
	}()
	if err := s.start(ctx); err != nil {
		return interrupted(ctx, err)
	}
	s.trafficStarted = true
	cut := s.measure(ctx)
	if errors.Is(cut, folder.ErrFolder) {
		return cut
	}
	if cut != nil {
		s.env.Interrupted, _, _ = strings.Cut(cut.Error(), "\n") // without the log that may follow
	}
	if errors.Is(cut, errInterrupted) {
		cut = nil // the user knows
	}
	finished := s.finish(context.WithoutCancel(ctx))
	if errors.Is(finished, folder.ErrFolder) {
		return finished // without a folder there is nothing to judge
	}
	return errors.Join(cut, finished)
}

// setup returns the stack that the plan needs. Nodes get agents if the plan injects faults, sends requests from inside,
// or has services on the loopback address.
func (s *execution) setup(id string) stack.Setup {
	setup := stack.Setup{
		Run: id, Specs: s.plan.Specs, ClientCount: s.plan.AddressCount(), Bounds: s.plan.Bounds,
		OnAttempts: s.recordAttempts, Agents: len(s.plan.Events) > 0,
	}
	for _, spec := range s.plan.Specs {
		if spec.Role == plan.Dependency {
			setup.LoopbackServices, setup.Agents = append(setup.LoopbackServices, spec), true
		}
	}
	for _, l := range s.plan.Phases {
		isLocal := func(r plan.Request) bool { return r.LocalEndpoint != "" }
		setup.Agents = setup.Agents || slices.ContainsFunc(l.Requests, isLocal)
	}
	return setup
}

var errInterrupted = errors.New("interrupted")

// interrupted prefers the user's interrupt to the errors that it causes.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w before any traffic", errInterrupted)
	}
	return err
}

// balancer returns the plan's balancer.
func (s *execution) balancer() plan.Spec {
	for _, spec := range s.plan.Specs {
		if spec.Role == plan.Balancer {
			return spec
		}
	}
	return plan.Spec{}
}

// peers returns the plan's other balancers.
func (s *execution) peers() []plan.Spec {
	return slices.DeleteFunc(slices.Clone(s.plan.Specs), func(spec plan.Spec) bool { return spec.Role != plan.Peer })
}

// start starts every node, runs the balancer's configuration test, and returns when everything is ready and verified.
func (s *execution) start(ctx context.Context) error {
	balancer, made, err := s.authority.ProvisionFiles(s.balancer(), s.plan.Config.Needs)
	if err != nil {
		return err
	}
	s.balancerSpec, s.files = balancer, append(slices.Clone(s.plan.Config.Files), made...)
	if err := s.startOthers(ctx, balancer); err != nil {
		return err
	}
	if err := s.startBalancers(ctx, balancer); err != nil {
		return err
	}
	if err := s.waitReady(ctx); err != nil {
		return err
	}
	return s.explainDown(ctx, s.verify(ctx)) // a balancer may accept connections before it fails
}

// startOthers starts the worker and the nodes that the balancer depends on, and runs the balancer's configuration test
// meanwhile.
func (s *execution) startOthers(ctx context.Context, balancer plan.Spec) error {
	files := s.files
	starting, ctx := errgroup.WithContext(ctx)
	var hosts []string
	for _, spec := range s.plan.Specs {
		if isBalancer(spec) || spec.NetworkOf != "" {
			continue
		}
		hosts = append(hosts, spec.Hosts()...)
		starting.Go(func() error { return s.startNode(ctx, spec) })
	}
	if len(balancer.ConfigTest) > 0 {
		starting.Go(func() error { return s.stack.TestConfig(ctx, balancer, files, hosts) })
	}
	starting.Go(func() error { return s.startWorker(ctx) })
	return starting.Wait()
}

// startNode starts a node with its files. A monitor's rules are tested first.
func (s *execution) startNode(ctx context.Context, spec plan.Spec) error {
	if spec.Role == plan.Monitor {
		if err := s.stack.TestConfig(ctx, spec, []model.File{{Name: s.plan.Queries[0].Pos.File}}, nil); err != nil {
			return err
		}
	}
	spec, made, err := s.authority.ProvisionFiles(spec, spec.Needs)
	if err != nil {
		return err
	}
	return s.stack.Start(ctx, spec, made)
}

// startBalancers starts the balancer, its peers, and their helpers; upstream names resolve by now.
func (s *execution) startBalancers(ctx context.Context, balancer plan.Spec) error {
	for _, one := range append([]plan.Spec{balancer}, s.peers()...) {
		one.Files, one.Needs = balancer.Files, balancer.Needs
		if err := s.stack.Start(ctx, one, s.files); err != nil {
			return err
		}
		if s.stack.ClientNetwork().IsValid() {
			if err := s.stack.RouteClients(ctx, one.Name, plan.WorkerName); err != nil {
				return s.explainDown(ctx, err)
			}
		}
	}
	for _, spec := range s.plan.Specs {
		if spec.NetworkOf == "" {
			continue
		}
		if err := s.stack.Start(ctx, spec, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *execution) startWorker(ctx context.Context) (err error) {
	s.streams, err = s.stack.StartAttached(ctx,
		plan.Spec{Name: plan.WorkerName, Role: plan.Worker, Command: []string{"/lbproof", "worker"}})
	if err != nil {
		return err
	}
	s.requests, s.events = gob.NewEncoder(s.streams.In), gob.NewDecoder(s.streams.Out)
	return nil
}

// sendPhases tells the worker what to send, where, and what to wait for.
func (s *execution) sendPhases() error {
	trust, err := s.authority.PEM()
	if err != nil {
		return err
	}
	o := workerRequest{
		Key: s.stack.Key, Phases: s.plan.Phases, Barriers: barrierPhases(s.plan), DefaultHost: s.plan.Config.Balancer,
		Balancer: s.balancer().Host(), Ports: s.balancer().Ports, Settle: s.balancer().SettleTime,
		Clients: s.stack.ClientNetwork(), CA: trust,
	}
	for _, spec := range s.peers() {
		o.Peers = append(o.Peers, spec.Host())
	}
	for _, spec := range s.plan.Specs {
		if spec.Role == plan.Backend && !spec.Helper {
			control := fmt.Sprintf("http://%s:%d", spec.Host(), spec.ControlPort)
			o.Ledgers = append(o.Ledgers, ledgerAddr{Server: spec.Name, URL: control})
		}
		if spec.Role == plan.Monitor && spec.NetworkOf == "" {
			o.Monitor, o.Queries = fmt.Sprintf("%s:%d", spec.Host(), spec.Ports[0]), s.plan.Queries
			o.WaitFor = append(o.WaitFor, o.Monitor)
		}
		if spec.Role == plan.Dependency {
			o.WaitFor = append(o.WaitFor, fmt.Sprintf("%s:%d", spec.Host(), spec.Ports[0]))
		}
	}
	if err := s.requests.Encode(o); err != nil {
		return fmt.Errorf("send the phases to the worker: %w", err)
	}
	return nil
}

// waitReady returns when the worker has reached everything, or why the balancer is down.
func (s *execution) waitReady(ctx context.Context) error {
	if err := s.sendPhases(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := s.stack.Watch(ctx); err != nil {
			cancel(err)
			s.streams.Out.CloseWithError(err)
		}
	})
	defer watching.Wait()
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { s.streams.Out.CloseWithError(context.Cause(ctx)) })()
	var r workerEvent
	err := s.events.Decode(&r)
	switch cause := context.Cause(ctx); {
	case cause != nil: // nothing more can be read because of it
		return s.explainFailure(context.WithoutCancel(ctx), cause)
	case err != nil:
		return fmt.Errorf("wait for the stack: %w", err)
	case r.Ready:
		s.origin = time.Now().Add(-r.At)
		s.monotonic.Store(int64(r.Origin))
		s.env.Origin = s.origin.UTC()
		return nil
	}
	if err := s.stack.CheckAllRunning(ctx); err != nil {
		return s.explainFailure(ctx, err)
	}
	if r.NotListening {
		return &DownError{s.plan.Config.Balancer, errors.New(r.Err)}
	}
	return errors.New(r.Err)
}

// explainFailure attributes an error to the balancer if it is down.
func (s *execution) explainFailure(ctx context.Context, err error) error {
	if down := s.explainDown(ctx, err); down != err {
		return down
	}
	return fmt.Errorf("wait for the stack: %w", err)
}

// explainDown turns an error into a DownError if the balancer is down.
func (s *execution) explainDown(ctx context.Context, err error) error {
	if err != nil && s.stack.CheckRunning(ctx, s.balancer().Name) != nil {
		return &DownError{s.plan.Config.Balancer, err}
	}
	return err
}

// DownError is a balancer that accepts its configuration but then exits or does not listen.
type DownError struct {
	Balancer string
	Err      error // how it ended
}

func (e *DownError) Error() string {
	return fmt.Sprintf("%s accepts the configuration but does not start with it: %v", e.Balancer, e.Err)
}

func (e *DownError) Unwrap() error { return e.Err }

// verify checks that the stack is what the plan describes, and records it.
func (s *execution) verify(ctx context.Context) (err error) {
	spec := s.balancerSpec
	if s.env.ConfigSHA, err = s.stack.VerifyConfig(ctx, spec, s.files); err != nil {
		return err
	}
	expected := s.plan.Config.Workers.Count
	if s.plan.Config.Workers.Auto {
		expected = s.env.CPUs
	}
	if s.env.Workers, err = s.stack.CountWorkers(ctx, spec, expected); err != nil {
		return err
	}
	output, err := s.stack.Exec(ctx, spec.Name, spec.VersionCommand)
	if err != nil {
		return err
	}
	s.env.Balancer = stack.VersionLine(output)
	if s.env.StartupMessages, err = s.stack.StartupMessages(ctx, spec, s.plan.Config.Dialect.Log); err != nil {
		return err
	}
	if clients := s.stack.ClientNetwork(); clients.IsValid() {
		s.env.ClientNetwork = clients.String()
	}
	s.env.ClientAddr, err = s.stack.Address(ctx, plan.WorkerName)
	return err
}

// measure makes the worker send and records its events until it is done. The error is why it ended early.
func (s *execution) measure(ctx context.Context) error {
	s.env.LedgerGaps = []string{"not read to the end"} // until the worker reports otherwise
	if err := s.requests.Encode(workerRequest{Go: true}); err != nil {
		return fmt.Errorf("start the worker's traffic: %w", err)
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	var around sync.WaitGroup
	defer around.Wait()
	defer stop()
	// if the worker has exited, receive returns the error
	s.barrier = newPhaseBarrier(barrierPhases(s.plan), func() { _ = s.requests.Encode(workerRequest{Go: true}) })
	exited := make(chan error, 1)
	around.Go(func() {
		if err := s.stack.Watch(watch); err != nil {
			exited <- err
			s.stopWorker(watch)
		}
	})
	defer context.AfterFunc(ctx, func() { s.stopWorker(watch) })()
	var injecting sync.WaitGroup
	events, stopFaults := context.WithCancel(ctx) // an interrupt heals at once
	defer stopFaults()
	injecting.Go(func() { s.env.Faults = s.injectAll(events) })
	sampled := make(chan error, 1)
	around.Go(func() { sampled <- s.sample(watch) })
	around.Go(func() { s.followLogs(watch) })
	kept := s.receive()
	stopFaults()
	stop()
	injecting.Wait()
	if err := <-sampled; kept == nil {
		kept = err
	}
	return s.cutShort(ctx, kept, exited)
}

// cutShort returns why sending ended early. kept is the error of recording events; exited receives the error of a node
// that exited.
func (s *execution) cutShort(ctx context.Context, kept error, exited <-chan error) error {
	select {
	case err := <-exited:
		return err // which also explains kept
	default:
	}
	if err := s.stack.CheckAllRunning(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if kept == nil && ctx.Err() == nil && len(s.plan.Events) > 0 {
		if err := s.verifyRestored(ctx); err != nil {
			return err
		}
	}
	if ctx.Err() != nil && (kept == nil || errors.Is(kept, errStopTimeout)) {
		return errInterrupted
	}
	return kept
}

// verifyRestored returns an error if a fault was not in force as planned, or the balancer no longer runs the
// configuration.
func (s *execution) verifyRestored(ctx context.Context) error {
	if err := faultErrors(s.env.Faults); err != nil {
		return err
	}
	if _, err := s.stack.VerifyConfig(ctx, s.balancer(), s.plan.Config.Files); err != nil {
		return fmt.Errorf("after the faults: %w", err)
	}
	return nil
}

var errStopTimeout = errors.New("the worker did not stop within 5 s")

// stopWorker asks the worker to stop, and disconnects it after a timeout.
func (s *execution) stopWorker(ctx context.Context) {
	_ = s.requests.Encode(workerRequest{Stop: true})
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Second):
		s.streams.Out.CloseWithError(errStopTimeout)
	}
}

// sampleInterval is how often resource use is sampled, besides the start and end of each phase.
const sampleInterval = time.Second

// sample records the resource use of all containers until ctx ends.
func (s *execution) sample(ctx context.Context) error {
	tick := time.NewTicker(sampleInterval)
	defer tick.Stop()
	for {
		samples := s.stack.Sample(context.WithoutCancel(ctx))
		at := time.Since(s.origin) // the engine responds when it has measured, about once a second
		for _, one := range samples {
			one.At = at
			if err := s.folder.Sample(one); err != nil {
				return err
			}
		}
		if ctx.Err() != nil { // that was the last sample
			return nil
		}
		select {
		case <-ctx.Done():
		case <-s.phaseEnded:
		case <-tick.C:
		}
	}
}

// receive records the worker's events until it is done.
func (s *execution) receive() error {
	t := eventCounter{execution: s}
	for {
		var r workerEvent
		if err := s.events.Decode(&r); err != nil {
			return fmt.Errorf("read worker events: %w", err)
		}
		if err := t.add(r); err != nil {
			return err
		}
		if r.Done {
			s.env.LedgerGaps, s.env.RuleResults = r.LedgerGaps, r.RuleResults
			return nil
		}
	}
}

// eventCounter records events and counts hits for the progress.
type eventCounter struct {
	*execution
	phase, hits, failed int
}

func (t *eventCounter) add(r workerEvent) error {
	if err := r.Hits.each(t.hit); err != nil {
		return err
	}
	for _, a := range r.Arrivals {
		if err := t.folder.Arrival(a); err != nil {
			return err
		}
	}
	if r.PhaseStarted {
		t.clock.start()
	}
	if r.Phase != nil {
		t.barrier.phaseSent(len(t.env.Phases))
		t.env.Phases = append(t.env.Phases, *r.Phase)
		select {
		case t.phaseEnded <- struct{}{}:
		default: // a sample is already being taken
		}
	}
	if len(r.Hits) > 0 {
		l := t.plan.Phases[t.phase]
		t.Progress.Phase(l.Name, t.hits, l.Count, t.failed)
	}
	return nil
}

func (t *eventCounter) hit(h history.Hit) error {
	if h.Phase != t.phase {
		t.phase, t.hits, t.failed = h.Phase, 0, 0
	}
	t.hits++
	if h.Failed() && t.plan.Phases[h.Phase].Engine != plan.Prober {
		t.failed++
	}
	return t.folder.Hit(h)
}

// finish records the state and logs of the containers and completes the folder.
func (s *execution) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	nodes, err := s.stack.NodeRecords(ctx)
	s.env.Nodes = nodes
	problems := []error{err}
	for _, spec := range s.plan.Specs {
		write := func(w io.Writer) error { return s.stack.Logs(ctx, spec.Name, w) }
		problems = append(problems, s.keepLog(spec.Name, write))
	}
	problems = append(problems, s.keepLog(plan.WorkerName, func(w io.Writer) error {
		_, err := w.Write(s.streams.Log.Bytes())
		return err
	}))
	log := s.folder.LogFile(s.balancer().Name)
	s.env.LogEntries, err = stack.SummarizeLog(log, s.plan.Config.Dialect.Log, s.env.StartupMessages)
	problems = append(problems, err, s.readLogs(ctx))
	for _, problem := range problems {
		if errors.Is(problem, folder.ErrFolder) {
			return problem
		}
	}
	if err := s.folder.Finish(s.env); err != nil {
		return err
	}
	return errors.Join(problems...)
}

func (s *execution) keepLog(node string, write func(io.Writer) error) error {
	w, err := s.folder.Log(node)
	if err != nil {
		return err
	}
	written := write(w)
	if err := w.Close(); errors.Is(err, folder.ErrFolder) {
		return err // rather than its consequences
	}
	return written
}
