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
	"github.com/lbproof/lbproof/internal/units"
)

// renewalWindow is the remaining lifetime at which certificates are renewed: a third of 90 days, as certbot does.
const renewalWindow = 30 * 24 * time.Hour

// CheckCertificates reports certificates that clients reject, or soon will. Certificates that cannot be read, because
// they are not next to the configuration, are skipped: runs use generated ones.
func CheckCertificates(fsys fs.FS, cfg *model.Config, now time.Time) {
	for _, t := range cfg.TLS {
		text, err := fs.ReadFile(fsys, t.Certificate)
		if t.Certificate == "" || err != nil {
			continue
		}
		report := func(instead, format string, args ...any) {
			cfg.Problems = append(cfg.Problems, model.Problem{
				Pos: t.CertPos, Effect: model.Misleading,
				Text:    fmt.Sprintf("%s %s", t.Certificate, fmt.Sprintf(format, args...)),
				Instead: instead,
			})
		}
		chain := parseChain(text)
		if len(chain) == 0 {
			report("a PEM file with the server certificate first", "contains no readable certificate")
			continue
		}
		checkDates(chain[0], now, report)
		checkNames(chain[0], t.Hosts, report)
		checkChain(chain, report)
	}
}

// reportProblem reports a problem of a certificate, and what to use instead.
type reportProblem func(instead, format string, args ...any)

// checkDates reports a certificate that is not valid now, or soon will not be.
func checkDates(leaf *x509.Certificate, now time.Time, report reportProblem) {
	from, until := leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly)
	switch left := leaf.NotAfter.Sub(now); {
	case now.Before(leaf.NotBefore):
		report("a certificate that is valid now", "is not valid before %s: clients reject it", from)
	case left < 0:
		report("a renewed certificate", "expired on %s: clients reject it", until)
	case left < renewalWindow:
		report("a renewed certificate", "expires on %s, in %s", until, units.Plural(int(left.Hours()/24), "day"))
	}
}

// checkNames reports hosts that a certificate does not cover.
func checkNames(leaf *x509.Certificate, hosts []string, report reportProblem) {
	for _, host := range hosts {
		if host == "" || leaf.VerifyHostname(strings.Replace(host, "*", "any", 1)) == nil {
			continue
		}
		report("a certificate for "+host, "is for %s: clients of %s reject it", strings.Join(leaf.DNSNames, ", "), host)
	}
}

// checkChain reports a certificate without its intermediate certificates.
func checkChain(chain []*x509.Certificate, report reportProblem) {
	leaf := chain[0]
	known := x509.NewCertPool()
	for _, c := range chain[1:] {
		known.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Intermediates: known, CurrentTime: leaf.NotBefore.Add(time.Minute)})
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) && len(chain) == 1 && leaf.Issuer.String() != leaf.Subject.String() {
		report("the server certificate followed by its chain, in the same file",
			"has no chain, and its issuer is not trusted on this machine (%s): other clients may reject it too",
			leaf.Issuer)
	}
}

// parseChain returns the certificates in a PEM file.
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
