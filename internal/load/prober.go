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

// proberEngine sends every request over its own connection and records the whole response, for claims that single
// requests decide. It performs the TLS handshakes and stalls that a request specifies.
type proberEngine struct{}

// prober is one phase being sent.
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

// Send implements Engine.
func (proberEngine) Send(ctx context.Context, p Phase, emit func(history.Hit)) {
	all := &prober{
		Phase: &p, ctx: ctx, templates: newTemplates(&p), resolver: &resolver{host: p.balancerAddr()},
		schedule: newSchedule(&p), emit: emit,
	}
	var probing sync.WaitGroup
	for range min(p.Concurrency, p.Count) {
		probing.Go(func() {
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
	probing.Wait()
}

// nextRequest returns the next request once it is due.
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

// probe sends a request and records the result.
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
	tmpl := p.templates.template(h.Index)
	conn, err := p.connect(ctx, tmpl, h)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return p.exchange(conn, tmpl, h)
}

// connect opens a connection and performs the requested handshake, twice to test session resumption.
func (p *prober) connect(ctx context.Context, tmpl *requestTemplate, h *history.Hit) (net.Conn, error) {
	to, err := p.resolver.lookup(ctx)
	if err != nil {
		return nil, err
	}
	began := p.now()
	conn, err := p.dial(ctx, to, tmpl, h)
	h.ConnectTime = p.now() - began
	if err != nil || !tmpl.request.TLS {
		return conn, err
	}
	tlsProbe := &tlsHandshake{
		template: tmpl, info: url.Values{},
		sessions: &sessionCache{ClientSessionCache: tls.NewLRUClientSessionCache(0)},
	}
	if tmpl.request.Handshake != nil {
		tlsProbe.Handshake = *tmpl.request.Handshake
	}
	defer func() { h.HandshakeInfo = tlsProbe.info.Encode() }()
	tlsConn, err := p.doHandshake(ctx, conn, tlsProbe)
	h.HandshakeTime = p.now() - began - h.ConnectTime
	if err != nil || !tlsProbe.Resume {
		return tlsConn, err
	}
	err = p.exchange(tlsConn, tmpl, h) // TLS 1.3 tickets arrive with the first response
	tlsConn.Close()
	if err != nil {
		return nil, err
	}
	return p.resume(ctx, to, tlsProbe, h)
}

// resume repeats the handshake with the session received before. The hit records only the second response.
func (p *prober) resume(ctx context.Context, to netip.Addr, tlsProbe *tlsHandshake, h *history.Hit) (net.Conn, error) {
	*h = history.Hit{
		Seq: h.Seq, Phase: h.Phase, Index: h.Index, Client: h.Client, Due: h.Due, Sent: h.Sent,
		Conn: h.Conn, InFlight: h.InFlight, ConnectTime: h.ConnectTime, HandshakeTime: h.HandshakeTime,
	}
	if tlsProbe.sessions.gotTicket {
		tlsProbe.info.Set(history.HandshakeTicket, "yes")
	}
	conn, err := p.dial(ctx, to, tlsProbe.template, h)
	if err != nil {
		return nil, err
	}
	tlsConn, err := p.doHandshake(ctx, conn, tlsProbe)
	if err == nil && tlsConn.ConnectionState().DidResume {
		h.Resumed = true
		tlsProbe.info.Set(history.HandshakeResumed, "yes")
	}
	return tlsConn, err
}

// dial connects to the balancer, through the gateway if the request must come from the balancer's own host.
func (p *prober) dial(ctx context.Context, to netip.Addr, tmpl *requestTemplate, h *history.Hit) (net.Conn, error) {
	if tmpl.request.LocalEndpoint == "" {
		return dialFrom(ctx, p.sourceAddr(h.Client), netip.AddrPortFrom(to, uint16(tmpl.request.Port)))
	}
	conn, err := dialFrom(ctx, netip.Addr{}, netip.AddrPortFrom(to, p.Gateway.Port))
	if err == nil {
		_, err = conn.Write(p.Gateway.Preamble(tmpl.request.Port, tmpl.request.LocalEndpoint))
	}
	if err != nil {
		h.Err = history.Tester // the gateway belongs to lbproof
	}
	return conn, err
}

// sessionCache records whether the server issued a session.
type sessionCache struct {
	tls.ClientSessionCache
	gotTicket bool
}

// Put implements tls.ClientSessionCache.
func (b *sessionCache) Put(key string, state *tls.ClientSessionState) {
	b.gotTicket = b.gotTicket || state != nil
	b.ClientSessionCache.Put(key, state)
}

// tlsHandshake is a TLS handshake as specified by a request.
type tlsHandshake struct {
	plan.Handshake
	template *requestTemplate
	sessions *sessionCache
	info     url.Values // what was negotiated, by history's Handshake names
}

// doHandshake performs a handshake and records the result. On failure it closes the connection.
func (p *prober) doHandshake(ctx context.Context, conn net.Conn, tlsProbe *tlsHandshake) (*tls.Conn, error) {
	tlsConn := tls.Client(conn, tlsProbe.config())
	if err := tlsConn.HandshakeContext(ctx); err != nil {
		conn.Close()
		var alert tls.AlertError
		var op *net.OpError
		if errors.As(err, &alert) {
			tlsProbe.info.Set(history.HandshakeAlert, strconv.Itoa(int(alert)))
		} else if errors.As(err, &op) && op.Op == "remote error" {
			tlsProbe.info.Set(history.HandshakeAlert, alertNumber(op.Err))
		}
		return nil, err
	}
	state := tlsConn.ConnectionState()
	tlsProbe.info.Set(history.HandshakeVersion, strings.ReplaceAll(tls.VersionName(state.Version), " ", "v"))
	tlsProbe.info.Set(history.HandshakeSuite, suiteName(state.CipherSuite))
	tlsProbe.info.Set(history.HandshakeALPN, state.NegotiatedProtocol)
	if err := p.verifyChain(state.PeerCertificates, tlsProbe.template.serverName); err != nil {
		tlsProbe.info.Set(history.HandshakeTrust, err.Error())
	}
	return tlsConn, nil
}

// config returns the client configuration for this handshake. It accepts any certificate.
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

// verifyChain returns why a certificate chain, leaf first, is not valid for a server name.
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

// alertNumber returns the number of a TLS alert, which crypto/tls exposes only as an unexported byte type.
func alertNumber(err error) string {
	for n := range 256 {
		if tls.AlertError(n).Error() == err.Error() {
			return strconv.Itoa(n)
		}
	}
	return "?"
}

// exchange sends the request, reads the response, and stalls if the request says so.
func (p *prober) exchange(conn net.Conn, tmpl *requestTemplate, h *history.Hit) error {
	id := fmt.Appendf(nil, "%0*d", len(history.IDPlaceholder), h.Seq)
	text := bytes.ReplaceAll(p.templates.write(nil, h.Index, h.Seq), []byte(history.IDPlaceholder), id)
	end := bytes.Index(text, []byte("\r\n\r\n")) + 4
	r := bufio.NewReader(conn)
	switch tmpl.request.StallAt {
	case plan.StallInHeader:
		if _, err := conn.Write(text[:end-4]); err != nil {
			return err
		}
		return p.awaitResponse(r, tmpl, h)
	case plan.StallInBody:
		if _, err := conn.Write(text[:end]); err != nil {
			return err
		}
		return p.awaitResponse(r, tmpl, h)
	}
	_, failed := conn.Write(text)
	if failed == nil {
		_, failed = io.CopyN(conn, fillReader{}, tmpl.request.PaddingSize)
	}
	if err := p.readResponse(r, tmpl, h); err != nil { // a server that rejects a body may respond early
		return errors.Join(failed, err)
	}
	if h.Code == http.StatusSwitchingProtocols {
		if err := echoWebSocket(conn, r, h.Seq); err != nil {
			h.Err = history.Malformed
			return err
		}
	}
	switch tmpl.request.StallAt {
	case plan.StallAfterResponses:
		p.countExtraResponses(conn, r, h)
	case "":
	default:
		return p.awaitClose(r, h)
	}
	return nil
}

// fillReader is an endless request body.
type fillReader struct{}

// Read implements io.Reader.
func (fillReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// maxKeptBody is how much of a body is recorded, in bytes.
const maxKeptBody = 1 << 20

// readResponse reads one final response.
func (p *prober) readResponse(r *bufio.Reader, tmpl *requestTemplate, h *history.Hit) error {
	var resp *http.Response
	for resp == nil || resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
		if _, err := r.Peek(1); err != nil {
			return err
		}
		var err error
		if resp, err = http.ReadResponse(r, &http.Request{Method: tmpl.request.Method}); err != nil {
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
	if tmpl.request.KeepBody {
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

// extraResponseTimeout is how long to wait for each further response.
const extraResponseTimeout = time.Second

// countExtraResponses counts responses until no more arrive.
func (p *prober) countExtraResponses(conn net.Conn, r *bufio.Reader, h *history.Hit) {
	responses := 1
	for {
		_ = conn.SetReadDeadline(time.Now().Add(extraResponseTimeout))
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			break
		}
		responses++
		if _, err = io.Copy(io.Discard, resp.Body); err != nil {
			break
		}
	}
	h.Header += "&" + url.Values{history.ResponseCountField: {strconv.Itoa(responses)}}.Encode()
}

// awaitResponse records how the balancer ends a request that stalls.
func (p *prober) awaitResponse(r *bufio.Reader, tmpl *requestTemplate, h *history.Hit) error {
	began := p.now()
	_, err := r.Peek(1)
	h.Silence = p.now() - began
	if err != nil {
		return err
	}
	return p.readResponse(r, tmpl, h)
}

// awaitClose records when the balancer closes an idle connection.
func (p *prober) awaitClose(r *bufio.Reader, h *history.Hit) error {
	began := p.now()
	_, err := r.Peek(1)
	h.Silence = p.now() - began
	if classify(err) == history.Timeout {
		return err // still open
	}
	return nil
}

// echoWebSocket sends a WebSocket message and waits for its echo (RFC 6455, section 5.2).
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
		return errors.New("WebSocket echo differs from the message")
	}
	return nil
}
