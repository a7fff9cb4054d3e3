package reports

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/report"
)

// The balancer's own words stand beside what lbproof says of the same line, and its version has the last word.
func TestAnswerOfTheBalancer(t *testing.T) {
	at := model.Pos{File: "nginx.conf", Line: 42}
	problems := []model.Problem{{Pos: at, Effect: model.Rejected, Text: "sticky is NGINX Plus's before nginx 1.29.6", Instead: "hash", FixedIn: "1.29.6"}}
	f := func(want string, a *model.BalancerAnswer) {
		t.Helper()
		var b strings.Builder
		require.NoError(t, WriteAnswer(&b, report.Reading{Balancer: "nginx", Problems: problems, Checker: a, NotAsked: "no Docker"}))
		assert.Equal(t, want, b.String())
	}
	f("\nnginx itself was not asked: no Docker\n", nil)
	f("\nnginx/1.22.1 refuses the configuration:\n| [emerg] unknown directive \"sticky\" in nginx.conf:42\n"+
		"    that is: sticky is NGINX Plus's before nginx 1.29.6\n    instead: hash\n",
		&model.BalancerAnswer{Version: "nginx/1.22.1", Messages: []model.StartupMessage{{Pos: at, Text: `[emerg] unknown directive "sticky" in nginx.conf:42`}}})
	f("\nnginx/1.31.5 starts with the configuration, without a complaint\n"+
		"nginx.conf:42: this version takes it all the same: sticky is NGINX Plus's before nginx 1.29.6\n",
		&model.BalancerAnswer{Version: "nginx/1.31.5", Accepted: true, Started: true})
	f("\nhaproxy accepts the configuration, and does not start with it:\n| [ALERT] no\n"+
		"nginx.conf:42: this version takes it all the same: sticky is NGINX Plus's before nginx 1.29.6\n",
		&model.BalancerAnswer{Version: "haproxy", Accepted: true, Messages: []model.StartupMessage{{Text: "[ALERT] no"}}})
}
