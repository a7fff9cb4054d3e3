package reports

import (
	"errors"
	"fmt"
	"io"

	"github.com/tsenart/vegeta/v12/lib"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plain"
)

var vegetaResults = Format{
	Name: "vegeta",
	Doc: "results as vegeta encode --to json writes them, which vegeta report and vegeta plot read; " +
		"latency counts from when a request was due",
	Export: exportVegeta,
}

func exportVegeta(out io.Writer, h history.History) error {
	w := plain.NewJSONWriter(out)
	encode := vegeta.NewJSONEncoder(w)
	for hit := range h.Hits {
		if hit.Phase < 0 || hit.Phase >= len(h.Plan.Phases) {
			return fmt.Errorf("write the results: hit %d is in phase %d, which the plan lacks", hit.Seq, hit.Phase)
		}
		l := h.Plan.Phases[hit.Phase]
		r := l.Request(hit.Index)
		result := vegeta.Result{
			Attack: l.Name, Seq: hit.Seq, Code: uint16(hit.Code),
			Timestamp: h.Env.Origin.Add(hit.Due), Latency: hit.Done - hit.Due,
			BytesOut: uint64(len(r.Body)), BytesIn: uint64(hit.Size), Error: string(hit.Err),
			Method: r.Method, URL: r.Path, Headers: map[string][]string{},
		}
		if hit.Err == "" && (hit.Code < 200 || hit.Code >= 400) {
			result.Error = fmt.Sprint(hit.Code) // vegeta too reports such a response as an error
		}
		if hit.Server != "" {
			result.Headers[history.ServerHeader] = []string{hit.Server}
		}
		if err := encode.Encode(&result); err != nil {
			return fmt.Errorf("write the results: %w", err)
		}
	}
	return errors.Join(w.Close(), h.Err())
}
