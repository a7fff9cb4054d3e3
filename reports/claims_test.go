package reports

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
)

// The balancer's messages appear with lbproof's problem on the same line; a part that it accepts is reported as such.
func TestBalancerAnswer(t *testing.T) {
	at := model.Pos{File: "nginx.conf", Line: 42}
	problems := []model.Problem{{Pos: at, Effect: model.Rejected, Text: "sticky needs NGINX Plus or nginx 1.29.6", Instead: "hash", FixedIn: "1.29.6"}}
	f := func(want string, a *model.BalancerAnswer) {
		t.Helper()
		var b strings.Builder
		writeAnswer(&b, report.Reading{Balancer: "nginx", Problems: problems, Checker: a, NotAsked: "no Docker"})
		assert.Equal(t, want, b.String())
	}
	f("\nnginx was not run: no Docker\n", nil)
	f("\nREFUSED  nginx 1.22.1 rejects the configuration:\n| [emerg] unknown directive \"sticky\" in nginx.conf:42\n"+
		"   that is   sticky needs NGINX Plus or nginx 1.29.6\n   instead   hash\n",
		&model.BalancerAnswer{Version: "nginx/1.22.1", Messages: []model.StartupMessage{{Pos: at, Text: `[emerg] unknown directive "sticky" in nginx.conf:42`}}})
	f("\nnginx 1.31.5 starts with the configuration\n"+
		"nginx.conf:42: accepted by this version: sticky needs NGINX Plus or nginx 1.29.6\n",
		&model.BalancerAnswer{Version: "nginx/1.31.5", Accepted: true, Started: true})
	f("\nREFUSED  nginx 2.6.12 accepts the configuration but does not start:\n| [ALERT] no\n"+
		"nginx.conf:42: accepted by this version: sticky needs NGINX Plus or nginx 1.29.6\n",
		&model.BalancerAnswer{Version: "HAProxy version 2.6.12-1 2026/10/17", Accepted: true, Messages: []model.StartupMessage{{Text: "[ALERT] no"}}})
}

// Numbers have units and no exponents.
func TestAmounts(t *testing.T) {
	assert.Equal(t, "max_bytes = 1 MiB (1,048,576 B)", amount(plan.ParamMaxBytes, 1<<20))
	assert.Equal(t, "attempts = unlimited", amount(plan.ParamAttempts, plan.Unlimited))
	assert.Equal(t, "timeout = 60 s", amount(plan.ParamTimeout, 60))
	assert.Equal(t, "ejection_min = 10 s", amount(plan.ParamEjectionMin, 10))
	assert.Equal(t, "spacing = 0.5 ms", amount(plan.ParamSpacing, 0.5))
	assert.Equal(t, "rate = 20,000/s", amount(plan.ParamRate, 20000))
	assert.Equal(t, "code = 200", amount(plan.ParamCode, 200))
	assert.Equal(t, "a:80 = 33.33 %", amount("a:80", 1.0/3))
}
