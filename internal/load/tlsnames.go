package load

import (
	"crypto/tls"
	"strings"
)

// tlsVersions are those of TLS that a client can ask for by name.
var tlsVersions = map[string]uint16{
	"TLSv1.0": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11,
	"TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13,
}

// openSSLReplacer is what parts of a suite's name are called by OpenSSL.
var openSSLReplacer = strings.NewReplacer("_WITH_3DES_EDE_CBC", "-DES-CBC3", "_WITH_", "-", "AES_128", "AES128",
	"AES_256", "AES256", "_CBC", "", "_128_SHA", "-SHA", "_POLY1305_SHA256", "-POLY1305", "_", "-")

// openSSLName is what OpenSSL calls a cipher suite; empty for those of TLS 1.3, which have no other name.
func openSSLName(s *tls.CipherSuite) string {
	if len(s.SupportedVersions) == 1 && s.SupportedVersions[0] == tls.VersionTLS13 {
		return ""
	}
	name := openSSLReplacer.Replace(strings.TrimPrefix(s.Name, "TLS_"))
	return strings.TrimPrefix(name, "RSA-")
}

// suiteName is OpenSSL's name where there is one.
func suiteName(id uint16) string {
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if name := openSSLName(s); s.ID == id && name != "" {
			return name
		}
	}
	return tls.CipherSuiteName(id)
}
