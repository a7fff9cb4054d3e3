package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The requests of a burst are equal and from the same client.
func TestBursts(t *testing.T) {
	l := Phase{Requests: []Request{{Path: "/a"}, {Path: "/b"}}, Clients: Clients{Count: 3}}
	f := func(length int, paths string, clients ...int) {
		t.Helper()
		l.BurstLen = length
		var got []int
		sent := ""
		for i := range len(clients) {
			sent += l.Request(i).Path
			got = append(got, l.ClientIndex(i))
		}
		assert.Equal(t, paths, sent)
		assert.Equal(t, clients, got)
	}
	f(0, "/a/b/a/b", 0, 1, 2, 0)
	f(1, "/a/b/a/b", 0, 1, 2, 0)
	f(2, "/a/a/b/b/a/a/b/b", 0, 0, 1, 1, 2, 2, 0, 0)
}
