package reports

import (
	"encoding/json"
	"io"

	"github.com/lbproof/lbproof/internal/lb"
)

var jsonText = Format{
	Name: "json",
	Doc:  "everything that was decided and measured; its form is named in the field schema",
	File: "report.json",
	Write: func(w io.Writer, r lb.Report) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(r)
	},
}
