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

// socketEngine keeps WebSocket connections open. Each of Concurrency connections sends a message every Think with the
// hit's number and waits for its echo, which names the backend. A closed connection is reopened by its next message;
// Hit.Conn is the number of the connection.
type socketEngine struct{}

// EchoMessage is sent by the engine and returned by a backend with its name.
type EchoMessage struct {
	ID     uint64 `json:"id"`
	Server string `json:"server,omitempty"`
}

// wsClients is one phase being sent.
type wsClients struct {
	*Phase
	ctx       context.Context
	templates *requestTemplates
	dialCount atomic.Int64
	inFlight  atomic.Int64

	mu       sync.Mutex
	schedule *schedule
	emit     func(history.Hit)
}

// Send implements Engine.
func (socketEngine) Send(ctx context.Context, p Phase, emit func(history.Hit)) {
	c := &wsClients{Phase: &p, ctx: ctx, templates: newTemplates(&p), schedule: newSchedule(&p), emit: emit}
	var conns sync.WaitGroup
	for range min(p.Concurrency, p.Count) {
		conns.Go(c.runConn)
	}
	conns.Wait()
}

// runConn sends messages over one connection, reopening it as needed.
func (c *wsClients) runConn() {
	v := &wsConn{wsClients: c}
	for c.ctx.Err() == nil {
		i, more := c.nextMessage()
		if !more {
			break
		}
		h := v.sendMessage(i)
		c.mu.Lock()
		c.emit(h)
		c.mu.Unlock()
		sleep.For(c.ctx, c.ThinkTime)
	}
	if v.conn != nil {
		_ = v.conn.Close(websocket.StatusNormalClosure, "") // nothing more to send
	}
}

// nextMessage returns the number of the next message.
func (c *wsClients) nextMessage() (i int, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.schedule.hasMore() {
		return 0, false
	}
	i, _ = c.schedule.pop()
	return i, true
}

// wsConn keeps one connection open.
type wsConn struct {
	*wsClients
	conn   *websocket.Conn
	number int
}

// sendMessage sends message number i, over a new connection if there is none.
func (v *wsConn) sendMessage(i int) history.Hit {
	h := v.Phase.newHit(i, 0)
	h.InFlight = int(v.inFlight.Add(1))
	defer v.inFlight.Add(-1)
	var err error
	if v.conn == nil {
		if v.conn, err = v.dial(&h); v.conn != nil {
			v.number = int(v.dialCount.Add(1))
		}
	}
	h.Conn = v.number
	if err == nil {
		err = v.exchange(v.conn, &h)
	}
	if h.Done = v.now(); err == nil {
		return h
	}
	h.Err = v.errorKind(err)
	if v.conn != nil {
		v.conn.CloseNow()
	}
	v.conn = nil
	return h
}

func (c *wsClients) errorKind(err error) history.Err {
	var closed websocket.CloseError
	var status upgradeError
	switch {
	case c.ctx.Err() != nil:
		return history.Tester
	case errors.As(err, &status):
		return "" // answered, with a status other than 101
	case errors.As(err, &closed):
		return history.Closed
	}
	return classify(err)
}

// upgradeError is a response that refuses the upgrade.
type upgradeError int

func (s upgradeError) Error() string { return "response status " + strconv.Itoa(int(s)) }

// dial opens a connection with request number i's path and header.
func (c *wsClients) dial(h *history.Hit) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.Timeout)
	defer cancel()
	tmpl := c.templates.template(h.Index)
	header := http.Header{}
	for name, value := range tmpl.request.Header {
		header.Set(name, value)
	}
	if key := c.Key(h.Index); key != "" {
		header.Set(c.Keys.Header, key)
	}
	scheme := "ws://"
	if tmpl.request.TLS {
		scheme = "wss://"
	}
	transport := &http.Transport{TLSClientConfig: c.tlsConfigFor(tmpl.serverName)}
	port := strconv.Itoa(tmpl.request.Port)
	began := c.now()
	url := scheme + net.JoinHostPort(c.balancerAddr(), port) + tmpl.request.Path
	conn, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header,
		Host: cmp.Or(header.Get("Host"), net.JoinHostPort(c.DefaultHost, port)),
	})
	h.ConnectTime = c.now() - began
	if resp != nil {
		h.Code, h.Server = resp.StatusCode, resp.Header.Get(history.ServerHeader)
	}
	if err != nil {
		transport.CloseIdleConnections()
	}
	if err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, upgradeError(resp.StatusCode)
	}
	return conn, err
}

// exchange sends one message and waits for its echo.
func (c *wsClients) exchange(conn *websocket.Conn, h *history.Hit) error {
	ctx, cancel := context.WithTimeout(c.ctx, c.Timeout)
	defer cancel()
	text, err := json.Marshal(EchoMessage{ID: h.Seq})
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
	var m EchoMessage
	h.Code, h.Size, h.Checksum = http.StatusSwitchingProtocols, int64(len(back)), history.Checksum(back)
	if err := json.Unmarshal(back, &m); err != nil || m.ID != h.Seq {
		h.Err = history.Malformed
	}
	h.Server = strings.Clone(m.Server)
	return nil
}
