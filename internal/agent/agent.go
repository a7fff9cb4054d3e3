// Package agent is lbproof inside the network namespace of a node: it breaks the node's network, looks at other nodes from
// there, and keeps a record of who tried to connect. It knows neither Docker nor the plan.
//
// An agent holds the namespace too: a node whose process is killed keeps its address, and its kernel refuses connections as
// a host does whose service has died.
//
// What an agent put in force it takes back when it is told to, when the rule's own time is over, and when its input ends:
// nobody has to be alive for that.
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

// Request is what an agent is told to do. One of Rule, Heal, Look and Call is set.
type Request struct {
	ID   int
	Rule *Rule `json:",omitempty"`
	Undo int   `json:",omitempty"` // the order whose rule is to go
	Poll *Poll `json:",omitempty"`
	Call *Call `json:",omitempty"`
}

// Call is a request to the node's own control port.
type Call struct {
	Port int
	Path string
	Body []byte
}

// Response says how an order went; with ID 0, what the agent saw by itself.
type Response struct {
	ID       int
	At       time.Duration // on the host's monotonic clock: when it was done
	Err      string        `json:",omitempty"`
	Observed *Observation  `json:",omitempty"`
	Body     []byte        `json:",omitempty"` // in answer to a call
	Attempts []Attempt     `json:",omitempty"`
	Affected int           `json:",omitempty"` // of a rule that is gone: packets that it touched
}

// Attempt is a connection that somebody tried to open to the node.
type Attempt struct {
	At   time.Duration // on the host's monotonic clock
	From netip.AddrPort
	Port uint16
}

// Serve carries out orders until in ends. ports are the node's own, attempts to connect to which are recorded; local are services
// that are to be found on its loopback address; key opens the gateway, and the node's control port.
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
			return fmt.Errorf("record attempts to connect: %w", err)
		}
		defer recorded()
	}
	a.working.Go(func() { _ = gateway(ctx, key) }) // where the port is taken, those who need the gateway see that
	for _, l := range local {
		a.working.Go(func() {
			if err := l.serve(ctx); err != nil {
				a.send(Response{Err: err.Error()})
			}
		})
	}
	orders := json.NewDecoder(in)
	a.send(Response{At: backends.Now()}) // ready
	for {
		var o Request
		if err := orders.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read an order: %w", err)
		}
		a.working.Go(func() { a.send(a.handle(ctx, o)) })
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

// activeRule is a rule that has taken effect.
type activeRule struct {
	undo  func() (touched int, err error)
	timer *time.Timer
}

func (a *agent) send(w Response) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.out.Encode(w) // a harness that has gone ends the input too
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

// apply puts a rule in force, for its time at most.
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

// undo takes a rule back. One that is gone already is no error.
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

// callTimeout is how long the node may take to answer a call.
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
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("call the node: %s: %s", resp.Status, said)
	}
	return said, err
}
