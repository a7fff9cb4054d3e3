package haproxy

import (
	"regexp"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// uuid is the form of RFC 9562.
const uuid = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

// fetches are the sample fetches with a known meaning or form (configuration manual, section 7.3).
var fetches = map[string]model.Piece{
	"src":      {Variable: model.ClientAddress},
	"src_port": {Variable: model.OtherVariable, Pattern: `\d+`},
	"pid":      {Variable: model.OtherVariable, Pattern: `\d+`},
	"uuid":     {Variable: model.RequestID, Pattern: uuid},
	"uuid()":   {Variable: model.RequestID, Pattern: uuid},
	"date()":   {Variable: model.OtherVariable, Pattern: `\d+`},
	"rand()":   {Variable: model.OtherVariable, Pattern: `\d+`},
}

// fetchNotation matches %[fetch].
var fetchNotation = regexp.MustCompile(`%\[([^]]+)\]`)

// readTemplate parses a text with sample fetches.
func readTemplate(text string) model.Template {
	return reading.Template(text, fetchNotation, func(name string) model.Piece {
		if p, ok := fetches[name]; ok {
			return p
		}
		return model.Piece{Variable: model.OtherVariable}
	})
}
