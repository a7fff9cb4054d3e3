package nginx

import (
	"strings"
	"testing"
	"testing/fstest"

	crossplane "github.com/nginxinc/nginx-go-crossplane"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUnknownDirectives(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		config := "events {}\nhttp { server { location / {\n" + line + "\nproxy_pass http://a; } } }\n"
		cfg, err := readConfig(fstest.MapFS{"nginx.conf": {Data: []byte(config)}}, "nginx.conf")
		require.NoError(t, err)
		if assert.Len(t, cfg.Problems, 1) {
			assert.Equal(t, want, cfg.Problems[0].Text)
			assert.Equal(t, "nginx.conf:3", cfg.Problems[0].Pos.String())
		}
	}
	f("proxy_pas http://a;", "proxy_pas: unknown directive; did you mean proxy_pass?")
	f("frobnicate on;", "frobnicate: unknown directive")
	f(`more_set_headers "Server: x";`, "more_set_headers: directive of headers-more, which nginx does not include")
	f("brotli on;", "brotli: directive of ngx_brotli, which nginx does not include")
	f("lua_code_cache on;", "lua_code_cache: directive of lua-nginx-module, which nginx does not include")
	f("health_check;", "health_check: only in NGINX Plus")
}

// A loaded module may have any directive.
func TestDirectivesOfLoadedModules(t *testing.T) {
	config := "load_module modules/x.so;\nevents {}\n" +
		"http { server { location / { more_set_headers x; proxy_pass http://a; } } }\n"
	cfg, err := readConfig(fstest.MapFS{"nginx.conf": {Data: []byte(config)}}, "nginx.conf")
	require.NoError(t, err)
	assert.Empty(t, cfg.Problems)
}

func TestDirectiveNamesAreKnown(t *testing.T) {
	names := strings.Fields(directiveNames)
	assert.Greater(t, len(names), 500)
	for _, name := range names {
		_, known := crossplane.MatchOssLatest(name)
		assert.True(t, known, name)
	}
	for name := range unreadReasons {
		_, isPlus := crossplane.MatchNginxPlusLatest(name)
		assert.True(t, isPlus, name)
	}
}
