package folder

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// sends are the requests of a phase.
var sends = []plan.Request{{Method: "GET", Path: "/"}}

// written creates a folder with n hits and arrivals.
func written(t testing.TB, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "runs", "one")
	p := plan.Plan{
		Schema: plan.PlanSchema, Name: "one", Phases: []plan.Phase{{Name: "a", Count: n, Requests: sends}, {Name: "b", Count: n, Requests: sends}},
		Config: model.Config{Files: []model.File{model.NewFile("nginx.conf", []byte("events {}"))}}, Events: []plan.Event{{Fault: plan.FaultKill}},
	}
	f, err := Create(dir, p)
	require.NoError(t, err)
	require.NoError(t, f.Journal(Entry{Action: Injected, Fault: p.Events[0]}))
	require.NoError(t, f.Journal(Entry{Action: Healed, Fault: p.Events[0]}))
	for i := range n {
		require.NoError(t, f.Hit(hit(i)))
		require.NoError(t, f.Arrival(arrival(i)))
		require.NoError(t, f.Sample(sample(i)))
	}
	require.NoError(t, f.Finish(history.Environment{Workers: 2}))
	return dir
}

func hit(i int) history.Hit {
	at := time.Duration(i) * 123457
	return history.Hit{
		Seq: uint64(i + 1), Index: i, Due: at, Sent: at + 1, Done: at + 2, Code: 200, Server: "back-01", Size: 9, Checksum: 1 << 31,
		Client: i % 7, Conn: i % 64, InFlight: 64, ConnectTime: 5, HandshakeTime: 6, Resumed: i%2 == 0, Err: history.Reset,
	}
}

func sample(i int) history.Sample {
	return history.Sample{At: time.Duration(i), Node: "back-01", CPU: 1, Throttled: 2, Memory: 3, Received: 4, Sent: 5, Restarts: 6}
}

func arrival(i int) history.Arrival {
	return history.Arrival{Seq: uint64(i + 1), At: time.Duration(i), Server: `odd "name", really`, Header: "Host=nginx&X-Real-Ip=10.0.0.1"}
}

