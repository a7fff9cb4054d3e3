package stack

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Certificates are for the names that the configuration gives, from one authority, with the key where it is looked for.
func TestFurnish(t *testing.T) {
	spec := plan.Spec{Files: map[string]string{"/etc/nginx/nginx.conf": "nginx.conf"}}
	out, files, err := new(Authority).Furnish(spec, []model.Need{
		{Kind: model.NeedCertificate, Path: "/a.crt", With: "/a.key", Hosts: []string{"a.example", "*.b.example", ""}},
		{Kind: model.NeedCertificate, Path: "/a.crt", With: "/a.key", Hosts: []string{"again"}},
		{Kind: model.NeedCertificate, Path: "/both.pem"},
		{Kind: model.NeedDirectory, Path: "/var/www"},
		{Kind: model.NeedHost, Path: "auth:80"},
	})
	require.NoError(t, err)
	assert.Len(t, spec.Files, 1, "the plan's own spec is left alone")
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
	assert.Error(t, verify(pair, "again"), "the first that asks for a file has it")
	assert.NoError(t, verify(both, "lbproof.test"), "one authority for all")
}

// The module that builds a program has what the program's own module replaces and excludes, which a mere require would lose.
func TestGoMod(t *testing.T) {
	theirs := filepath.Join(t.TempDir(), "go.mod")
	require.NoError(t, os.WriteFile(theirs, []byte("module m.example/m\n\ngo 1.25.0\n\nreplace a.example => b.example v1.2.3\n\nexclude c.example v0.0.1\n"), 0o600))
	got, err := goMod(&plan.Module{Path: "m.example/m", Version: "v3.0.0"}, theirs)
	require.NoError(t, err)
	assert.Equal(t, "module lbproof.invalid/tools\n\ngo 1.25.0\n\nrequire m.example/m v3.0.0\nreplace a.example  => b.example v1.2.3\nexclude c.example v0.0.1\n", got)
}

// What balancers complain of is told with the user's file and line; the rest of their logs is not.
func TestComplaints(t *testing.T) {
	spec := plan.Spec{Files: map[string]string{"/etc/nginx/nginx.conf": "lb.conf", "/etc/haproxy/haproxy.cfg": "lb.cfg"}}
	f := func(log string, want ...model.Said) {
		t.Helper()
		assert.Equal(t, want, complaints(spec, log, false))
	}
	f("nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\n")
	f("2026/11/21 [emerg] 1#1: unknown directive \"x\" in /etc/nginx/nginx.conf:7\n",
		model.Said{Pos: model.Pos{File: "lb.conf", Line: 7}, Text: `2026/11/21 [emerg] 1#1: unknown directive "x" in lb.conf:7`})
	f("[NOTICE] (1) : hello\n[ALERT] (1) : config : parsing [/etc/haproxy/haproxy.cfg:48] : bad\n[WARNING] (1) : Server b/s is DOWN, reason: x\n",
		model.Said{Pos: model.Pos{File: "lb.cfg", Line: 48}, Text: "[ALERT] (1) : config : parsing [lb.cfg:48] : bad"})
	f("\x1b[90m2026\x1b[0m \x1b[31mERR\x1b[0m no\n", model.Said{Text: "2026 ERR no"})
	assert.Equal(t, []model.Said{{Text: "just this"}}, complaints(spec, "just this\n", true))
	assert.Equal(t, "HAProxy version 2.6.12 2026/10/17", VersionLine("\nHAProxy version 2.6.12   2026/10/17\nStatus: x\n"))
}

// Each flaw is what a client that verifies says of it, and nothing else is wrong with the certificate.
func TestFlaws(t *testing.T) {
	var a Authority
	own, err := a.PEM()
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(own))
	f := func(flaw Flaw, want string) {
		t.Helper()
		needs := []model.Need{{Kind: model.NeedCertificate, Path: "/both.pem", Hosts: []string{"a.example", "192.0.2.1"}}, {Kind: model.NeedAuthority, Path: "/ca.pem"}}
		files, err := a.Certificates(needs, flaw)
		require.NoError(t, err)
		require.Len(t, files, 2)
		assert.Equal(t, string(own), string(files[1].Content), "the authority stays who it is")
		pair, err := tls.X509KeyPair(files[0].Content, files[0].Content)
		require.NoError(t, err)
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		require.NoError(t, err)
		for _, name := range []string{"a.example", "192.0.2.1", plan.AnyHost} {
			if flaw == OtherName && name != plan.AnyHost {
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
	f(Early, " is before ")
	f(OtherName, "certificate is valid for another.lbproof.test, not lbproof.test")
	f(Unknown, "unknown authority")
}
