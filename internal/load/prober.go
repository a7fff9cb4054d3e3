package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/sleep"
)

// proberEngine sends every request over a connection of its own, and keeps all of its answer: for what a configuration says of
// single requests. It makes the handshakes and the silences that a request asks for.
type proberEngine struct{}

// prober is a phase that the engine sends.
type prober struct {
	*Phase
	ctx       context.Context
	templates *requestTemplates
	resolver  *resolver

	mu       sync.Mutex
	schedule *schedule
	emit     func(history.Hit)
	inFlight int
}

// Send is Engine's.
func (proberEngine) Send(ctx context.Context, p Phase, emit func(history.Hit)) {
	all := &prober{
		Phase: &p, ctx: ctx, templates: newTemplates(&p), resolver: &resolver{host: p.balancerAddr()},
		schedule: newSchedule(&p), emit: emit,
	}
	var asking sync.WaitGroup
	for range min(p.Concurrency, p.Count) {
		asking.Go(func() {
			for ctx.Err() == nil {
				h, more := all.nextRequest()
				if !more {
					return
				}
				all.probe(&h)
				all.mu.Lock()
				all.inFlight--
				all.emit(h)
				all.mu.Unlock()
			}
		})
	}
	asking.Wait()
}

// nextRequest is the next request to be sent, and waits until it is due.
func (p *prober) nextRequest() (h history.Hit, more bool) {
	p.mu.Lock()
	if !p.schedule.hasMore() {
		p.mu.Unlock()
		return h, false
	}
	i, due := p.schedule.pop()
	p.inFlight++
	flight := p.inFlight
	p.mu.Unlock()
	if p.IsOpenLoop() {
		sleep.For(p.ctx, due-p.now())
	}
	h = p.newHit(i, due)
	h.Conn, h.InFlight = i+1, flight
	return h, true
}

// probe sends a request and keeps what comes of it.
func (p *prober) probe(h *history.Hit) {
	ctx, cancel := context.WithTimeout(p.ctx, p.Timeout)
	defer cancel()
	err := p.connectAndSend(ctx, h)
	h.Done = p.now()
	if h.Err == "" {
		h.Err = classify(err)
	}
	if p.ctx.Err() != nil {
		h.Err = history.Tester
	}
}

func (p *prober) connectAndSend(ctx context.Context, h *history.Hit) error {
	want := p.templates.template(h.Index)
	conn, err := p.connect(ctx, want, h)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return p.exchange(conn, want, h)
}

// connect opens a connection and makes the handshake that is asked for, twice where a session is to be taken up.
func (p *prober) connect(ctx context.Context, want *requestTemplate, h *history.Hit) (net.Conn, error) {
	to, err := p.resolver.lookup(ctx)
	if err != nil {
		return nil, err
	}
	began := p.now()
	conn, err := p.dial(ctx, to, want, h)
	h.ConnectTime = p.now() - began
	if err != nil || !want.request.TLS {
		return conn, err
	}
	greeting := &tlsHandshake{
		template: want, sessions: &sessionCache{ClientSessionCache: tls.NewLRUClientSessionCache(0)}, info: url.Values{},
	}
	if want.request.Handshake != nil {
		greeting.Handshake = *want.request.Handshake
	}
	defer func() { h.HandshakeInfo = greeting.info.Encode() }()
	shaken, err := p.doHandshake(ctx, conn, greeting)
	h.HandshakeTime = p.now() - began - h.ConnectTime
	if err != nil || !greeting.Resume {
		return shaken, err
	}
	err = p.exchange(shaken, want, h) // tickets of TLS 1.3 come with the first answer
	shaken.Close()
	if err != nil {
		return nil, err
	}
	return p.resume(ctx, to, greeting, h)
}

// resume makes a handshake again with what the server gave out in the one before. The hit has only the answer that comes then.
func (p *prober) resume(ctx context.Context, to netip.Addr, greeting *tlsHandshake, h *history.Hit) (net.Conn, error) {
	*h = history.Hit{
		Seq: h.Seq, Phase: h.Phase, Index: h.Index, Client: h.Client, Due: h.Due, Sent: h.Sent,
		Conn: h.Conn, InFlight: h.InFlight, ConnectTime: h.ConnectTime, HandshakeTime: h.HandshakeTime,
	}
	if greeting.sessions.gotTicket {
		greeting.info.Set(history.HandshakeTicket, "yes")
	}
	conn, err := p.dial(ctx, to, greeting.template, h)
	if err != nil {
		return nil, err
	}
	shaken, err := p.doHandshake(ctx, conn, greeting)
	if err == nil && shaken.ConnectionState().DidResume {
		h.Resumed = true
		greeting.info.Set(history.HandshakeResumed, "yes")
	}
	return shaken, err
}

