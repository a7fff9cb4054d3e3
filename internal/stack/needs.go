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
	"maps"
	"math/big"
	"path"
	"time"

	"github.com/lbproof/lbproof/internal/lb"
)

// Furnish makes the files that a configuration refers to and does not bring: certificates from an authority of the run's
// own, and directories with a page. It returns the spec with their places, and the files.
func Furnish(spec lb.Spec, needs []lb.Need) (lb.Spec, []lb.File, error) {
	spec.Files = maps.Clone(spec.Files)
	var files []lb.File
	put := func(at string, content []byte) {
		if _, there := spec.Files[at]; there {
			return
		}
		name := "made for the run: " + at
		spec.Files[at] = name
		files = append(files, lb.NewFile(name, content))
	}
	var ca *authority
	for _, n := range needs {
		switch n.Kind {
		case lb.NeedDirectory:
			put(path.Join(n.Path, "index.html"), []byte("<!doctype html><title>lbproof</title><p>made for the run\n"))
		case lb.NeedCertificate:
			if ca == nil {
				made, err := newAuthority()
				if err != nil {
					return spec, nil, err
				}
				ca = made
			}
			chain, key, err := ca.issue(n.Hosts)
			if err != nil {
				return spec, nil, fmt.Errorf("%s: make the certificate %s: %w", n.Pos, n.Path, err)
			}
			if n.With == "" {
				put(n.Path, append(chain, key...))
				continue
			}
			put(n.Path, chain)
			put(n.With, key)
		}
	}
	return spec, files, nil
}

// authority is a certificate authority that lives as long as the run. Its keys are RSA, because cipher lists with names of
// RSA suites only are common and those with ECDSA only are not.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

const valid = 90 * 24 * time.Hour

func newAuthority() (*authority, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make the run's certificate authority: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lbproof run"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(valid),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the run's certificate authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the run's certificate authority: %w", err)
	}
	return &authority{cert, key}, nil
}

// issue makes a certificate with its chain, and its key, both as PEM.
func (a *authority) issue(hosts []string) (chain, key []byte, err error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	names := []string{"lbproof.test"}
	for _, h := range hosts {
		if h != "" {
			names = append(names, h)
		}
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[len(names)-1]}, DNSNames: names,
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
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
