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

// renewalWindow is how long before its end a certificate should have been renewed: with a third of 90 days left, as
// certbot does it.
const renewalWindow = 30 * 24 * time.Hour

// CheckCertificates complains of certificates that clients will not take, or not for long. Those that cannot be read
// here, because they lie elsewhere than the configuration, are passed over: for runs others are made in their places.
func CheckCertificates(fsys fs.FS, cfg *model.Config, now time.Time) {
	for _, t := range cfg.TLS {
		text, err := fs.ReadFile(fsys, t.Certificate)
		if t.Certificate == "" || err != nil {
			continue
		}
		complain := func(instead, format string, args ...any) {
			cfg.Problems = append(cfg.Problems, model.Problem{
				Pos: t.CertPos, Effect: model.Misleading,
				Text:    fmt.Sprintf("%s %s", t.Certificate, fmt.Sprintf(format, args...)),
				Instead: instead,
			})
		}
		chain := parseChain(text)
		if len(chain) == 0 {
			complain("a file in PEM form, the server's own certificate first", "holds no certificate that can be read")
			continue
		}
		checkDates(chain[0], now, complain)
		checkNames(chain[0], t.Hosts, complain)
		checkChain(chain, complain)
	}
}

// reportProblem tells what is wrong with a certificate, and what should stand in its place.
type reportProblem func(instead, format string, args ...any)

// checkDates complains of a certificate that is not valid now, or soon will not be.
func checkDates(leaf *x509.Certificate, now time.Time, complain reportProblem) {
	from, until := leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly)
	switch left := leaf.NotAfter.Sub(now); {
	case now.Before(leaf.NotBefore):
		complain("one that is valid now", "is valid only from %s on: clients refuse it until then", from)
	case left < 0:
		complain("a renewed one", "has expired on %s: clients refuse it", until)
	case left < renewalWindow:
		complain("a renewed one", "expires on %s, in %d days", until, int(left.Hours()/24))
	}
}

// checkNames complains of hosts for which a certificate does not hold.
func checkNames(leaf *x509.Certificate, hosts []string, complain reportProblem) {
	for _, host := range hosts {
		if host == "" || leaf.VerifyHostname(strings.Replace(host, "*", "any", 1)) == nil {
			continue
		}
		complain("one for "+host, "is for %s: clients of %s refuse it", strings.Join(leaf.DNSNames, ", "), host)
	}
}

// checkChain complains of a certificate that comes without those that lead to a root.
func checkChain(chain []*x509.Certificate, complain reportProblem) {
	leaf := chain[0]
	known := x509.NewCertPool()
	for _, c := range chain[1:] {
		known.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Intermediates: known, CurrentTime: leaf.NotBefore.Add(time.Minute)})
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) && len(chain) == 1 && leaf.Issuer.String() != leaf.Subject.String() {
		complain("the certificates up to the root's in the same file, after the server's own",
			"stands alone, and this machine does not know who signed it (%s): clients that do not either cannot check it",
			leaf.Issuer)
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
