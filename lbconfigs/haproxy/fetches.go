package haproxy

import (
	"regexp"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// uuid is the form of RFC 9562.
const uuid = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"

// fetches are the sample fetches whose meaning, or form, lbproof knows (configuration manual, section 7.3).
var fetches = map[string]model.Piece{
	"src":      {Variable: model.ClientAddress},
	"src_port": {Variable: model.Other, Form: `\d+`},
	"pid":      {Variable: model.Other, Form: `\d+`},
	"uuid":     {Variable: model.RequestID, Form: uuid},
	"uuid()":   {Variable: model.RequestID, Form: uuid},
	"date()":   {Variable: model.Other, Form: `\d+`},
	"rand()":   {Variable: model.Other, Form: `\d+`},
}

// notation matches %[fetch].
var notation = regexp.MustCompile(`%\[([^]]+)\]`)

// readTemplate takes text with sample fetches apart.
func readTemplate(text string) model.Template {
	return reading.Template(text, notation, func(name string) model.Piece {
		if p, ok := fetches[name]; ok {
			return p
		}
		return model.Piece{Variable: model.Other}
	})
}
