package stack

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/plan"
)

// Authority signs the certificates of one run. Its keys are RSA: cipher lists with only RSA suites are common, lists
// with only ECDSA suites are not. The zero value creates its own certificate on first use.
type Authority struct {
	mu   sync.Mutex
	cert *x509.Certificate
	key  crypto.Signer
}

// CertificateFlaw is what is wrong with a certificate; the zero value is a valid one.
type CertificateFlaw string

// The flaws.
const (
	Expired       CertificateFlaw = "expired"
	NotYetValid   CertificateFlaw = "early"
	WrongName     CertificateFlaw = "name"
	UnknownIssuer CertificateFlaw = "issuer"
)

const certificateLifetime = 90 * 24 * time.Hour

// ensureCertificate creates the authority's own certificate on first use.
func (a *Authority) ensureCertificate() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cert != nil {
		return nil
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("create the run's certificate authority: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lbproof run"},
		NotBefore: now.Add(-2 * certificateLifetime), NotAfter: now.Add(2 * certificateLifetime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("create the run's certificate authority: %w", err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("create the run's certificate authority: %w", err)
	}
	a.key = key
	return nil
}

// PEM returns the authority's own certificate.
func (a *Authority) PEM() ([]byte, error) {
	if err := a.ensureCertificate(); err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), nil
}

// issue returns a certificate with its chain, and its key, both as PEM.
func (a *Authority) issue(hosts []string, flaw CertificateFlaw) (chain, key []byte, err error) {
	if flaw == UnknownIssuer {
		return new(Authority).issue(hosts, "")
	}
	if err := a.ensureCertificate(); err != nil {
		return nil, nil, err
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	template.NotBefore, template.NotAfter = validityOf(flaw)
	setNames(template, hosts, flaw)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	for _, block := range [][]byte{der, a.cert.Raw} {
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: block}); err != nil {
			return nil, nil, err
		}
	}
	return out.Bytes(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// validityOf returns the validity period of a certificate.
func validityOf(flaw CertificateFlaw) (from, to time.Time) {
	now := time.Now()
	switch flaw {
	case Expired:
		return now.Add(-certificateLifetime), now.Add(-time.Hour)
	case NotYetValid:
		return now.Add(time.Hour), now.Add(certificateLifetime)
	}
	return now.Add(-time.Hour), now.Add(certificateLifetime)
}

// setNames sets the names and addresses that a certificate is for.
func setNames(template *x509.Certificate, hosts []string, flaw CertificateFlaw) {
	if flaw == WrongName {
		hosts, template.DNSNames = nil, []string{"another.lbproof.test"}
	} else {
		template.DNSNames = []string{plan.CertificateHost}
	}
	template.Subject = pkix.Name{CommonName: template.DNSNames[0]}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if h != "" {
			template.DNSNames = append(template.DNSNames, h)
			template.Subject.CommonName = h
		}
	}
}
