package lbconfigs

import (
	"regexp"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// nginxEdits change nginx's directives so that they promise something else.
var nginxEdits = Edits{
	Parameters: []Edit{
		{regexp.MustCompile(`\bweight=(\d+)`), Unlike, []string{"weights", "algorithm", "sticky", "split"}},
		{regexp.MustCompile(`\bmax_fails=(\d+)`), Increment, []string{"passive"}},
		{regexp.MustCompile(`\bfail_timeout=(\d+m?s?)`), Half, []string{"passive"}},
		{regexp.MustCompile(`\bmax_conns=(\d+)`), Tighten, []string{"conns"}},
		{regexp.MustCompile(`( backup)\b`), Drop, []string{"backup"}},
		{regexp.MustCompile(`( down)\b`), Drop, []string{"drained"}},
		{regexp.MustCompile(`( nodelay)\b`), Drop, nil},
		{regexp.MustCompile(`\bdelay=(\d+)`), Unlike, nil},
		{regexp.MustCompile(`\bburst=(\d+)`), Reduce, nil},
		{regexp.MustCompile(`\brate=(\d+)r`), Reduce, nil},
		{regexp.MustCompile(`^limit_conn \w+ (\d+)`), Reduce, nil},
		{regexp.MustCompile(`( always)\b`), Drop, []string{"response"}},
	},
	Whole: []Edit{
		{Find: regexp.MustCompile(`^return (30[1278])`), By: func(old string) string {
			return map[string]string{"301": "302", "302": "301", "307": "308", "308": "307"}[old]
		}},
		{Find: regexp.MustCompile(`^return \d+ "(.*)"`), By: Put("lbproof")},
		{Find: regexp.MustCompile(`\bssl_protocols (TLSv1\.2) TLSv1\.3`), By: Drop},
		{Find: regexp.MustCompile(`^ssl_ciphers .*?([A-Z0-9-]+);$`), By: Put("ECDHE-RSA-AES128-SHA")},
		{Find: regexp.MustCompile(`\b(http2)\b`), By: Drop},
		{Find: regexp.MustCompile(`^(?:proxy_set_header|add_header) [\w-]+ +(.+?);?$`), By: Put("lbproof")},
		{Find: regexp.MustCompile(`^(least_conn|ip_hash|random|hash)\b`), By: nil},
		{Find: regexp.MustCompile(`^(ssl_session_cache)\b`), By: nil},
		{Find: regexp.MustCompile(`^(keepalive|stub_status|proxy_next_upstream|allow|deny)\b`), By: nil},
	},
	Inner: regexp.MustCompile(`\{\s*([^{};]+;)\s*\}\s*$`),
	Removable: func(_ model.Config, line string) bool {
		return strings.HasSuffix(line, ";") && !strings.ContainsAny(line, "{}")
	},
}
