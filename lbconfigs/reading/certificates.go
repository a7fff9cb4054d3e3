package reading

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
)

// expiresSoon is how long before its end a certificate should have been renewed: with a third of 90 days left, as certbot does it.
const expiresSoon = 30 * 24 * time.Hour

// CheckCertificates complains of certificates that clients will not take, or not for long. Those that cannot be read here, because
// they lie elsewhere than the configuration, are passed over: for runs others are made in their places.
func CheckCertificates(fsys fs.FS, cfg *model.Config, now time.Time) {
	for _, t := range cfg.TLS {
		text, err := fs.ReadFile(fsys, t.Certificate)
		if t.Certificate == "" || err != nil {
			continue
		}
		complain := func(instead, format string, args ...any) {
			cfg.Problems = append(cfg.Problems, model.Problem{
				Pos: t.CertPos, Effect: model.Differs, Text: fmt.Sprintf("%s %s", t.Certificate, fmt.Sprintf(format, args...)), Instead: instead,
			})
		}
		chain := parseChain(text)
		if len(chain) == 0 {
			complain("a file in PEM form, the server's own certificate first", "holds no certificate that can be read")
			continue
		}
		leaf := chain[0]
		switch left := leaf.NotAfter.Sub(now); {
		case now.Before(leaf.NotBefore):
			complain("one that is valid now", "is valid only from %s on: clients refuse it until then", leaf.NotBefore.Format(time.DateOnly))
		case left < 0:
			complain("a renewed one", "has expired on %s: clients refuse it", leaf.NotAfter.Format(time.DateOnly))
		case left < expiresSoon:
			complain("a renewed one", "expires on %s, in %d days", leaf.NotAfter.Format(time.DateOnly), int(left.Hours()/24))
		}
		for _, host := range t.Hosts {
			if host == "" || leaf.VerifyHostname(strings.Replace(host, "*", "any", 1)) == nil {
				continue
			}
			complain("one for "+host, "is for %s: clients of %s refuse it", strings.Join(leaf.DNSNames, ", "), host)
		}
		known := x509.NewCertPool()
		for _, c := range chain[1:] {
			known.AddCert(c)
		}
		_, err = leaf.Verify(x509.VerifyOptions{Intermediates: known, CurrentTime: leaf.NotBefore.Add(time.Minute)})
		var unknown x509.UnknownAuthorityError
		if errors.As(err, &unknown) && len(chain) == 1 && leaf.Issuer.String() != leaf.Subject.String() {
			complain("the certificates up to the root's in the same file, after the server's own",
				"stands alone, and this machine does not know who signed it (%s): clients that do not either cannot check it", leaf.Issuer)
		}
	}
}

// parseChain reads the certificates of a PEM file.
func parseChain(text []byte) (chain []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return chain
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			chain = append(chain, c)
		}
	}
}
