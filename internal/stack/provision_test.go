package stack

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Certificates are for the names in the configuration and from one authority; each key is at its configured path.
func TestProvisionFiles(t *testing.T) {
	spec := plan.Spec{Files: map[string]string{"/etc/nginx/nginx.conf": "nginx.conf"}}
	out, files, err := new(Authority).ProvisionFiles(spec, []model.Need{
		{Kind: model.NeedCertificate, Path: "/a.crt", KeyFile: "/a.key", Hosts: []string{"a.example", "*.b.example", ""}},
		{Kind: model.NeedCertificate, Path: "/a.crt", KeyFile: "/a.key", Hosts: []string{"again"}},
		{Kind: model.NeedCertificate, Path: "/both.pem"},
		{Kind: model.NeedDirectory, Path: "/var/www"},
		{Kind: model.NeedHost, Path: "auth:80"},
	})
	require.NoError(t, err)
	assert.Len(t, spec.Files, 1, "the plan's spec is not modified")
	content := map[string][]byte{}
	for at, name := range out.Files {
		for _, f := range files {
			if f.Name == name {
				content[at] = f.Content
			}
		}
	}
	assert.Len(t, out.Files, 5)
	assert.Contains(t, string(content["/var/www/index.html"]), "lbproof")
	pair, err := tls.X509KeyPair(content["/a.crt"], content["/a.key"])
	require.NoError(t, err)
	both, err := tls.X509KeyPair(content["/both.pem"], content["/both.pem"])
	require.NoError(t, err)
	roots := x509.NewCertPool()
	block, rest := pem.Decode(content["/a.crt"])
	require.NotNil(t, block)
	require.True(t, roots.AppendCertsFromPEM(rest), "the authority follows in the chain")
	verify := func(pair tls.Certificate, name string) error {
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		require.NoError(t, err)
		_, err = leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots})
		return err
	}
	assert.NoError(t, verify(pair, "a.example"))
	assert.NoError(t, verify(pair, "x.b.example"))
	assert.Error(t, verify(pair, "again"), "the first need of a path wins")
	assert.NoError(t, verify(both, "lbproof.test"), "one authority for all")
}

// A verifying client reports exactly the intended flaw.
func TestCertificateFlaws(t *testing.T) {
	var a Authority
	own, err := a.PEM()
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(own))
	f := func(flaw CertificateFlaw, want string) {
		t.Helper()
		needs := []model.Need{{Kind: model.NeedCertificate, Path: "/both.pem", Hosts: []string{"a.example", "192.0.2.1"}}, {Kind: model.NeedAuthority, Path: "/ca.pem"}}
		files, err := a.Certificates(needs, flaw)
		require.NoError(t, err)
		require.Len(t, files, 2)
		assert.Equal(t, string(own), string(files[1].Content), "the same authority")
		pair, err := tls.X509KeyPair(files[0].Content, files[0].Content)
		require.NoError(t, err)
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		require.NoError(t, err)
		for _, name := range []string{"a.example", "192.0.2.1", plan.CertificateHost} {
			if flaw == WrongName && name != plan.CertificateHost {
				continue
			}
			_, err = leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots})
			if want == "" {
				assert.NoError(t, err, name)
			} else {
				assert.ErrorContains(t, err, want, name)
			}
		}
	}
	f("", "")
	f(Expired, " is after ")
	f(NotYetValid, " is before ")
	f(WrongName, "certificate is valid for another.lbproof.test, not lbproof.test")
	f(UnknownIssuer, "unknown authority")
}
