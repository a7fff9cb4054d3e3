package reading

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
)

// Names of cipher suites are those that OpenSSL 3.0 lists (openssl ciphers -s -v ALL), and keywords of its manual.
func TestCipherNames(t *testing.T) {
	for _, known := range []string{
		"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256", "DHE-RSA-CHACHA20-POLY1305", "AES256-SHA",
		"ECDHE-RSA-AES256-SHA384", "DHE-RSA-AES256-SHA256", "AES128-SHA256", "HIGH", "!aNULL", "kEECDH+AESGCM",
		"DEFAULT@SECLEVEL=1", "ALL:@STRENGTH", "PROFILE=SYSTEM", "ALL:!SSLv2", "ECDHE-PSK-AES256-CBC-SHA384",
		"TLS_AES_256_GCM_SHA384", "EECDH+AESGCM", "!MD5",
	} {
		assert.Empty(t, CheckCiphers(pos(1), known), known)
	}
	for _, unknown := range []string{
		"ECDHE-RSA-AES256-GCM-SHA512", "DHE-RSA-AES256-GCM-SHA512", "ECDHE-RSA-AES256-GCM-SHA256", "AES512-SHA",
	} {
		problems := CheckCiphers(pos(1), unknown)
		if assert.Len(t, problems, 1, unknown) {
			assert.Equal(t, "rejected", string(problems[0].Effect))
		}
		problems = CheckCiphers(pos(1), "HIGH:"+unknown)
		if assert.Len(t, problems, 1, unknown) {
			assert.Equal(t, "dropped", string(problems[0].Effect))
		}
	}
}

func pos(line int) model.Pos { return model.Pos{File: "f", Line: line} }
