package checks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
)

var tls = Check{
	Name: "tls",
	Doc: "Clients are served with the TLS versions, ciphers and certificate that the configuration names, and refused " +
		"otherwise.",
	Law: "one handshake per version and suite; a refusal counts only with the alert of the protocol (70, 40), not with one of " +
		"OpenSSL's security level",
	Claims: tlsClaims,
}

var tlsVersions = []string{"TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"}

func tlsClaims(cfg lb.Config) []lb.Claim {
	var claims []lb.Claim
	for _, t := range cfg.TLS {
		name := fmt.Sprintf("port %d", t.Ports[0])
		if len(t.Hosts) > 0 && t.Hosts[0] != "" {
			name = t.Hosts[0]
		}
		add := func(detail, text string, pos lb.Pos, implicit bool) {
			claims = append(claims, lb.Claim{ID: id("tls", name, detail), Check: "tls", Subject: name, Pos: pos, Text: text, Implicit: implicit})
		}
		add("versions", versionText(name, t), t.VersionsPos, t.Implicit)
		if t.Implicit && cfg.Balancer == "nginx" {
			claims[len(claims)-1].Assumes = []string{"nginx 1.27.3 or later: before that TLSv1.0 and TLSv1.1 are on by default, and before 1.23.4 TLSv1.3 is off"}
		}
		if t.Ciphers != "" {
			add("ciphers", fmt.Sprintf("%s negotiates up to TLSv1.2 only the ciphers %s; those of TLSv1.3 are not governed by it.", name, t.Ciphers), t.CiphersPos, false)
		}
		if t.Certificate != "" {
			add("certificate", fmt.Sprintf("%s presents the certificate %s, valid for its name.", name, t.Certificate), t.CertPos, false)
		}
		if t.Sessions != nil {
			add("resumption", fmt.Sprintf("A client of %s that comes back resumes its session.", name), *t.Sessions, false)
		}
		if t.NoTickets != nil {
			add("tickets", fmt.Sprintf("%s gives out no session tickets.", name), *t.NoTickets, false)
		}
	}
	return append(distinct(claims), alpnClaims(cfg)...)
}

func versionText(name string, t lb.TLS) string {
	var taken, refused []string
	for _, v := range tlsVersions {
		if slices.Contains(t.Versions, v) || v == "TLSv1.0" && slices.Contains(t.Versions, "TLSv1") {
			taken = append(taken, v)
		} else {
			refused = append(refused, v)
		}
	}
	by := ""
	if t.Implicit {
		by = " by default"
	}
	text := fmt.Sprintf("%s speaks %s%s", name, and(taken), by)
	if len(refused) > 0 {
		text += fmt.Sprintf("; %s is refused with a protocol alert", strings.Join(refused, " or "))
	}
	return text + "."
}

// alpnClaims are about HTTP/2, which a client is offered in the handshake.
func alpnClaims(cfg lb.Config) []lb.Claim {
	var claims []lb.Claim
	for _, l := range cfg.Listeners {
		if l.TLS && l.HTTP2 {
			name := fmt.Sprintf("port %d", l.Port)
			claims = append(claims, lb.Claim{
				ID: id("tls", name, "h2"), Check: "tls", Subject: name, Pos: l.Pos, Text: fmt.Sprintf("%s offers HTTP/2 (ALPN h2), and HTTP/1.1 to those who want it.", name),
			})
		}
	}
	return claims
}
