package folder

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
)

// BenchmarkVerify measures comparing a run of a million hits and arrivals with its manifest.
func BenchmarkVerify(b *testing.B) {
	plan, err := fixtures.Plan("baseline")
	require.NoError(b, err)
	plan.Phases[1].Count = 1_000_000
	simulated := fixtures.Simulate(plan, fixtures.Mutant{}, 1)
	dir := filepath.Join(b.TempDir(), "run")
	f, err := Create(dir, plan)
	require.NoError(b, err)
	for h := range simulated.Hits {
		h.Conn, h.InFlight = 1+h.Index%100, 100
		require.NoError(b, f.Hit(h))
	}
	for a := range simulated.Arrivals {
		require.NoError(b, f.Arrival(a))
	}
	require.NoError(b, f.Finish(simulated.Env))
	m, err := readManifest(dir)
	require.NoError(b, err)
	bytes := int64(0)
	for _, f := range m.Files {
		bytes += f.Size
	}
	b.SetBytes(bytes)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verify(dir, m); err != nil {
			b.Fatal(err)
		}
	}
}
