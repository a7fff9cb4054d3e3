package nginx

import (
	"regexp"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// edits change nginx's directives so that they promise something else.
var edits = reading.Edits{
	Parameters: []reading.Edit{
		{Find: regexp.MustCompile(`\bweight=(\d+)`), By: reading.Unlike, Checks: []plan.Check{
			plan.CheckWeights, plan.CheckAlgorithm, plan.CheckSticky, plan.CheckSplit,
		}},
		{Find: regexp.MustCompile(`\bmax_fails=(\d+)`), By: reading.Increment, Checks: []plan.Check{plan.CheckPassive}},
		{Find: regexp.MustCompile(`\bfail_timeout=(\d+m?s?)`), By: reading.Half, Checks: []plan.Check{plan.CheckPassive}},
		{Find: regexp.MustCompile(`\bmax_conns=(\d+)`), By: reading.Tighten, Checks: []plan.Check{plan.CheckConns}},
		{Find: regexp.MustCompile(`( backup)\b`), By: reading.Drop, Checks: []plan.Check{plan.CheckBackup}},
		{Find: regexp.MustCompile(`( down)\b`), By: reading.Drop, Checks: []plan.Check{plan.CheckDrained}},
		{Find: regexp.MustCompile(`( nodelay)\b`), By: reading.Drop, Checks: nil},
		{Find: regexp.MustCompile(`\bdelay=(\d+)`), By: reading.Unlike, Checks: nil},
		{Find: regexp.MustCompile(`\bburst=(\d+)`), By: reading.Reduce, Checks: nil},
		{Find: regexp.MustCompile(`\brate=(\d+)r`), By: reading.Reduce, Checks: nil},
		{Find: regexp.MustCompile(`^limit_conn \w+ (\d+)`), By: reading.Reduce, Checks: nil},
		{Find: regexp.MustCompile(`( always)\b`), By: reading.Drop, Checks: []plan.Check{plan.CheckResponse}},
	},
	Whole: []reading.Edit{
		{Find: regexp.MustCompile(`^return (30[1278])`), By: func(old string) string {
			return map[string]string{"301": "302", "302": "301", "307": "308", "308": "307"}[old]
		}},
		{Find: regexp.MustCompile(`^return \d+ "(.*)"`), By: reading.Put("lbproof")},
		{Find: regexp.MustCompile(`\bssl_protocols (TLSv1\.2) TLSv1\.3`), By: reading.Drop},
		{Find: regexp.MustCompile(`^ssl_ciphers .*?([A-Z0-9-]+);$`), By: reading.Put("ECDHE-RSA-AES128-SHA")},
		{Find: regexp.MustCompile(`\b(http2)\b`), By: reading.Drop},
		{Find: regexp.MustCompile(`^(?:proxy_set_header|add_header) [\w-]+ +(.+?);?$`), By: reading.Put("lbproof")},
		{Find: regexp.MustCompile(`^(least_conn|ip_hash|random|hash)\b`), By: nil},
		{Find: regexp.MustCompile(`^(ssl_session_cache)\b`), By: nil},
		{Find: regexp.MustCompile(`^(keepalive|stub_status|proxy_next_upstream|allow|deny)\b`), By: nil},
	},
	Inner: regexp.MustCompile(`\{\s*([^{};]+;)\s*\}\s*$`),
	Removable: func(_ model.Config, line string) bool {
		return strings.HasSuffix(line, ";") && !strings.ContainsAny(line, "{}")
	},
}