// dial connects to the balancer, by way of its own host where the request is to come from there.
func (p *prober) dial(ctx context.Context, to netip.Addr, want *requestTemplate, h *history.Hit) (net.Conn, error) {
	if want.request.LocalEndpoint == "" {
		return dialFrom(ctx, p.sourceAddr(h.Client), netip.AddrPortFrom(to, uint16(want.request.Port)))
	}
	conn, err := dialFrom(ctx, netip.Addr{}, netip.AddrPortFrom(to, p.Gateway.Port))
	if err == nil {
		_, err = conn.Write(p.Gateway.Preamble(want.request.Port, want.request.LocalEndpoint))
	}
	if err != nil {
		h.Err = history.Tester // the gateway is lbproof's own
	}
	return conn, err
}

// sessionCache notes whether the server gave out anything to resume with.
type sessionCache struct {
	tls.ClientSessionCache
	gotTicket bool
}

// Put is tls.ClientSessionCache's.
func (b *sessionCache) Put(key string, state *tls.ClientSessionState) {
	b.gotTicket = b.gotTicket || state != nil
	b.ClientSessionCache.Put(key, state)
}

// tlsHandshake is a TLS handshake as a request wants it.
type tlsHandshake struct {
	plan.Handshake
	template *requestTemplate
	sessions *sessionCache
	info     url.Values // how it went
}

// doHandshake makes a handshake and writes down how it went. It closes the connection where that fails.
func (p *prober) doHandshake(ctx context.Context, conn net.Conn, greeting *tlsHandshake) (*tls.Conn, error) {
	shaken := tls.Client(conn, greeting.config())
	if err := shaken.HandshakeContext(ctx); err != nil {
		conn.Close()
		var alert tls.AlertError
		var op *net.OpError
		if errors.As(err, &alert) {
			greeting.info.Set(history.HandshakeAlert, strconv.Itoa(int(alert)))
		} else if errors.As(err, &op) && op.Op == "remote error" {
			greeting.info.Set(history.HandshakeAlert, alertNumber(op.Err))
		}
		return nil, err
	}
	state := shaken.ConnectionState()
	greeting.info.Set(history.HandshakeVersion, strings.ReplaceAll(tls.VersionName(state.Version), " ", "v"))
	greeting.info.Set(history.HandshakeSuite, suiteName(state.CipherSuite))
	greeting.info.Set(history.HandshakeALPN, state.NegotiatedProtocol)
	if err := p.verifyChain(state.PeerCertificates, greeting.template.serverName); err != nil {
		greeting.info.Set(history.HandshakeTrust, err.Error())
	}
	return shaken, nil
}

// config is what a client says that wants this handshake. It takes any certificate.
func (s *tlsHandshake) config() *tls.Config {
	config := &tls.Config{
		InsecureSkipVerify: true, ServerName: s.template.serverName, NextProtos: s.ALPN,
		MinVersion: tls.VersionTLS10, ClientSessionCache: s.sessions,
	}
	if config.NextProtos == nil {
		config.NextProtos = []string{"http/1.1"}
	}
	if v, known := tlsVersions[s.Version]; known {
		config.MinVersion, config.MaxVersion = v, v
	}
	for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if name := openSSLName(suite); name != "" && (s.Suite == "" || s.Suite == name) {
			config.CipherSuites = append(config.CipherSuites, suite.ID)
		}
	}
	return config
}

