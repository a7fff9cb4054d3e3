package stack

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

func TestSummarizeLog(t *testing.T) {
	log := `2026/11/21 10:12:07 [alert] 7#7: setrlimit(RLIMIT_NOFILE, 65535) failed (1: Operation not permitted)
172.21.0.3 - - [21/Nov/2026:10:12:07 +0000] "POST /models HTTP/1.1" 200 186 "-" "lbproof"
2026/11/21 10:12:08 [alert] 7#7: *1203 1024 worker_connections are not enough while connecting to upstream, client: 172.21.0.3, server: , request: "POST /models HTTP/1.1"
2026/11/21 10:12:09 [alert] 8#8: *1777 1024 worker_connections are not enough while connecting to upstream, client: 172.21.0.3, server: , request: "POST /models HTTP/1.1"
2026/11/21 10:12:09 [error] 8#8: *9 limiting requests, excess: 20.978 by zone "per_ip", client: 172.21.0.3
`
	startup := []model.StartupMessage{{Text: "2026/11/21 10:12:07 [alert] 8#8: setrlimit(RLIMIT_NOFILE, 65535) failed (1: Operation not permitted)"}}
	patterns, err := compilePatterns(model.LogPatterns{
		Warning:       `\[(alert|error)\]`,
		Prefix:        `^[0-9/: -]+(\[[a-z]+\]) [0-9]+#[0-9]+: (\*[0-9]+ )?`,
		RequestDetail: `, (client|server|request|upstream|host|referrer): .*$`,
	})
	require.NoError(t, err)
	got, err := patterns.summarize(strings.NewReader(log), startup)
	require.NoError(t, err)
	assert.Equal(t, []history.LogEntry{
		{Text: "[alert] 1024 worker_connections are not enough while connecting to upstream", Count: 2},
		{Text: `[error] limiting requests, excess: 20.978 by zone "per_ip"`, Count: 1},
	}, got)
}

func TestCompilePatterns(t *testing.T) {
	patterns, err := compilePatterns(model.LogPatterns{})
	require.NoError(t, err)
	assert.Equal(t, "2026 [error] it", patterns.normalize("2026 [error] it"))
	assert.Empty(t, patterns.startupMessages(plan.Spec{}, "[error] it\n", false), "an empty pattern matches no line")
	_, err = compilePatterns(model.LogPatterns{Prefix: "("})
	assert.ErrorContains(t, err, "config.dialect.log.prefix: error parsing regexp")
}
