package load

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/sleep"
)

// socketEngine holds WebSocket connections open. Each of Concurrency connections sends a message every Think, carrying the
// hit's number, and waits for its echo, which names the backend. A connection that ends is opened again by its next message:
// Conn tells how often that was.
type socketEngine struct{}

// Message is what the engine sends, and a backend returns with its name in it.
type Message struct {
	ID     uint64 `json:"id"`
	Server string `json:"server,omitempty"`
}

// choir is a phase that the engine sends.
type choir struct {
	*Phase
	ctx     context.Context
	letters *letters
	dialled atomic.Int64
	flight  atomic.Int64

	mu    sync.Mutex
	table *timetable
	emit  func(history.Hit)
}

// Send is Engine's.
func (socketEngine) Send(ctx context.Context, p Phase, emit func(history.Hit)) {
	c := &choir{Phase: &p, ctx: ctx, letters: newLetters(&p), table: newTimetable(&p), emit: emit}
	var singing sync.WaitGroup
	for range min(p.Concurrency, p.Count) {
		singing.Go(c.voice)
	}
	singing.Wait()
}

// voice is the life of one connection, and of those that come after it.
func (c *choir) voice() {
	v := &voice{choir: c}
	for c.ctx.Err() == nil {
		i, more := c.next()
		if !more {
			break
		}
		h := v.hit(i)
		c.mu.Lock()
		c.emit(h)
		c.mu.Unlock()
		sleep.For(c.ctx, c.Think)
	}
	if v.conn != nil {
		_ = v.conn.Close(websocket.StatusNormalClosure, "") // all is said
	}
}

// next is the next message to send.
func (c *choir) next() (i int, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.table.more() {
		return 0, false
	}
	i, _ = c.table.take()
	return i, true
}

// voice holds one connection open.
type voice struct {
	*choir
	conn   *websocket.Conn
	number int
}

// hit sends message number i, over a new connection if there is none.
func (v *voice) hit(i int) history.Hit {
	h := v.Phase.hit(i, 0)
	h.Flight = int(v.flight.Add(1))
	defer v.flight.Add(-1)
	var err error
	if v.conn == nil {
		if v.conn, err = v.dial(&h); v.conn != nil {
			v.number = int(v.dialled.Add(1))
		}
	}
	h.Conn = v.number
	if err == nil {
		err = v.exchange(v.conn, &h)
	}
	if h.Done = v.now(); err == nil {
		return h
	}
	h.Err = v.failure(err)
	if v.conn != nil {
		v.conn.CloseNow()
	}
	v.conn = nil
	return h
}

func (c *choir) failure(err error) history.Err {
	var closed websocket.CloseError
	var status statusError
	switch {
	case c.ctx.Err() != nil:
		return history.Tester
	case errors.As(err, &status):
		return "" // it was answered, with another code than 101
	case errors.As(err, &closed):
		return history.Closed
	}
	return classify(err)
}

// statusError is an answer that is no upgrade.
type statusError int

func (s statusError) Error() string { return "answered " + strconv.Itoa(int(s)) }

// dial opens a connection with request number i's path and headers.
func (c *choir) dial(h *history.Hit) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.Timeout)
	defer cancel()
	want := c.letters.letter(h.Index)
	header := http.Header{}
	for name, value := range want.request.Header {
		header.Set(name, value)
	}
	if key := c.Key(h.Index); key != "" {
		header.Set(c.Keys.Header, key)
	}
	scheme := "ws://"
	if want.request.TLS {
		scheme = "wss://"
	}
	transport := &http.Transport{TLSClientConfig: c.secure(want.name)}
	port := strconv.Itoa(want.request.Port)
	began := c.now()
	conn, resp, err := websocket.Dial(ctx, scheme+net.JoinHostPort(c.at(), port)+want.request.Path, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header,
		Host: cmp.Or(header.Get("Host"), net.JoinHostPort(c.Host, port)),
	})
	h.Connect = c.now() - began
	if resp != nil {
		h.Code, h.Server = resp.StatusCode, resp.Header.Get(history.ServerHeader)
	}
	if err != nil {
		transport.CloseIdleConnections()
	}
	if err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, statusError(resp.StatusCode)
	}
	return conn, err
}

// exchange sends one message and waits for its echo.
func (c *choir) exchange(conn *websocket.Conn, h *history.Hit) error {
	ctx, cancel := context.WithTimeout(c.ctx, c.Timeout)
	defer cancel()
	text, err := json.Marshal(Message{ID: h.Seq})
	if err == nil {
		err = conn.Write(ctx, websocket.MessageText, text)
	}
	if err != nil {
		return err
	}
	_, back, err := conn.Read(ctx)
	if err != nil {
		return err
	}
	var m Message
	h.Code, h.Size, h.Sum = http.StatusSwitchingProtocols, int64(len(back)), history.Sum(back)
	if err := json.Unmarshal(back, &m); err != nil || m.ID != h.Seq {
		h.Err = history.Garbage
	}
	h.Server = strings.Clone(m.Server)
	return nil
}
