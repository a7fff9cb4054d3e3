package haproxy

import (
	"strings"

	"github.com/lbproof/lbproof/internal/model"
)

// readKey reads the key of a balance line or a tracked counter.
func readKey(text string) model.Key {
	name, inHeader := strings.CutPrefix(text, "hdr(")
	switch {
	case text == "src":
		return model.Key{Variable: model.ClientAddress, Source: text}
	case text == "uri":
		return model.Key{Variable: model.Path, Source: text}
	case inHeader:
		return model.Key{Variable: model.RequestHeader, Name: strings.TrimSuffix(name, ")"), Source: text}
	}
	return model.Key{Variable: model.OtherVariable, Source: text}
}
