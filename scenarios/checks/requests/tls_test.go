package requests

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// secured returns a configuration that serves TLS on port 443.
func secured(t model.TLS) model.Config {
	t.Ports, t.VersionsPos, t.CiphersPos, t.CertPos = []int{443}, testPos, testPos, testPos
	cfg := configOf(model.Route{Path: "/", Port: 443, TLS: true, Pool: "p", DefaultHost: true})
	cfg.Listeners = []model.Listener{{Pos: testPos, Port: 443, TLS: true, HTTP2: true}}
	cfg.TLS = []model.TLS{t}
	return cfg
}

const securely = "GET https://lbproof.test:443/"

// Each version is either accepted or refused with the protocol's alert.
func TestTLSVersions(t *testing.T) {
	a := probesFor(t, TLS, secured(model.TLS{Versions: []string{"TLSv1.2", "TLSv1.3"}}), "tls/port 443#versions", 4)
	for _, old := range []string{"TLSv1.0", "TLSv1.1"} {
		reply := a.find(t, old, securely)
		reply(history.Hit{Err: history.HandshakeFailed, HandshakeInfo: "alert=70"}, "")
		reply(history.Hit{Err: history.HandshakeFailed, HandshakeInfo: "alert=80"}, "refused with alert 80") // by OpenSSL's security level
		reply(history.Hit{Code: 200, HandshakeInfo: "version=" + old + "&suite=AES128-SHA"}, "accepted with "+old+" AES128-SHA")
	}
	for _, spoken := range []string{"TLSv1.2", "TLSv1.3"} {
		reply := a.find(t, spoken, securely)
		reply(history.Hit{Code: 200, HandshakeInfo: "version=" + spoken}, "")
		reply(history.Hit{Err: history.HandshakeFailed, HandshakeInfo: "alert=70"}, "refused with alert 70")
		reply(history.Hit{Err: history.Closed}, "no handshake (connection closed)")
	}
}

// An accepted old version is not probed: OpenSSL's security level refuses it regardless of the configuration.
func TestTLSOldVersions(t *testing.T) {
	a := probesFor(t, TLS, secured(model.TLS{Versions: []string{"TLSv1", "TLSv1.2"}}), "tls/port 443#versions", 3)
	for _, q := range a.probes {
		assert.NotEqual(t, "TLSv1.0", q.Case)
	}
	newest := history.Hit{Code: 200, HandshakeInfo: "version=TLSv1.3&suite=TLS_AES_128_GCM_SHA256"}
	a.find(t, "TLSv1.3", securely)(newest, "accepted with TLSv1.3 TLS_AES_128_GCM_SHA256")
}

// Listed suites are accepted; if the list names only suites, all others are refused.
func TestTLSCiphers(t *testing.T) {
	f := func(ciphers string, count int) claimProbes {
		t.Helper()
		cfg := secured(model.TLS{Versions: []string{"TLSv1.2"}, Ciphers: ciphers})
		return probesFor(t, TLS, cfg, "tls/port 443#ciphers", count)
	}
	a := f("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256", len(testedSuites))
	assert.Equal(t, &plan.Handshake{Version: "TLSv1.2", Suite: "ECDHE-RSA-AES128-GCM-SHA256"}, a.probes[0].Request.Handshake)
	listed := a.find(t, "ECDHE-RSA-AES128-GCM-SHA256", securely)
	listed(history.Hit{Code: 200, HandshakeInfo: "version=TLSv1.2&suite=ECDHE-RSA-AES128-GCM-SHA256"}, "")
	listed(history.Hit{Err: history.HandshakeFailed, HandshakeInfo: "alert=40"}, "refused with alert 40")
	other := a.find(t, "RC4-SHA", securely)
	other(history.Hit{Err: history.HandshakeFailed, HandshakeInfo: "alert=40"}, "")
	other(history.Hit{Code: 200, HandshakeInfo: "version=TLSv1.2&suite=RC4-SHA"}, "accepted with TLSv1.2 RC4-SHA")

	f("HIGH:ECDHE-RSA-AES128-GCM-SHA256:!aNULL", 1)
	cfg := secured(model.TLS{Versions: []string{"TLSv1.2"}, Ciphers: "HIGH:!aNULL"})
	probes, untestable := TLS.Probes(cfg, plan.Claim{ID: "tls/port 443#ciphers", Subject: "port 443", Detail: "ciphers", Pos: testPos})
	assert.Empty(t, probes)
	assert.Contains(t, untestable, "depend on the balancer's OpenSSL")
}

// A handshake also shows the certificate, session resumption and the ALPN protocol.
func TestTLSHandshakes(t *testing.T) {
	cfg := secured(model.TLS{
		Versions: []string{"TLSv1.2"}, Certificate: "a.pem", SessionCache: &testPos, TicketsOff: &testPos,
	})
	certificate := probesFor(t, TLS, cfg, "tls/port 443#certificate", 1).find(t, "the name lbproof.test", securely)
	certificate(history.Hit{Code: 200, HandshakeInfo: "version=TLSv1.2"}, "")
	expired := history.Hit{Code: 200, HandshakeInfo: "version=TLSv1.2&trust=expired"}
	certificate(expired, "untrusted certificate: expired")
	resumption := probesFor(t, TLS, cfg, "tls/port 443#resumption", 1).find(t, "a returning client", securely)
	resumption(history.Hit{Code: 200, HandshakeInfo: "version=TLSv1.2&resumed=yes"}, "")
	resumption(history.Hit{Code: 200, HandshakeInfo: "version=TLSv1.2"}, `resumed is "" instead of "yes"`)
	tickets := probesFor(t, TLS, cfg, "tls/port 443#tickets", 1).find(t, "a client that accepts tickets", securely)
	tickets(history.Hit{Code: 200, HandshakeInfo: "version=TLSv1.2"}, "")
	tickets(history.Hit{Code: 200, HandshakeInfo: "version=TLSv1.2&ticket=yes"}, `ticket is "yes" instead of ""`)

	h2 := probesFor(t, TLS, cfg, "tls/port 443#h2", 2)
	modern := h2.find(t, "a client that prefers HTTP/2", securely)
	modern(history.Hit{Code: 200, HandshakeInfo: "version=TLSv1.2&alpn=h2"}, "")
	modern(history.Hit{Code: 200, HandshakeInfo: "version=TLSv1.2&alpn=http%2F1.1"}, `alpn is "http/1.1" instead of "h2"`)
	old := h2.find(t, "a client that speaks HTTP/1.1 only", securely)
	old(history.Hit{Code: 200, HandshakeInfo: "version=TLSv1.2&alpn=http%2F1.1"}, "")
	old(history.Hit{Err: history.HandshakeFailed, HandshakeInfo: "alert=120"}, "refused with alert 120")
}
