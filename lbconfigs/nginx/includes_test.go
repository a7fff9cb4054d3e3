package nginx_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/lbconfigs"
)

// The size of a configuration with includes expanded is limited, and counting it takes no more than its files.
func TestIncludesOfIncludes(t *testing.T) {
	f := func(want, last string, depth int, between string) {
		t.Helper()
		files := fstest.MapFS{"nginx.conf": {Data: []byte("events {}\nhttp {\n  include 0.conf;\n}\n")}}
		for i := range depth {
			files[fmt.Sprintf("%d.conf", i)] = &fstest.MapFile{
				Data: []byte(strings.ReplaceAll(between, "NEXT", fmt.Sprintf("%d.conf", i+1))),
			}
		}
		files[fmt.Sprintf("%d.conf", depth)] = &fstest.MapFile{Data: []byte(last)}
		_, err := lbconfigs.Read(files, "nginx.conf", "")
		if want == "" {
			assert.NoError(t, err)
			return
		}
		assert.ErrorContains(t, err, want)
	}
	const server = "server { location / { return 200; } }\n"
	f("", server, 50, "include NEXT;\n")
	f(".conf:2: more than 10,000 includes", server, 40, "include NEXT;\ninclude NEXT;\n")
	f(".conf:1: more than 1,000,000 directives",
		strings.Repeat("gzip on;\n", 100_000), 3, strings.Repeat("include NEXT; ", 10))
	f(".conf:1: nested more than 64 levels deep", "return 200;", 70, "location / { include NEXT; }")
}

// As in nginx, a wildcard does not match a leading dot, and may match nothing.
func TestWildcards(t *testing.T) {
	read := func(include string) []string {
		t.Helper()
		cfg, err := lbconfigs.Read(fstest.MapFS{
			"nginx.conf":       {Data: []byte("events {}\nhttp {\n  include " + include + ";\n}\n")},
			"d/a/x.conf":       {Data: []byte("server { location / { return 200; } }")},
			"d/b/x.conf":       {Data: []byte("server { location / { return 200; } }")},
			"d/b/.#x.conf":     {Data: []byte("of an editor\x00")},
			"d/not-a-dir.conf": {Data: []byte("server { location / { return 200; } }")},
		}, "nginx.conf", "")
		require.NoError(t, err)
		var names []string
		for _, f := range cfg.Files[1:] {
			names = append(names, f.Name)
		}
		return names
	}
	assert.Equal(t, []string{"d/a/x.conf", "d/b/x.conf"}, read("d/*/*.conf"))
	assert.Equal(t, []string{"d/b/x.conf"}, read("d/[b-z]/x.co?f"))
	assert.Equal(t, []string{"d/not-a-dir.conf"}, read("/etc/nginx/d/*.conf"))
	assert.Empty(t, read("none/*.conf"))
	assert.Empty(t, read("d/none*"))
}
