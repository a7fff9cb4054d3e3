package requests

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var TLS = check.Check{
	Name: plan.CheckTLS,
	Doc:  "Clients get the configured TLS versions, ciphers and certificate, and are refused otherwise.",
	Law: "one handshake per version and suite; a refusal counts only with the protocol's alert (70, 40), not with that " +
		"of OpenSSL's security level",
	Probes: tlsProbes,
	Claims: tlsClaims,
}

var tlsVersions = []string{"TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"}

func tlsClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, t := range cfg.TLS {
		name := fmt.Sprintf("port %d", t.Ports[0])
		if len(t.Hosts) > 0 && t.Hosts[0] != "" {
			name = t.Hosts[0]
		}
		add := func(detail, text string, pos model.Pos, implicit bool) {
			claim := check.NewClaim(plan.CheckTLS, name, detail, pos, text)
			claim.Implicit = implicit
			claims = append(claims, claim)
		}
		add("versions", versionText(name, t), t.VersionsPos, t.Implicit)
		if t.Assumption != "" {
			claims[len(claims)-1].Assumptions = []string{t.Assumption}
		}
		if t.Ciphers != "" {
			text := fmt.Sprintf("%s negotiates only the ciphers %s up to TLSv1.2; this does not affect TLS 1.3 suites.",
				name, t.Ciphers)
			add("ciphers", text, t.CiphersPos, false)
		}
		if t.Certificate != "" {
			add("certificate", fmt.Sprintf("%s presents certificate %s, which is valid for its name.",
				name, t.Certificate), t.CertPos, false)
		}
		if t.SessionCache != nil {
			add("resumption", fmt.Sprintf("Returning clients of %s resume their TLS session.", name), *t.SessionCache, false)
		}
		if t.TicketsOff != nil {
			add("tickets", fmt.Sprintf("%s issues no session tickets.", name), *t.TicketsOff, false)
		}
	}
	return append(check.DistinctIDs(claims), alpnClaims(cfg)...)
}

func versionText(name string, t model.TLS) string {
	var accepted, refused []string
	for _, v := range tlsVersions {
		if slices.Contains(t.Versions, v) || v == "TLSv1.0" && slices.Contains(t.Versions, "TLSv1") {
			accepted = append(accepted, v)
		} else {
			refused = append(refused, v)
		}
	}
	by := ""
	if t.Implicit {
		by = " by default"
	}
	text := fmt.Sprintf("%s accepts %s%s", name, units.Join(accepted), by)
	if len(refused) > 0 {
		text += fmt.Sprintf("; it refuses %s with a protocol alert", units.Join(refused))
	}
	return text + "."
}

// alpnClaims returns the claims about HTTP/2, which a handshake offers to clients.
func alpnClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, l := range cfg.Listeners {
		if l.TLS && l.HTTP2 {
			name := fmt.Sprintf("port %d", l.Port)
			text := fmt.Sprintf("%s offers HTTP/2 (ALPN h2) and falls back to HTTP/1.1.", name)
			claims = append(claims, check.NewClaim(plan.CheckTLS, name, "h2", l.Pos, text))
		}
	}
	return claims
}

// testedSuites are the cipher suites that can be tested one by one: those that Go supports with an RSA certificate.
var testedSuites = []string{
	"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305",
	"ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA",
	"AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA256", "AES128-SHA", "AES256-SHA",
	"DES-CBC3-SHA", "RC4-SHA",
}

// The alerts that a configuration causes (RFC 8446, section 6.2); 80 comes from OpenSSL's own security level.
const (
	alertVersion = "70"
	alertSuite   = "40"
)

func tlsProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	host, port, t, ok := findTLSSubject(cfg, claim)
	if !ok {
		return nil, ""
	}
	add := func(label string, offer plan.Handshake, handshake map[string]string) {
		request := plan.Request{Method: "GET", Port: port, TLS: true, Path: "/", Header: check.RespondWith("")}
		request.Handshake, request.Header["Host"] = &offer, host
		want := check.Want{Handshake: handshake}
		probes = append(probes, check.Probe{Case: label, Kind: plan.KindProbes, Request: request, Want: want})
	}
	switch claim.Detail {
	case "h2":
		both, old := plan.Handshake{ALPN: []string{"h2", "http/1.1"}}, plan.Handshake{ALPN: []string{"http/1.1"}}
		add("a client that prefers HTTP/2", both, map[string]string{history.HandshakeALPN: "h2"})
		add("a client that speaks HTTP/1.1 only", old, map[string]string{history.HandshakeALPN: "http/1.1"})
	case "versions":
		for _, v := range tlsVersions {
			accepted := slices.Contains(t.Versions, v) || v == "TLSv1.0" && slices.Contains(t.Versions, "TLSv1")
			switch {
			case !accepted:
				add(v, plan.Handshake{Version: v}, map[string]string{history.HandshakeAlert: alertVersion})
			case v >= "TLSv1.2": // OpenSSL's security level refuses older ones anyway
				add(v, plan.Handshake{Version: v}, map[string]string{history.HandshakeVersion: v})
			}
		}
	case "ciphers":
		return suiteProbes(t, add, &probes)
	case "certificate":
		add("the name "+host, plan.Handshake{}, map[string]string{history.HandshakeTrust: "", history.HandshakeAlert: ""})
	case "resumption":
		add("a returning client", plan.Handshake{Resume: true}, map[string]string{history.HandshakeResumed: "yes"})
	case "tickets":
		none := map[string]string{history.HandshakeTicket: "", history.HandshakeAlert: ""}
		add("a client that accepts tickets", plan.Handshake{Resume: true, Version: "TLSv1.2"}, none)
	}
	return probes, ""
}

func suiteProbes(
	t model.TLS, add func(string, plan.Handshake, map[string]string), probes *[]check.Probe,
) ([]check.Probe, string) {
	listed := strings.FieldsFunc(t.Ciphers, func(r rune) bool { return strings.ContainsRune(": ,", r) })
	isGroup := func(name string) bool { return !strings.Contains(name, "-") && !strings.HasPrefix(name, "!") }
	explicit := !slices.ContainsFunc(listed, isGroup)
	accepted := 0
	for _, s := range testedSuites {
		switch {
		case slices.Contains(listed, s):
			accepted++
			add(s, plan.Handshake{Version: "TLSv1.2", Suite: s}, map[string]string{history.HandshakeSuite: s})
		case explicit:
			add(s, plan.Handshake{Version: "TLSv1.2", Suite: s}, map[string]string{history.HandshakeAlert: alertSuite})
		}
	}
	if !explicit && accepted == 0 {
		return nil, "the suites selected by " + t.Ciphers + " depend on the balancer's OpenSSL"
	}
	return *probes, ""
}

// findTLSSubject returns the host and the port that a claim is about.
func findTLSSubject(cfg model.Config, claim plan.Claim) (host string, port int, t model.TLS, ok bool) {
	host = plan.CertificateHost
	if claim.Detail == "h2" {
		_, err := fmt.Sscanf(claim.Subject, "port %d", &port)
		for _, t := range cfg.TLS {
			if slices.Contains(t.Ports, port) && len(t.Hosts) > 0 && t.Hosts[0] != "" {
				host = strings.Replace(t.Hosts[0], "*", "lbproof", 1)
			}
		}
		return host, port, t, err == nil
	}
	for _, t := range cfg.TLS {
		if len(t.Hosts) > 0 && t.Hosts[0] != "" {
			host = t.Hosts[0]
		}
		positions := map[string]model.Pos{"versions": t.VersionsPos, "ciphers": t.CiphersPos, "certificate": t.CertPos}
		if t.SessionCache != nil {
			positions["resumption"] = *t.SessionCache
		}
		if t.TicketsOff != nil {
			positions["tickets"] = *t.TicketsOff
		}
		isSubject := claim.Subject == host || claim.Subject == fmt.Sprintf("port %d", t.Ports[0])
		if isSubject && positions[claim.Detail] == claim.Pos {
			return strings.Replace(host, "*", "lbproof", 1), t.Ports[0], t, true
		}
	}
	return "", 0, t, false
}
