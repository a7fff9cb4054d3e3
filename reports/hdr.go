package reports

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plain"
)

var hdr = Format{
	Name: "hdr",
	Doc: "HdrHistogram log of the latencies from when requests were due, nanoseconds: " +
		"an interval per second, tagged with the phase",
	Export: exportHdr,
}

// untaggable matches characters that the log's format does not allow in a tag.
var untaggable = regexp.MustCompile(`[, \r\n]+`)

func exportHdr(w io.Writer, h history.History) error {
	log := hdrhistogram.NewHistogramLogWriter(w)
	base := h.Env.Origin.UnixMilli()
	title := "[lbproof: latencies of " + plain.Text(h.Plan.Name) + " from when requests were due]"
	err := errors.Join(log.OutputComment(title), log.OutputLogFormatVersion(), log.OutputBaseTime(base),
		log.OutputStartTime(base), log.OutputLegend())
	if err != nil {
		return fmt.Errorf("write the histogram log: %w", err)
	}
	log.SetBaseTime(base)
	interval := hdrhistogram.New(1, time.Hour.Nanoseconds(), 3)
	load, second := -1, time.Duration(-1)
	flush := func() error {
		if interval.TotalCount() == 0 {
			return nil
		}
		interval.SetTag(plain.Text(untaggable.ReplaceAllString(h.Plan.Phases[load].Name, "-")))
		interval.SetStartTimeMs(base + second.Milliseconds())
		interval.SetEndTimeMs(base + (second + time.Second).Milliseconds())
		err := log.OutputIntervalHistogram(interval)
		interval.Reset()
		return err
	}
	for hit := range h.Hits {
		if hit.Phase < 0 || hit.Phase >= len(h.Plan.Phases) {
			return fmt.Errorf("write the histogram log: hit %d is in phase %d, which the plan lacks",
				hit.Seq, hit.Phase)
		}
		if at := hit.Done.Truncate(time.Second); at != second || hit.Phase != load {
			if err := flush(); err != nil {
				return fmt.Errorf("write the histogram log: %w", err)
			}
			load, second = hit.Phase, at
		}
		_ = interval.RecordValue(min(hit.Done-hit.Due, time.Hour).Nanoseconds()) // within its range
	}
	if err := errors.Join(flush(), h.Err()); err != nil {
		return fmt.Errorf("write the histogram log: %w", err)
	}
	return nil
}
