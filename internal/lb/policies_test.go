package lb

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSeen(t *testing.T) {
	f := func(path, want string, rewrites ...Rewrite) {
		t.Helper()
		var r Route
		for i := range rewrites {
			r.Rules = append(r.Rules, Rule{Rewrite: &rewrites[i]})
		}
		assert.Equal(t, want, r.Seen(path))
	}
	strip := Rewrite{Match: "^(?:/api|/v1)"}
	f("/a", "/a")
	f("/api/a", "/a", strip)
	f("/api", "/", strip)
	f("/other/api", "/other/api", strip)
	f("/api/a", "/x/a", strip, Rewrite{Match: "^", With: "/x"})
	f("/api/a", "/v2/a", Rewrite{Match: "^/api/", With: "/v2/"})
	f("/a/b", "/cost$", Rewrite{Match: "^", With: "/cost$$", Whole: true})
	f("/old/1/b", "/new/b/1", Rewrite{Match: "^/old/([0-9]+)/(.*)$", With: "/new/${2}/${1}", Whole: true})
	f("/a", "/a", Rewrite{Match: "("}) // which the balancer would refuse
}

// Requests in rows are the same, and of the same client, one after another.
func TestRows(t *testing.T) {
	l := Load{Requests: []Request{{Path: "/a"}, {Path: "/b"}}, Clients: Clients{Count: 3}}
	f := func(row int, paths string, clients ...int) {
		t.Helper()
		l.InRow = row
		var got []int
		said := ""
		for i := range len(clients) {
			said += l.Request(i).Path
			got = append(got, l.Client(i))
		}
		assert.Equal(t, paths, said)
		assert.Equal(t, clients, got)
	}
	f(0, "/a/b/a/b", 0, 1, 2, 0)
	f(1, "/a/b/a/b", 0, 1, 2, 0)
	f(2, "/a/a/b/b/a/a/b/b", 0, 0, 1, 1, 2, 2, 0, 0)
}
