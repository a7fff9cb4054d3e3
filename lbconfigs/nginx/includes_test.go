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

// Files that include one another again and again are bounded by what they stand for, and their reading by what they
// are.
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
	f(".conf:2: with this there are more than 10000 includes", server, 40, "include NEXT;\ninclude NEXT;\n")
	f(".conf:1: with this there are more than 1000000 directives",
		strings.Repeat("gzip on;\n", 100_000), 3, strings.Repeat("include NEXT; ", 10))
	f(".conf:1: with this blocks are nested more than 64 deep", "return 200;", 70, "location / { include NEXT; }")
}

// A wildcard stands for no dot that a name begins with, as in nginx, and may stand for nothing.
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
