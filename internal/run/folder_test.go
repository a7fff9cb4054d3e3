package run

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/lb"
)

// written makes a folder of n hits and arrivals.
func written(t testing.TB, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "runs", "one")
	plan := lb.Plan{Schema: lb.PlanSchema, Name: "one", Loads: []lb.Load{{Name: "a", Count: n}, {Name: "b", Count: n}}}
	f, err := Create(dir, plan)
	require.NoError(t, err)
	for i := range n {
		require.NoError(t, f.Hit(hit(i)))
		require.NoError(t, f.Arrival(arrival(i)))
		require.NoError(t, f.Sample(sample(i)))
	}
	require.NoError(t, f.Finish(lb.Environment{Workers: 2}))
	return dir
}

func hit(i int) lb.Hit {
	at := time.Duration(i) * 123457
	return lb.Hit{
		Seq: uint64(i + 1), Index: i, Due: at, Sent: at + 1, Done: at + 2, Code: 200, Server: "back-01", Size: 9, Sum: 1 << 31,
		Client: i % 7, Conn: i % 64, Flight: 64, Connect: 5, Handshake: 6, Resumed: i%2 == 0, Err: lb.Reset,
	}
}

func sample(i int) lb.Sample {
	return lb.Sample{At: time.Duration(i), Node: "back-01", CPU: 1, Throttled: 2, Memory: 3, Received: 4, Sent: 5, Restarts: 6}
}

func arrival(i int) lb.Arrival {
	return lb.Arrival{Seq: uint64(i + 1), At: time.Duration(i), Server: `odd "name", really`, Header: "Host=nginx&X-Real-Ip=10.0.0.1"}
}

func TestFolderKeepsEverything(t *testing.T) {
	h, err := Open(written(t, 100))
	require.NoError(t, err)
	assert.Equal(t, "one", h.Plan.Name)
	assert.Equal(t, 2, h.Env.Workers)
	for range 2 { // each loop reads anew
		hits, arrivals, samples := slices.Collect(h.Hits), slices.Collect(h.Arrivals), slices.Collect(h.Samples)
		require.Len(t, samples, 100)
		require.Len(t, hits, 100)
		require.Len(t, arrivals, 100)
		for i := range 100 {
			assert.Equal(t, hit(i), hits[i])
			assert.Equal(t, arrival(i), arrivals[i])
			assert.Equal(t, sample(i), samples[i])
		}
	}
	for range h.Hits {
		break
	}
	assert.NoError(t, h.Err())
}

func TestDamagedFoldersAreErrors(t *testing.T) {
	f := func(want string, damage func(dir string)) {
		t.Helper()
		dir := written(t, 5000)
		damage(dir)
		h, err := Open(dir)
		if err == nil {
			for range h.Hits {
				continue
			}
			err = h.Err()
		}
		assert.ErrorContains(t, err, want)
	}
	f("plan.json", func(dir string) { os.Remove(filepath.Join(dir, "plan.json")) })
	f("the run did not end", func(dir string) { os.Remove(filepath.Join(dir, "environment.json")) })
	f("environment.json", func(dir string) { os.WriteFile(filepath.Join(dir, "environment.json"), []byte("{"), 0o600) })
	f("schema", func(dir string) {
		os.WriteFile(filepath.Join(dir, "plan.json"), []byte(`{"schema":"lbproof.plan/99"}`), 0o600)
	})
	f("hits.parquet", func(dir string) { os.Remove(filepath.Join(dir, "hits.parquet")) })
	f("hits.parquet", func(dir string) {
		name := filepath.Join(dir, "hits.parquet")
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(name, info.Size()/2))
	})
	f("hits.parquet", func(dir string) { os.WriteFile(filepath.Join(dir, "hits.parquet"), []byte("no table"), 0o600) })
}

// A full disk is told as such, whenever the rows reach it.
func TestFullDisk(t *testing.T) {
	f, err := Create(filepath.Join(t.TempDir(), "one"), lb.Plan{})
	require.NoError(t, err)
	f.hits, err = createTable[hitRow]("/dev/full")
	require.NoError(t, err)
	for i := 0; err == nil && i < 1_000_000; i++ {
		err = f.Hit(hit(i))
	}
	assert.ErrorIs(t, err, ErrFolder)
	assert.ErrorContains(t, err, "no space left on device")
	assert.ErrorContains(t, err, "--out")
}

func TestDiscardLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "one")
	f, err := Create(dir, lb.Plan{})
	require.NoError(t, err)
	_, err = Create(dir, lb.Plan{})
	assert.ErrorIs(t, err, ErrFolder, "a run never writes into another's folder")
	require.NoError(t, f.Discard())
	assert.NoDirExists(t, dir)
}

func BenchmarkHistoryEncode(b *testing.B) {
	f, err := Create(filepath.Join(b.TempDir(), "run"), lb.Plan{})
	require.NoError(b, err)
	h := hit(12345)
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Hit(h); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, f.Finish(lb.Environment{}))
}

func BenchmarkHistoryDecode(b *testing.B) {
	const n = 100_000
	h, err := Open(written(b, n))
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		for range h.Hits {
			continue
		}
	}
	require.NoError(b, h.Err())
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/hit")
}