// verifyChain says why certificates, of which the first is the server's own, are not to be trusted for a name.
func (p *prober) verifyChain(chain []*x509.Certificate, name string) error {
	if len(chain) == 0 {
		return nil
	}
	options := x509.VerifyOptions{Roots: p.RunCA, DNSName: name, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(options)
	return err
}

// alertNumber is the number of an alert that crypto/tls has only as an unexported type, a byte.
func alertNumber(err error) string {
	for n := range 256 {
		if tls.AlertError(n).Error() == err.Error() {
			return strconv.Itoa(n)
		}
	}
	return "?"
}

// exchange sends the request, reads the answer, and keeps silent where that is asked for.
func (p *prober) exchange(conn net.Conn, want *requestTemplate, h *history.Hit) error {
	id := fmt.Appendf(nil, "%0*d", len(history.IDPlaceholder), h.Seq)
	text := bytes.ReplaceAll(p.templates.write(nil, h.Index, h.Seq), []byte(history.IDPlaceholder), id)
	end := bytes.Index(text, []byte("\r\n\r\n")) + 4
	r := bufio.NewReader(conn)
	switch want.request.StallAt {
	case plan.StallInHeader:
		if _, err := conn.Write(text[:end-4]); err != nil {
			return err
		}
		return p.awaitResponse(r, want, h)
	case plan.StallInBody:
		if _, err := conn.Write(text[:end]); err != nil {
			return err
		}
		return p.awaitResponse(r, want, h)
	}
	_, failed := conn.Write(text)
	if failed == nil {
		_, failed = io.CopyN(conn, fillReader{}, want.request.PaddingSize)
	}
	if err := p.readResponse(r, want, h); err != nil { // who refuses a body may have answered before its end
		return errors.Join(failed, err)
	}
	if h.Code == http.StatusSwitchingProtocols {
		if err := echoWebSocket(conn, r, h.Seq); err != nil {
			h.Err = history.Malformed
			return err
		}
	}
	switch want.request.StallAt {
	case plan.StallAfterResponses:
		p.countExtraResponses(conn, r, h)
	case "":
	default:
		return p.awaitClose(r, h)
	}
	return nil
}

// fillReader is a body without an end.
type fillReader struct{}

// Read is io.Reader's.
func (fillReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// maxKeptBody bounds how much of a body is kept, bytes.
const maxKeptBody = 1 << 20

// readResponse reads one answer.
func (p *prober) readResponse(r *bufio.Reader, want *requestTemplate, h *history.Hit) error {
	var resp *http.Response
	for resp == nil || resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
		if _, err := r.Peek(1); err != nil {
			return err
		}
		var err error
		if resp, err = http.ReadResponse(r, &http.Request{Method: want.request.Method}); err != nil {
			if classify(err) == history.Other {
				h.Err = history.Malformed
			}
			return err
		}
	}
	h.Code, h.Server = resp.StatusCode, resp.Header.Get(history.ServerHeader)
	if len(resp.TransferEncoding) > 0 {
		resp.Header["Transfer-Encoding"] = resp.TransferEncoding
	}
	body := resp.Body
	if want.request.KeepBody {
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxKeptBody))
		if err != nil {
			return err
		}
		resp.Header[history.BodyField] = []string{string(text)}
		body = io.NopCloser(bytes.NewReader(text))
	}
	h.Header = url.Values(resp.Header).Encode()
	if h.Code == http.StatusSwitchingProtocols {
		return nil
	}
	sum := crc32.New(castagnoli)
	size, err := io.Copy(sum, body)
	h.Size, h.Checksum = size, sum.Sum32()
	return err
}

// extraResponseTimeout is how long further answers are waited for.
const extraResponseTimeout = time.Second

// countExtraResponses counts the answers that come after the first, until none comes.
func (p *prober) countExtraResponses(conn net.Conn, r *bufio.Reader, h *history.Hit) {
	answers := 1
	for {
		_ = conn.SetReadDeadline(time.Now().Add(extraResponseTimeout))
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			break
		}
		answers++
		if _, err = io.Copy(io.Discard, resp.Body); err != nil {
			break
		}
	}
	h.Header += "&" + url.Values{history.ResponseCountField: {strconv.Itoa(answers)}}.Encode()
}

// awaitResponse hears how a balancer ends a request that does not come.
func (p *prober) awaitResponse(r *bufio.Reader, want *requestTemplate, h *history.Hit) error {
	began := p.now()
	_, err := r.Peek(1)
	h.Silence = p.now() - began
	if err != nil {
		return err
	}
	return p.readResponse(r, want, h)
}

// awaitClose hears when the connection ends on which nobody says anything.
func (p *prober) awaitClose(r *bufio.Reader, h *history.Hit) error {
	began := p.now()
	_, err := r.Peek(1)
	h.Silence = p.now() - began
	if classify(err) == history.Timeout {
		return err // it is still open
	}
	return nil
}

// echoWebSocket sends one WebSocket message and waits for it to come back (RFC 6455, section 5.2).
func echoWebSocket(conn io.Writer, r io.Reader, seq uint64) error {
	text := []byte("lbproof " + strconv.FormatUint(seq, 10))
	frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...) // masked with zeros
	if _, err := conn.Write(frame); err != nil {
		return err
	}
	back := make([]byte, 2+len(text))
	if _, err := io.ReadFull(r, back); err != nil {
		return err
	}
	if binary.BigEndian.Uint16(back) != 0x8100|uint16(len(text)) || !bytes.Equal(back[2:], text) {
		return errors.New("another message came back")
	}
	return nil
}
