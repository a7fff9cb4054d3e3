package lbconfigs

import (
	"regexp"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// haproxyEdits change HAProxy's keywords so that they promise something else.
var haproxyEdits = Edits{
	Parameters: []Edit{
		{regexp.MustCompile(`\bweight +(\d+)`), Unlike, []string{"weights", "algorithm", "sticky", "split"}},
		{regexp.MustCompile(`\bmaxconn (\d+)`), Unlike, []string{"conns"}},
		{regexp.MustCompile(`\bfall (\d+)`), Increment, []string{"active"}},
		{regexp.MustCompile(`\brise (\d+)`), Increment, []string{"active"}},
		{regexp.MustCompile(`\binter (\d+m?s?)`), Double, []string{"active"}},
		{regexp.MustCompile(`( backup)\b`), Drop, []string{"backup"}},
		{regexp.MustCompile(`\b(?:gt|ge) (\d+)`), Reduce, nil},
	},
	Whole: []Edit{
		{Find: regexp.MustCompile(`\bssl-min-ver (TLSv1\.2)`), By: Put("TLSv1.3")},
		{Find: regexp.MustCompile(`\b(no-tlsv11|no-tlsv10|no-sslv3)`), By: Drop},
		{Find: regexp.MustCompile(`^ssl-default-bind-ciphers .*?([A-Z0-9-]+)$`), By: Put("ECDHE-RSA-AES128-SHA")},
		{Find: regexp.MustCompile(`\b(h2,http/1\.1)\b`), By: Drop},
		{Find: regexp.MustCompile(`^(?:http-response set-header|http-request set-header) [\w-]+ +(.+?);?$`), By: Put("lbproof")},
		{Find: regexp.MustCompile(`^(hash|balance)\b`), By: nil},
		{Find: regexp.MustCompile(`^(option)\b`), By: nil},
	},
	Removable: func(_ model.Config, line string) bool {
		first, _, _ := strings.Cut(line, " ")
		return !slices.Contains([]string{"global", "defaults", "frontend", "backend", "listen", "bind", "server"}, first)
	},
}
