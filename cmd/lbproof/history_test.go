package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/folder"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// BenchmarkTenMillionHits records and judges a simulated run of ten million requests. It reports the process's peak
// memory and the size of a hit on disk.
func BenchmarkTenMillionHits(b *testing.B) {
	plan, err := fixtures.Plan("baseline")
	require.NoError(b, err)
	plan.Phases[1].Count = 10_000_000
	for b.Loop() {
		dir := filepath.Join(b.TempDir(), "run")
		simulated := fixtures.Simulate(plan, fixtures.Mutant{}, 1)
		f, err := folder.Create(dir, plan)
		require.NoError(b, err)
		hits := 0
		for h := range simulated.Hits {
			hits++
			h.Conn, h.InFlight = 1+h.Index%100, 100
			require.NoError(b, f.Hit(h))
		}
		for a := range simulated.Arrivals {
			require.NoError(b, f.Arrival(a))
		}
		require.NoError(b, f.Finish(simulated.Env))
		h, err := folder.Open(dir)
		require.NoError(b, err)
		r, err := checks.Judge(h)
		require.NoError(b, err)
		require.Equal(b, 0, r.Count(report.Refuted)+r.Count(report.Undecided))
		info, err := os.Stat(filepath.Join(dir, "hits.parquet"))
		require.NoError(b, err)
		b.ReportMetric(float64(info.Size())/float64(hits), "B/hit")
		b.ReportMetric(peakMemory(b), "MiB-resident")
	}
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakMemory returns the peak resident memory of the process, MiB.
func peakMemory(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(b, err)
	kib, err := strconv.Atoi(string(highWater.FindSubmatch(status)[1]))
	require.NoError(b, err)
	return float64(kib) / 1024
}
