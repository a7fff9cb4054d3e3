package reading

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
)

func TestCookieAttributes(t *testing.T) {
	f := func(want model.CookieAttributes, words ...string) {
		t.Helper()
		assert.Equal(t, want, CookieAttributes(words))
	}
	f(model.CookieAttributes{})
	f(model.CookieAttributes{Secure: true, SameSite: "strict", MaxAge: "60", Path: "/x"},
		"Secure", "SameSite=strict", "Max-Age=60", "Path=/x")
	f(model.CookieAttributes{HTTPOnly: true, Domain: "Example.com"},
		"insert", "indirect", "domain", "Example.com", "httponly")
	f(model.CookieAttributes{HTTPOnly: true}, "expires=1h", "httponly")
}