func TestRoundTrip(t *testing.T) {
	h, err := Open(written(t, 100))
	require.NoError(t, err)
	assert.Equal(t, "one", h.Plan.Name)
	assert.Equal(t, 2, h.Env.Workers)
	for range 2 { // each loop reads again
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

// A folder that is not a run, incomplete, damaged or of another version is refused with a specific error and a remedy.
func TestRefusedFolders(t *testing.T) {
	f := func(want string, damage func(t *testing.T, dir string)) {
		t.Helper()
		dir := written(t, 2000)
		damage(t, dir)
		h, err := Open(dir)
		if err == nil {
			for range h.Hits {
				continue
			}
			err = h.Err()
		}
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "\n")
	}
	remove := func(files ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			for _, file := range files {
				require.NoError(t, os.Remove(filepath.Join(dir, file)))
			}
		}
	}
	// edit changes a file and rewrites the manifest.
	edit := func(file, old, new string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			m, err := readManifest(dir)
			require.NoError(t, err)
			text, err := os.ReadFile(filepath.Join(dir, file))
			require.NoError(t, err)
			require.Contains(t, string(text), old)
			require.NoError(t, os.WriteFile(filepath.Join(dir, file), bytes.Replace(text, []byte(old), []byte(new), -1), 0o644))
			resealed(t, dir, m, file)
		}
	}
	f("the run did not finish (no manifest.json); run it again", remove(manifestFile, environmentFile))
	f("no manifest.json: the run did not finish, the file was removed, or an older lbproof recorded it; run it again", remove(manifestFile))
	f("not a run folder; run folders are created by lbproof run and lbproof test", func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(dir)) })
	f("hits.parquet: changed after the run (missing); the run cannot be judged; restore the folder from a copy, or run it again", remove(hitsFile))
	f(`schema "lbproof.run/9", but this lbproof reads lbproof.run/2; judge the run with lbproof "v9", which recorded it`, func(t *testing.T, dir string) {
		text, err := manifest{Schema: "lbproof.run/9", Lbproof: "v9"}.text()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, manifestFile), text, 0o644))
	})
	f("manifest.json: changed after the run (its own digest does not match)", func(t *testing.T, dir string) {
		name := filepath.Join(dir, manifestFile)
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, bytes.Replace(text, []byte("{"), []byte("{ "), 1), 0o644))
	})
	f("manifest.json: does not list samples.parquet", func(t *testing.T, dir string) {
		m, err := readManifest(dir)
		require.NoError(t, err)
		m.Files = slices.DeleteFunc(m.Files, func(b fileEntry) bool { return b.Name == samplesFile })
		text, err := m.text()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, manifestFile), text, 0o644))
	})
	f("manifest.json: lists ../other, which is outside the folder", func(t *testing.T, dir string) {
		text, err := manifest{Schema: manifestSchema, Files: []fileEntry{{Name: "../other"}}}.text()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, manifestFile), text, 0o644))
	})
	f(`plan.json: schema "lbproof.plan/9", but this lbproof reads lbproof.plan/3; judge the run with the lbproof that recorded it`, edit(PlanFile, "lbproof.plan/3", "lbproof.plan/9"))
	f(`plan.json: json: unknown field "nome"; judge the run with the lbproof that recorded it`, edit(PlanFile, `"name": "one"`, `"nome": "one"`))
	f(`plan.json: configuration file nginx.conf: the content has the SHA-256`, edit(PlanFile, "events {}", "events { }"))
	f(`plan.json: phase 0 (a): count -1 is negative`, edit(PlanFile, `"count": 2000`, `"count": -1`))
	f(`environment.json: json: unknown field "werkers"`, edit(environmentFile, `"workers"`, `"werkers"`))
	f("environment.json: data after the JSON value", edit(environmentFile, "\n}\n", "\n}\n{}\n"))
	f(`environment.json: 3 phases, but the plan has 2`, edit(environmentFile, `"phases": null`, `"phases": [{}, {}, {}]`))
	f(`journal.jsonl:2: json: unknown field "whom"`, edit(journalFile, `"action":"heal"`, `"whom":"heal"`))
	f(`journal.jsonl:2: "hea1" is neither inject nor heal`, edit(journalFile, `"action":"heal"`, `"action":"hea1"`))
	f(`journal.jsonl:1: event 7, but the plan has 1`, edit(journalFile, `{"event":0`, `{"event":7`))
	f(`hits.parquet: damaged (column 2 is "phage" instead of "phase"); the run cannot be judged`, edit(hitsFile, "phase", "phage")) // a bit or two, and every hit's phase would be 0
	f(`hits.parquet: damaged (column 7 is "sErver" instead of "server"`, edit(hitsFile, "server", "sErver"))
	f("hits.parquet: damaged (invalid magic footer of parquet file", func(t *testing.T, dir string) {
		m, err := readManifest(dir)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(filepath.Join(dir, hitsFile), 1000))
		resealed(t, dir, m, hitsFile)
	})
	f("hits.parquet: damaged (2000 rows instead of 1999)", func(t *testing.T, dir string) {
		m, err := readManifest(dir)
		require.NoError(t, err)
		m.Files[slices.IndexFunc(m.Files, func(b fileEntry) bool { return b.Name == hitsFile })].Rows--
		resealed(t, dir, m, hitsFile)
	})
	f("hits.parquet: is a named pipe; name a regular file", func(t *testing.T, dir string) { // whose reader would wait forever
		name := filepath.Join(dir, hitsFile)
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.NoError(t, os.Remove(name))
		require.NoError(t, syscall.Mkfifo(name, 0o644))
		m, err := readManifest(dir)
		require.NoError(t, err)
		for i := range m.Files {
			if m.Files[i].Name == hitsFile {
				m.Files[i].Size -= info.Size()
			}
		}
		text, err := m.text()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, manifestFile), text, 0o644))
	})
}

