package nginx

import (
	"regexp"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// edits change nginx's directives so that they claim something else.
var edits = reading.Edits{
	Parameters: []reading.Edit{
		{Find: regexp.MustCompile(`\bweight=(\d+)`), Replace: reading.NearbyNumber, Checks: []plan.Check{
			plan.CheckWeights, plan.CheckAlgorithm, plan.CheckSticky, plan.CheckSplit,
		}},
		{Find: regexp.MustCompile(`\bmax_fails=(\d+)`), Replace: reading.Increment, Checks: []plan.Check{plan.CheckPassive}},
		{
			Find:    regexp.MustCompile(`\bfail_timeout=(\d+m?s?)`),
			Replace: reading.Half, Checks: []plan.Check{plan.CheckPassive},
		},
		{
			Find:    regexp.MustCompile(`\bmax_conns=(\d+)`),
			Replace: reading.ReduceSharply, Checks: []plan.Check{plan.CheckConns},
		},
		{Find: regexp.MustCompile(`( backup)\b`), Replace: reading.Delete, Checks: []plan.Check{plan.CheckBackup}},
		{Find: regexp.MustCompile(`( down)\b`), Replace: reading.Delete, Checks: []plan.Check{plan.CheckDrained}},
		{Find: regexp.MustCompile(`( nodelay)\b`), Replace: reading.Delete, Checks: nil},
		{Find: regexp.MustCompile(`\bdelay=(\d+)`), Replace: reading.NearbyNumber, Checks: nil},
		{Find: regexp.MustCompile(`\bburst=(\d+)`), Replace: reading.Reduce, Checks: nil},
		{Find: regexp.MustCompile(`\brate=(\d+)r`), Replace: reading.Reduce, Checks: nil},
		{Find: regexp.MustCompile(`^limit_conn \w+ (\d+)`), Replace: reading.Reduce, Checks: nil},
		{Find: regexp.MustCompile(`( always)\b`), Replace: reading.Delete, Checks: []plan.Check{plan.CheckResponse}},
	},
	WholeLine: []reading.Edit{
		{Find: regexp.MustCompile(`^return (30[1278])`), Replace: func(old string) string {
			return map[string]string{"301": "302", "302": "301", "307": "308", "308": "307"}[old]
		}},
		{Find: regexp.MustCompile(`^return \d+ "(.*)"`), Replace: reading.ReplaceWith("lbproof")},
		{Find: regexp.MustCompile(`\bssl_protocols (TLSv1\.2) TLSv1\.3`), Replace: reading.Delete},
		{Find: regexp.MustCompile(`^ssl_ciphers .*?([A-Z0-9-]+);$`), Replace: reading.ReplaceWith("ECDHE-RSA-AES128-SHA")},
		{Find: regexp.MustCompile(`\b(http2)\b`), Replace: reading.Delete},
		{
			Find:    regexp.MustCompile(`^(?:proxy_set_header|add_header) [\w-]+ +(.+?);?$`),
			Replace: reading.ReplaceWith("lbproof"),
		},
		{Find: regexp.MustCompile(`^(least_conn|ip_hash|random|hash)\b`), Replace: nil},
		{Find: regexp.MustCompile(`^(ssl_session_cache)\b`), Replace: nil},
		{Find: regexp.MustCompile(`^(keepalive|stub_status|proxy_next_upstream|allow|deny)\b`), Replace: nil},
	},
	Inner: regexp.MustCompile(`\{\s*([^{};]+;)\s*\}\s*$`),
	IsRemovable: func(_ model.Config, line string) bool {
		return strings.HasSuffix(line, ";") && !strings.ContainsAny(line, "{}")
	},
}
