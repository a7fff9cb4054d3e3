package distribution

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
)

func TestCookieMismatch(t *testing.T) {
	f := func(says string, want model.Sticky, set ...string) {
		t.Helper()
		what := cookieMismatch(want, set)
		if says == "" {
			assert.Empty(t, what)
			return
		}
		assert.Contains(t, what, says)
	}
	secure := model.Sticky{
		Cookie:     "lb",
		Attributes: model.CookieAttributes{Secure: true, HTTPOnly: true, SameSite: "strict"},
	}
	f("", secure, "theirs=1", "lb=one; Path=/; HttpOnly; Secure; SameSite=Strict")
	f("without the cookie lb", secure)
	f("with the cookie other instead of lb", secure, "other=1; HttpOnly; Secure; SameSite=Strict")
	f("must be secure", secure, "lb=one; HttpOnly; SameSite=Strict")
	f("must be httponly", secure, "lb=one; Secure; SameSite=Strict")
	f("must have samesite=strict", secure, "lb=one; Secure; HttpOnly")
	f("must not be secure", model.Sticky{Cookie: "lb"}, "lb=one; Secure")
	domain := model.Sticky{Cookie: "lb", Attributes: model.CookieAttributes{HTTPOnly: true, Domain: "example.com"}}
	f("", domain, "lb=one; domain=example.com; HttpOnly")
	f("must have domain=example.com", domain, "lb=one; HttpOnly")
	f("", model.Sticky{GeneratedName: "a name of its own"}, "_1d52e=one")
	f("without the cookie a name of its own", model.Sticky{GeneratedName: "a name of its own"})
}
