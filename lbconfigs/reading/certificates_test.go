package reading_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	numbers "math/big"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/lbconfigs"
)

// certificate returns one for a.example, signed by itself or else by an unknown authority.
func certificate(t *testing.T, from, to time.Duration, alone bool) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	own := &x509.Certificate{
		SerialNumber: numbers.NewInt(1), Subject: pkix.Name{CommonName: "a"}, DNSNames: []string{"a.example"},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to),
	}
	parent := own
	if !alone {
		parent = &x509.Certificate{SerialNumber: numbers.NewInt(2), Subject: pkix.Name{CommonName: "nobody's authority"}}
	}
	der, err := x509.CreateCertificate(rand.Reader, own, parent, key.Public(), key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// rooted finds files by absolute paths, too.
type rooted fstest.MapFS

func (r rooted) Open(name string) (fs.File, error) {
	return fstest.MapFS(r).Open(strings.TrimPrefix(name, "/"))
}

// A certificate that clients reject is reported with the line that names it.
func TestCertificates(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name, host string
		content    []byte
		want       []string
	}{
		{"good", "a.example", certificate(t, -day, 90*day, true), nil},
		{"expires soon", "a.example", certificate(t, -day, 10*day+time.Hour, true), []string{"in 10 days"}},
		{"expired", "a.example", certificate(t, -9*day, -day, true), []string{"expired on"}},
		{"not yet", "a.example", certificate(t, day, 90*day, true), []string{"is not valid before"}},
		{"another name", "b.example", certificate(t, -day, 90*day, true), []string{
			"is for a.example: clients of b.example reject it",
		}},
		{"no chain", "a.example", certificate(t, -day, 90*day, false), []string{
			"has no chain, and its issuer is not trusted on this machine (CN=nobody's authority)",
		}},
		{"nothing", "a.example", []byte("no"), []string{"contains no readable certificate"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := strings.ReplaceAll("events {}\nhttp { server { listen 443 ssl; server_name HOST;\n"+
				"ssl_certificate /c/cert.pem; ssl_certificate_key /c/key.pem; return 200; } }\n", "HOST", c.host)
			fsys := rooted{"nginx.conf": {Data: []byte(config)}, "c/cert.pem": {Data: c.content}}
			cfg, err := lbconfigs.Read(fsys, "nginx.conf", "")
			require.NoError(t, err)
			var texts []string
			for _, p := range cfg.Problems {
				texts = append(texts, p.Text)
				assert.Equal(t, 3, p.Pos.Line)
			}
			require.Len(t, texts, len(c.want), "%v", texts)
			for i, want := range c.want {
				assert.Contains(t, texts[i], want)
			}
		})
	}
}