// A missing column is refused by name: the library would fill in zeros.
func TestColumnsAreCompared(t *testing.T) {
	type more struct {
		At     int64  `parquet:"at_ns,delta"`
		Node   string `parquet:"node,dict"`
		From   string `parquet:"source_address,dict"`
		Source int32  `parquet:"source_port,delta"`
		Port   int32  `parquet:"port,delta"`
		To     int32  `parquet:"to,delta"`
	}
	type less struct {
		At     int64  `parquet:"at_ns,delta"`
		Node   string `parquet:"node,dict"`
		From   string `parquet:"source_address,dict"`
		Source int32  `parquet:"source_port,delta"`
	}
	type wide struct {
		At int64  `parquet:"at_ns,delta"`
		Is []byte `parquet:"node,dict"`
	}
	type optional struct {
		At *int64 `parquet:"at_ns,optional"`
	}
	needs := parquet.SchemaOf(attemptRow{})
	assert.NoError(t, sameColumns(parquet.SchemaOf(attemptRow{}), needs))
	assert.EqualError(t, sameColumns(parquet.SchemaOf(more{}), needs), `unknown column "to"`)
	assert.EqualError(t, sameColumns(parquet.SchemaOf(less{}), needs), `no column "port"`)
	assert.EqualError(t, sameColumns(parquet.SchemaOf(wide{}), needs), `column "node" is BYTE_ARRAY instead of STRING`)
	assert.EqualError(t, sameColumns(parquet.SchemaOf(optional{}), needs), `column "at_ns" is optional INT(64,true) instead of INT(64,true)`)
}

// Impossible rows are errors even if the file is intact.
func TestImpossibleRows(t *testing.T) {
	f := func(want string, change func(*history.Hit)) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "run")
		folder, err := Create(dir, plan.Plan{Schema: plan.PlanSchema, Phases: []plan.Phase{{Count: 5, Requests: sends}, {Count: 5, Requests: sends}}})
		require.NoError(t, err)
		for i := range 5 {
			h := hit(i)
			if i == 3 {
				change(&h)
			}
			require.NoError(t, folder.Hit(h))
		}
		require.NoError(t, folder.Finish(history.Environment{}))
		h, err := Open(dir)
		require.NoError(t, err)
		n := 0
		for range h.Hits {
			n++
		}
		assert.Equal(t, 3, n)
		assert.ErrorContains(t, h.Err(), "hits.parquet: damaged (row 4: "+want)
	}
	f("phase 2, but the plan has 2", func(h *history.Hit) { h.Phase = 2 })
	f("phase -1, but the plan has 2", func(h *history.Hit) { h.Phase = -1 })
	f("hit 6 is not in phase 0", func(h *history.Hit) { h.Seq = 6 })
	f("hit 0 is not in phase 0", func(h *history.Hit) { h.Seq = 0 })
	f("code is 1000, outside 0 to 999", func(h *history.Hit) { h.Code = 1000 })
	f("done_ns is -1, outside 0 to", func(h *history.Hit) { h.Done = -1 })
	f(`unknown error "tired"`, func(h *history.Hit) { h.Err = "tired" })
}

// The first read error is kept; later successful loops do not clear it.
func TestFirstErrorIsKept(t *testing.T) {
	dir := written(t, 100)
	h, err := Open(dir)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, hitsFile)))
	assert.Empty(t, slices.Collect(h.Hits))
	want := h.Err()
	assert.ErrorContains(t, want, hitsFile)
	for range h.Arrivals {
		break
	}
	assert.Empty(t, slices.Collect(h.Samples), "no loop yields rows any more")
	assert.Equal(t, want, h.Err())
	_, err = checks.Judge(h)
	assert.ErrorIs(t, err, want)
}

// A change between verification and reading is noticed.
func TestChangedWhileJudged(t *testing.T) {
	dir := written(t, 100)
	h, err := Open(dir)
	require.NoError(t, err)
	name := filepath.Join(dir, samplesFile)
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, WriteFile(name, func(w io.Writer) error { // same content, but another file
		_, err := w.Write(text)
		return err
	}))
	assert.Empty(t, slices.Collect(h.Samples))
	assert.ErrorContains(t, h.Err(), "samples.parquet: changed while it was being judged")
}

