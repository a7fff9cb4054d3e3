package haproxy

import (
	"regexp"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// edits change HAProxy's keywords so that they claim something else.
var edits = reading.Edits{
	Parameters: []reading.Edit{
		{Find: regexp.MustCompile(`\bweight +(\d+)`), Replace: reading.NearbyNumber, Checks: []plan.Check{
			plan.CheckWeights, plan.CheckAlgorithm, plan.CheckSticky, plan.CheckSplit,
		}},
		{Find: regexp.MustCompile(`\bmaxconn (\d+)`), Replace: reading.NearbyNumber, Checks: []plan.Check{plan.CheckConns}},
		{Find: regexp.MustCompile(`\bfall (\d+)`), Replace: reading.Increment, Checks: []plan.Check{plan.CheckActive}},
		{Find: regexp.MustCompile(`\brise (\d+)`), Replace: reading.Increment, Checks: []plan.Check{plan.CheckActive}},
		{Find: regexp.MustCompile(`\binter (\d+m?s?)`), Replace: reading.Double, Checks: []plan.Check{plan.CheckActive}},
		{Find: regexp.MustCompile(`( backup)\b`), Replace: reading.Delete, Checks: []plan.Check{plan.CheckBackup}},
		{Find: regexp.MustCompile(`\b(?:gt|ge) (\d+)`), Replace: reading.Reduce, Checks: nil},
	},
	WholeLine: []reading.Edit{
		{Find: regexp.MustCompile(`\bssl-min-ver (TLSv1\.2)`), Replace: reading.ReplaceWith("TLSv1.3")},
		{Find: regexp.MustCompile(`\b(no-tlsv11|no-tlsv10|no-sslv3)`), Replace: reading.Delete},
		{
			Find:    regexp.MustCompile(`^ssl-default-bind-ciphers .*?([A-Z0-9-]+)$`),
			Replace: reading.ReplaceWith("ECDHE-RSA-AES128-SHA"),
		},
		{Find: regexp.MustCompile(`\b(h2,http/1\.1)\b`), Replace: reading.Delete},
		{
			Find:    regexp.MustCompile(`^(?:http-response set-header|http-request set-header) [\w-]+ +(.+?);?$`),
			Replace: reading.ReplaceWith("lbproof"),
		},
		{Find: regexp.MustCompile(`^(hash|balance)\b`), Replace: nil},
		{Find: regexp.MustCompile(`^(option)\b`), Replace: nil},
	},
	IsRemovable: func(_ model.Config, line string) bool {
		first, _, _ := strings.Cut(line, " ")
		return !slices.Contains([]string{"global", "defaults", "frontend", "backend", "listen", "bind", "server"}, first)
	},
}
