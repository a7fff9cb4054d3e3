package reading

import (
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// CookieAttributes reads the attributes of a cookie from words: NAME, NAME=VALUE, or NAME followed by VALUE. Other
// words are skipped.
func CookieAttributes(words []string) model.CookieAttributes {
	var a model.CookieAttributes
	valued := map[string]*string{"samesite": &a.SameSite, "max-age": &a.MaxAge, "domain": &a.Domain, "path": &a.Path}
	for i, word := range words {
		name, value, written := strings.Cut(word, "=")
		if !written && i+1 < len(words) {
			value = words[i+1]
		}
		switch name = strings.ToLower(name); name {
		case "secure":
			a.Secure = true
		case "httponly":
			a.HTTPOnly = true
		default:
			if to := valued[name]; to != nil {
				*to = value
			}
		}
	}
	return a
}
