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
	Doc:   "every verdict and measurement; the field schema names the version of the format",
	File:  "report.json",
	Write: func(w io.Writer, r report.Report) error { return WriteJSON(w, r) },
}

// WriteJSON writes a value as indented JSON.
func WriteJSON(out io.Writer, value any) error {
	w := plain.NewJSONWriter(out)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return errors.Join(e.Encode(value), w.Close())
}
