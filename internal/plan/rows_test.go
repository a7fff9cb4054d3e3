package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// Requests in rows are the same, and of the same client, one after another.
func TestRows(t *testing.T) {
	l := Phase{Requests: []Request{{Path: "/a"}, {Path: "/b"}}, Clients: Clients{Count: 3}}
	f := func(row int, paths string, clients ...int) {
		t.Helper()
		l.BurstLen = row
		var got []int
		said := ""
		for i := range len(clients) {
			said += l.Request(i).Path
			got = append(got, l.ClientIndex(i))
		}
		assert.Equal(t, paths, said)
		assert.Equal(t, clients, got)
	}
	f(0, "/a/b/a/b", 0, 1, 2, 0)
	f(1, "/a/b/a/b", 0, 1, 2, 0)
	f(2, "/a/a/b/b/a/a/b/b", 0, 0, 1, 1, 2, 2, 0, 0)
}
