// Package agent is lbproof inside the network namespace of a node: it breaks the node's network, polls other nodes from
// there, and records connection attempts. It knows neither Docker nor the plan.
//
// An agent also owns the namespace: a node whose process is killed keeps its address, and its kernel refuses
// connections, as on a host whose service has crashed.
//
// An agent undoes a rule on request, when the rule expires, and when its input ends, so that cleanup depends on no
// other process.
package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/lbproof/lbproof/backends"
)

// Request is a command to an agent. One of Rule, Undo, Poll and Call is set.
type Request struct {
	ID   int
	Rule *Rule `json:",omitempty"`
	Undo int   `json:",omitempty"` // ID of the request whose rule to undo
	Poll *Poll `json:",omitempty"`
	Call *Call `json:",omitempty"`
}

// Call is a request to the node's own control port.
type Call struct {
	Port int
	Path string
	Body []byte
}

// Response is the result of a request; with ID 0, an event that the agent reports by itself.
type Response struct {
	ID       int
	At       time.Duration // on the host's monotonic clock
	Err      string        `json:",omitempty"`
	Observed *Observation  `json:",omitempty"`
	Body     []byte        `json:",omitempty"` // of a call's response
	Attempts []Attempt     `json:",omitempty"`
	Affected int           `json:",omitempty"` // packets that an undone rule matched
}

// Attempt is a connection attempt to the node.
type Attempt struct {
	At   time.Duration // on the host's monotonic clock
	From netip.AddrPort
	Port uint16
}

// Serve handles requests until in ends. It records connection attempts to ports, forwards the services in local from
// the node's loopback address, and requires key at the gateway and the node's control port.
func Serve(ctx context.Context, in io.Reader, out io.Writer, ports []int, local []LocalForward, key string) error {
	ctx, stop := context.WithCancel(ctx)
	a := &agent{
		key: key, out: json.NewEncoder(out),
		rules: map[int]*activeRule{}, relays: newRelays(ctx), resolver: &resolver{ctx: ctx},
	}
	defer func() {
		stop()
		a.working.Wait()
		a.undoAll()
	}()
	if len(ports) > 0 {
		recorded, err := a.recordAttempts(ctx, ports)
		if err != nil {
			return fmt.Errorf("record connection attempts: %w", err)
		}
		defer recorded()
	}
	a.working.Go(func() { _ = gateway(ctx, key) }) // if the port is taken, clients of the gateway notice
	for _, l := range local {
		a.working.Go(func() {
			if err := l.serve(ctx); err != nil {
				a.send(Response{Err: err.Error()})
			}
		})
	}
	requests := json.NewDecoder(in)
	a.send(Response{At: backends.Now()}) // ready
	for {
		var r Request
		if err := requests.Decode(&r); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read request: %w", err)
		}
		a.working.Go(func() { a.send(a.handle(ctx, r)) })
	}
}

type agent struct {
	key      string
	relays   *relays
	resolver *resolver
	working  sync.WaitGroup

	mu    sync.Mutex
	out   *json.Encoder
	rules map[int]*activeRule
}

// activeRule is a rule in force.
type activeRule struct {
	undo  func() (touched int, err error)
	timer *time.Timer
}

func (a *agent) send(w Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.out.Encode(w) // if lbproof is gone, the input ends too
}

func (a *agent) handle(ctx context.Context, o Request) Response {
	w := Response{ID: o.ID}
	var err error
	switch {
	case o.Rule != nil:
		err = a.apply(ctx, o.ID, *o.Rule)
	case o.Undo != 0:
		w.Affected, err = a.undo(o.Undo)
	case o.Poll != nil:
		w.Observed, err = o.Poll.run(ctx)
	case o.Call != nil:
		w.Body, err = o.Call.do(ctx, a.key)
	}
	w.At = backends.Now()
	if err != nil {
		w.Err = err.Error()
	}
	return w
}

// apply installs a rule until it expires.
func (a *agent) apply(ctx context.Context, id int, r Rule) error {
	undo, err := a.install(ctx, id, r)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	rule := &activeRule{undo: undo}
	if r.ExpiresAfter > 0 {
		rule.timer = time.AfterFunc(r.ExpiresAfter, func() { _, _ = a.undo(id) })
	}
	a.rules[id] = rule
	return nil
}

// undo removes a rule. It is no error if the rule has expired.
func (a *agent) undo(id int) (touched int, err error) {
	a.mu.Lock()
	rule := a.rules[id]
	delete(a.rules, id)
	a.mu.Unlock()
	if rule == nil {
		return 0, nil
	}
	if rule.timer != nil {
		rule.timer.Stop()
	}
	return rule.undo()
}

func (a *agent) undoAll() {
	a.mu.Lock()
	var all []int
	for id := range a.rules {
		all = append(all, id)
	}
	a.mu.Unlock()
	for _, id := range all {
		_, _ = a.undo(id)
	}
}

// callTimeout limits calls to the node.
const callTimeout = 5 * time.Second

func (c Call) do(ctx context.Context, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	url := fmt.Sprintf("http://127.0.0.1:%d%s", c.Port, c.Path)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(c.Body))
	if err != nil {
		return nil, fmt.Errorf("call the node: %w", err)
	}
	backends.Authorize(req, key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("call the node: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("call the node: %s: %s", resp.Status, body)
	}
	return body, err
}
