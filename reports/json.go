package reports

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/report"
)

var jsonText = Format{
	Name:  "json",
	Doc:   "everything that was decided and measured; its form is named in the field schema",
	File:  "report.json",
	Write: func(w io.Writer, r report.Report) error { return WriteJSON(w, r) },
}

// WriteJSON writes a value so that people can read it too.
func WriteJSON(out io.Writer, value any) error {
	w := plain.NewJSONWriter(out)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return errors.Join(e.Encode(value), w.Close())
}
