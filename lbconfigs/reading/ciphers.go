package reading

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// cipherSuite matches the names of the cipher suites that OpenSSL 1.1 and 3 know, up to TLS 1.2 (openssl-ciphers(1)).
var cipherSuite = regexp.MustCompile(`^((ECDHE|DHE|RSA-PSK|DHE-PSK|ECDHE-PSK|PSK|SRP|ADH|AECDH)(-(RSA|ECDSA|DSS))?-)?` +
	`((AES(128|256)|CAMELLIA(128|256)|ARIA(128|256))(-GCM-SHA(256|384)|-SHA(256|384)?|-CCM8?)|` +
	`(AES128-(GCM-)?SHA256|AES256-(GCM-SHA384|SHA256))|` +
	`CHACHA20-POLY1305(-SHA256)?|DES-CBC3-SHA|NULL-(SHA(256|384)?|MD5)|SEED-SHA|RC4-(SHA|MD5))$`)

// sharedKeySuite matches suites with pre-shared keys and passwords by their form: they are rarely mistyped.
var sharedKeySuite = regexp.MustCompile(`^([A-Z]+-)?(PSK|SRP)-[A-Z0-9-]+$`)

// invalidSuite matches names that cipherSuite allows although AES-256-GCM needs SHA384 and AES-128-GCM SHA256.
var invalidSuite = regexp.MustCompile(`(AES256|CAMELLIA256|ARIA256)-GCM-SHA256$|` +
	`(AES128|CAMELLIA128|ARIA128)-(GCM-SHA384|SHA384)$`)

// cipherKeyword matches names of groups of suites, and of TLS 1.3 suites.
var cipherKeyword = regexp.MustCompile(`^(TLS_.*|PROFILE=.*|` +
	`(ALL|COMPLEMENTOFALL|DEFAULT|COMPLEMENTOFDEFAULT|HIGH|MEDIUM|LOW|EXP(ORT)?\d*|[ae]?NULL|` +
	`[ka]?(RSA|DSS|ECDSA|EECDH|ECDHE?r?e?|EDH|DHE|ADH|AECDH|PSK|SRP|GOST\d*)|ECDH|DH|FIPS|TLSv1(\.\d)?|SSLv[23]|` +
	`AES(128|256)?(GCM|CCM8?)?|CHACHA20|CAMELLIA(128|256)?|ARIA(128|256)?|3?DES|RC[24]|IDEA|SEED|` +
	`MD5|SHA1?|SHA(256|384)|SUITEB\d*(ONLY)?|CBC|[A-Za-z0-9]+(\+[A-Za-z0-9]+)+))$`)

// CheckCiphers reports the names of a cipher list that no OpenSSL knows. OpenSSL ignores them, and rejects a list
// without any known name.
func CheckCiphers(pos model.Pos, list string) []model.Problem {
	var unknown, known []string
	for _, name := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(": ,", r) }) {
		name, _, _ = strings.Cut(name, "@") // @STRENGTH and @SECLEVEL=N
		bare := strings.TrimLeft(name, "!-+")
		switch {
		case name == "":
		case !isCipher(bare):
			unknown = append(unknown, name)
		case bare == name:
			known = append(known, name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	p := model.Problem{
		Pos: pos, Effect: model.Dropped,
		Text: fmt.Sprintf("OpenSSL ignores unknown cipher suites: %s", strings.Join(unknown, ", ")),
	}
	if len(known) == 0 {
		p.Effect = model.Rejected
		p.Text = fmt.Sprintf("OpenSSL knows none of the cipher suites: %s", strings.Join(unknown, ", "))
	}
	if corrected := correctHashes.Replace(list); corrected != list {
		p.Instead = corrected
	}
	return []model.Problem{p}
}

// correctHashes corrects a common mistake: no GCM suite uses SHA512.
var correctHashes = strings.NewReplacer("256-GCM-SHA512", "256-GCM-SHA384", "128-GCM-SHA512", "128-GCM-SHA256")

// isCipher reports whether OpenSSL may know a name of a cipher list.
func isCipher(name string) bool {
	if sharedKeySuite.MatchString(name) || cipherKeyword.MatchString(name) {
		return true
	}
	return cipherSuite.MatchString(name) && !invalidSuite.MatchString(name)
}
