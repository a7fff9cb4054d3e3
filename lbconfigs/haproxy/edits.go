package haproxy

import (
	"regexp"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// edits change HAProxy's keywords so that they promise something else.
var edits = reading.Edits{
	Parameters: []reading.Edit{
		{Find: regexp.MustCompile(`\bweight +(\d+)`), By: reading.Unlike, Checks: []plan.Check{
			plan.CheckWeights, plan.CheckAlgorithm, plan.CheckSticky, plan.CheckSplit,
		}},
		{Find: regexp.MustCompile(`\bmaxconn (\d+)`), By: reading.Unlike, Checks: []plan.Check{plan.CheckConns}},
		{Find: regexp.MustCompile(`\bfall (\d+)`), By: reading.Increment, Checks: []plan.Check{plan.CheckActive}},
		{Find: regexp.MustCompile(`\brise (\d+)`), By: reading.Increment, Checks: []plan.Check{plan.CheckActive}},
		{Find: regexp.MustCompile(`\binter (\d+m?s?)`), By: reading.Double, Checks: []plan.Check{plan.CheckActive}},
		{Find: regexp.MustCompile(`( backup)\b`), By: reading.Drop, Checks: []plan.Check{plan.CheckBackup}},
		{Find: regexp.MustCompile(`\b(?:gt|ge) (\d+)`), By: reading.Reduce, Checks: nil},
	},
	Whole: []reading.Edit{
		{Find: regexp.MustCompile(`\bssl-min-ver (TLSv1\.2)`), By: reading.Put("TLSv1.3")},
		{Find: regexp.MustCompile(`\b(no-tlsv11|no-tlsv10|no-sslv3)`), By: reading.Drop},
		{Find: regexp.MustCompile(`^ssl-default-bind-ciphers .*?([A-Z0-9-]+)$`), By: reading.Put("ECDHE-RSA-AES128-SHA")},
		{Find: regexp.MustCompile(`\b(h2,http/1\.1)\b`), By: reading.Drop},
		{
			Find: regexp.MustCompile(`^(?:http-response set-header|http-request set-header) [\w-]+ +(.+?);?$`),
			By:   reading.Put("lbproof"),
		},
		{Find: regexp.MustCompile(`^(hash|balance)\b`), By: nil},
		{Find: regexp.MustCompile(`^(option)\b`), By: nil},
	},
	Removable: func(_ model.Config, line string) bool {
		first, _, _ := strings.Cut(line, " ")
		return !slices.Contains([]string{"global", "defaults", "frontend", "backend", "listen", "bind", "server"}, first)
	},
}