// A run looks incomplete until it ends; what a killed run leaves is reported as unfinished.
func TestUnfinishedRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "one")
	f, err := Create(dir, plan.Plan{Schema: plan.PlanSchema, Phases: []plan.Phase{{Count: 5000, Requests: sends}}})
	require.NoError(t, err)
	for i := range 5000 {
		require.NoError(t, f.Hit(hit(i)))
	}
	assert.NoFileExists(t, filepath.Join(dir, hitsFile))
	_, err = Open(dir)
	assert.ErrorContains(t, err, "the run did not finish")
	require.NoError(t, f.Finish(history.Environment{}))
	left, err := filepath.Glob(filepath.Join(dir, "*"+Partial))
	require.NoError(t, err)
	assert.Empty(t, left)
	_, err = Open(dir)
	assert.NoError(t, err)
}

// A full disk is reported as such, whenever rows reach it.
func TestFullDisk(t *testing.T) {
	f, err := Create(filepath.Join(t.TempDir(), "one"), plan.Plan{})
	require.NoError(t, err)
	f.hits.discard()
	require.NoError(t, os.Symlink("/dev/full", f.Path(hitsFile)+Partial)) // a link, so that removing the file does not remove the device
	f.hits, err = createTable[hitRow](f.Path(hitsFile))
	require.NoError(t, err)
	for i := 0; err == nil && i < 1_000_000; i++ {
		err = f.Hit(hit(i))
	}
	assert.ErrorIs(t, err, ErrFolder)
	assert.ErrorContains(t, err, "no space left on device; free some space, or choose another place with --out")
	assert.Equal(t, err, f.Hit(hit(1)), "nothing is appended after a gap")
	assert.Equal(t, err, f.Finish(history.Environment{}))
	assert.NoFileExists(t, f.Path(manifestFile))
	info, err := os.Stat("/dev/full")
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&os.ModeCharDevice, "it is still there")
}

// A file written in place is never removed: it may be a device.
func TestOnlyTempFilesAreRemoved(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	o, err := createInPlace(name)
	require.NoError(t, err)
	o.discard()
	assert.FileExists(t, name)
	_, err = createInPlace(name)
	assert.ErrorIs(t, err, os.ErrExist, "and what is there already is not written to")
	o, err = createTemp(name)
	require.NoError(t, err)
	o.discard()
	assert.FileExists(t, name)
	assert.NoFileExists(t, name+Partial)
}

// A place where no folder can be created is reported as such.
func TestUnwritablePlaces(t *testing.T) {
	inTheWay := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(inTheWay, nil, 0o644))
	_, err := Create(filepath.Join(inTheWay, "one"), plan.Plan{})
	assert.ErrorIs(t, err, ErrFolder)
	assert.ErrorContains(t, err, inTheWay+": not a directory; choose another place with --out")
	if os.Getuid() != 0 {
		readOnly := t.TempDir()
		require.NoError(t, os.Chmod(readOnly, 0o500))
		_, err := Create(filepath.Join(readOnly, "one"), plan.Plan{})
		assert.ErrorIs(t, err, ErrFolder)
		assert.ErrorContains(t, err, "permission denied; choose another place with --out")
		return
	}
	readOnly := t.TempDir()
	require.NoError(t, syscall.Mount("tmpfs", readOnly, "tmpfs", syscall.MS_RDONLY, "size=64k"))
	defer func() { assert.NoError(t, syscall.Unmount(readOnly, 0)) }()
	_, err = Create(filepath.Join(readOnly, "one"), plan.Plan{})
	assert.ErrorIs(t, err, ErrFolder)
	assert.ErrorContains(t, err, "read-only file system; choose another place with --out")
}

func TestDiscardLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "one")
	f, err := Create(dir, plan.Plan{})
	require.NoError(t, err)
	_, err = Create(dir, plan.Plan{})
	assert.ErrorIs(t, err, ErrFolder, "a run never writes into another's folder")
	require.NoError(t, f.Discard())
	assert.NoDirExists(t, dir)
}

func BenchmarkHistoryEncode(b *testing.B) {
	f, err := Create(filepath.Join(b.TempDir(), "run"), plan.Plan{})
	require.NoError(b, err)
	h := hit(12345)
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Hit(h); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, f.Finish(history.Environment{}))
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
