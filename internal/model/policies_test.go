package model

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBackendPath(t *testing.T) {
	f := func(path, want string, rewrites ...Rewrite) {
		t.Helper()
		var r Route
		for i := range rewrites {
			r.Rules = append(r.Rules, Rule{Rewrite: &rewrites[i]})
		}
		assert.Equal(t, want, r.BackendPath(path))
	}
	strip := Rewrite{Match: "^(?:/api|/v1)"}
	f("/a", "/a")
	f("/api/a", "/a", strip)
	f("/api", "/", strip)
	f("/other/api", "/other/api", strip)
	f("/api/a", "/x/a", strip, Rewrite{Match: "^", Replacement: "/x"})
	f("/api/a", "/v2/a", Rewrite{Match: "^/api/", Replacement: "/v2/"})
	f("/a/b", "/cost$", Rewrite{Match: "^", Replacement: "/cost$$", ReplacesAll: true})
	f("/old/1/b", "/new/b/1", Rewrite{Match: "^/old/([0-9]+)/(.*)$", Replacement: "/new/${2}/${1}", ReplacesAll: true})
	f("/a", "/a", Rewrite{Match: "("}) // which the balancer would refuse
}
