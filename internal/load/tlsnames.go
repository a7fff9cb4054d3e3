package load

import (
	"crypto/tls"
	"strings"
)

// tlsVersions are the TLS versions that a request can name.
var tlsVersions = map[string]uint16{
	"TLSv1.0": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11,
	"TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13,
}

// openSSLReplacer turns Go's names of cipher suites into OpenSSL's.
var openSSLReplacer = strings.NewReplacer("_WITH_3DES_EDE_CBC", "-DES-CBC3", "_WITH_", "-", "AES_128", "AES128",
	"AES_256", "AES256", "_CBC", "", "_128_SHA", "-SHA", "_POLY1305_SHA256", "-POLY1305", "_", "-")

// openSSLName returns OpenSSL's name of a cipher suite; "" for TLS 1.3, whose suites have only one name.
func openSSLName(s *tls.CipherSuite) string {
	if len(s.SupportedVersions) == 1 && s.SupportedVersions[0] == tls.VersionTLS13 {
		return ""
	}
	name := openSSLReplacer.Replace(strings.TrimPrefix(s.Name, "TLS_"))
	return strings.TrimPrefix(name, "RSA-")
}

// suiteName returns OpenSSL's name of a cipher suite if it has one, else the standard name.
func suiteName(id uint16) string {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if name := openSSLName(s); s.ID == id && name != "" {
			return name
		}
	}
	return tls.CipherSuiteName(id)
}
