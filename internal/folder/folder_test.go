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

// sends is what a phase sends.
var sends = []plan.Request{{Method: "GET", Path: "/"}}

// written makes a folder of n hits and arrivals.
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

// Each way in which a folder is none, not whole or another's is told apart, and with the way out.
func TestFoldersThatAreRefused(t *testing.T) {
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
	// edit writes the manifest over the change.
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
	f("the run did not end: it has no manifest.json; run it again", remove(manifestFile, environmentFile))
	f("it has no manifest.json: the run did not end, the file was removed, or an lbproof recorded it that wrote none yet", remove(manifestFile))
	f("it is no run folder: a run folder is what lbproof run or lbproof test leaves", func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(dir)) })
	f("hits.parquet: it was changed after the run: it is missing; take the folder from a copy, or run it again", remove(hitsFile))
	f(`schema "lbproof.run/9"; this lbproof reads lbproof.run/1: judge the run with the lbproof that recorded it, "v9"`, func(t *testing.T, dir string) {
		text, err := manifest{Schema: "lbproof.run/9", Lbproof: "v9"}.text()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, manifestFile), text, 0o644))
	})
	f("manifest.json: it was changed after the run: it is not what its own digest says", func(t *testing.T, dir string) {
		name := filepath.Join(dir, manifestFile)
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, bytes.Replace(text, []byte("{"), []byte("{ "), 1), 0o644))
	})
	f("manifest.json: it does not name samples.parquet", func(t *testing.T, dir string) {
		m, err := readManifest(dir)
		require.NoError(t, err)
		m.Files = slices.DeleteFunc(m.Files, func(b fileEntry) bool { return b.Name == samplesFile })
		text, err := m.text()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, manifestFile), text, 0o644))
	})
	f("manifest.json: it names ../other, which is outside the folder", func(t *testing.T, dir string) {
		text, err := manifest{Schema: manifestSchema, Files: []fileEntry{{Name: "../other"}}}.text()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, manifestFile), text, 0o644))
	})
	f(`plan.json: schema "lbproof.plan/9"; this lbproof reads lbproof.plan/2: judge the run with the lbproof that recorded it`, edit(PlanFile, "lbproof.plan/2", "lbproof.plan/9"))
	f(`plan.json: json: unknown field "nome"; judge the run with the lbproof that recorded it`, edit(PlanFile, `"name": "one"`, `"nome": "one"`))
	f(`plan.json: configuration file nginx.conf: its content has the SHA-256`, edit(PlanFile, "events {}", "events { }"))
	f(`plan.json: phase 0 (a): count is -1`, edit(PlanFile, `"count": 2000`, `"count": -1`))
	f(`environment.json: json: unknown field "werkers"`, edit(environmentFile, `"workers"`, `"werkers"`))
	f("environment.json: something follows the end of the JSON text", edit(environmentFile, "\n}\n", "\n}\n{}\n"))
	f(`environment.json: it tells of 3 phases, and the plan has 2`, edit(environmentFile, `"phases": null`, `"phases": [{}, {}, {}]`))
	f(`journal.jsonl:2: json: unknown field "whom"`, edit(journalFile, `"did":"heal"`, `"whom":"heal"`))
	f(`journal.jsonl:2: "hea1" is neither order nor heal`, edit(journalFile, `"did":"heal"`, `"did":"hea1"`))
	f(`journal.jsonl:1: event 7, and the plan has 1`, edit(journalFile, `{"event":0`, `{"event":7`))
	f(`hits.parquet: its column 2 is "lead" instead of "load"`, edit(hitsFile, "load", "lead")) // a bit or two, and the phase of every hit was 0
	f(`hits.parquet: its column 7 is "sErver" instead of "server"`, edit(hitsFile, "server", "sErver"))
	f("hits.parquet: it has 2000 rows instead of 1999", func(t *testing.T, dir string) {
		m, err := readManifest(dir)
		require.NoError(t, err)
		m.Files[slices.IndexFunc(m.Files, func(b fileEntry) bool { return b.Name == hitsFile })].Rows--
		resealed(t, dir, m, hitsFile)
	})
	f("hits.parquet: it is a named pipe: name a regular file", func(t *testing.T, dir string) { // which would keep its reader waiting for ever
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

// A table without a column that its rows need is refused by name: the library fills in zeros.
func TestColumnsAreCompared(t *testing.T) {
	type more struct {
		At     int64  `parquet:"at_ns,delta"`
		Node   string `parquet:"node,dict"`
		From   string `parquet:"from,dict"`
		Source int32  `parquet:"source_port,delta"`
		Port   int32  `parquet:"port,delta"`
		To     int32  `parquet:"to,delta"`
	}
	type less struct {
		At     int64  `parquet:"at_ns,delta"`
		Node   string `parquet:"node,dict"`
		From   string `parquet:"from,dict"`
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
	assert.EqualError(t, sameColumns(parquet.SchemaOf(more{}), needs), `its column "to" is none of this lbproof's`)
	assert.EqualError(t, sameColumns(parquet.SchemaOf(less{}), needs), `it has no column "port"`)
	assert.EqualError(t, sameColumns(parquet.SchemaOf(wide{}), needs), `its column "node" is BYTE_ARRAY instead of STRING`)
	assert.EqualError(t, sameColumns(parquet.SchemaOf(optional{}), needs), `its column "at_ns" is optional INT(64,true) instead of INT(64,true)`)
}

// Rows that can be of no run are errors, though the file is whole.
func TestRowsThatCannotBe(t *testing.T) {
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
		assert.ErrorContains(t, h.Err(), "hits.parquet: row 4: "+want)
	}
	f("the hit is of phase 2, and the plan has 2", func(h *history.Hit) { h.Phase = 2 })
	f("the hit is of phase -1, and the plan has 2", func(h *history.Hit) { h.Phase = -1 })
	f("hit 6 is none of phase 0", func(h *history.Hit) { h.Seq = 6 })
	f("hit 0 is none of phase 0", func(h *history.Hit) { h.Seq = 0 })
	f("code is 1000, which is not from 0 to 999", func(h *history.Hit) { h.Code = 1000 })
	f("done_ns is -1, which is not from 0 to", func(h *history.Hit) { h.Done = -1 })
	f(`error is "tired", which is none`, func(h *history.Hit) { h.Err = "tired" })
}

// The first error of reading is kept for ever: loops that go well after it do not make it good.
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
	assert.Empty(t, slices.Collect(h.Samples), "half of a history is none")
	assert.Equal(t, want, h.Err())
	_, err = checks.Judge(h)
	assert.ErrorIs(t, err, want)
}

// What changes between being verified and being read is noticed.
func TestChangedWhileJudged(t *testing.T) {
	dir := written(t, 100)
	h, err := Open(dir)
	require.NoError(t, err)
	name := filepath.Join(dir, samplesFile)
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, WriteFile(name, func(w io.Writer) error { // the same, but another file
		_, err := w.Write(text)
		return err
	}))
	assert.Empty(t, slices.Collect(h.Samples))
	assert.ErrorContains(t, h.Err(), "samples.parquet: somebody changed it while it was judged")
}

// Until a run has ended nothing of it looks whole, and what a run that was killed leaves is said to be unfinished.
func TestUnfinishedRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "one")
	f, err := Create(dir, plan.Plan{Schema: plan.PlanSchema, Phases: []plan.Phase{{Count: 5000, Requests: sends}}})
	require.NoError(t, err)
	for i := range 5000 {
		require.NoError(t, f.Hit(hit(i)))
	}
	assert.NoFileExists(t, filepath.Join(dir, hitsFile))
	_, err = Open(dir)
	assert.ErrorContains(t, err, "the run did not end")
	require.NoError(t, f.Finish(history.Environment{}))
	left, err := filepath.Glob(filepath.Join(dir, "*"+Partial))
	require.NoError(t, err)
	assert.Empty(t, left)
	_, err = Open(dir)
	assert.NoError(t, err)
}

// A full disk is told as such, whenever the rows reach it.
func TestFullDisk(t *testing.T) {
	f, err := Create(filepath.Join(t.TempDir(), "one"), plan.Plan{})
	require.NoError(t, err)
	f.hits.discard()
	require.NoError(t, os.Symlink("/dev/full", f.Path(hitsFile)+Partial)) // a link, so that what removes the file spares the device
	f.hits, err = createTable[hitRow](f.Path(hitsFile))
	require.NoError(t, err)
	for i := 0; err == nil && i < 1_000_000; i++ {
		err = f.Hit(hit(i))
	}
	assert.ErrorIs(t, err, ErrFolder)
	assert.ErrorContains(t, err, "no space left on device; free some space, or name another place with --out")
	assert.Equal(t, err, f.Hit(hit(1)), "and nothing is added to what has a gap")
	assert.Equal(t, err, f.Finish(history.Environment{}))
	assert.NoFileExists(t, f.Path(manifestFile))
	info, err := os.Stat("/dev/full")
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&os.ModeCharDevice, "it is still there")
}

// What is written in place is nobody's to remove: it may be more than a file.
func TestOnlyPartsAreRemoved(t *testing.T) {
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

// A folder in which nothing can be made is told as such.
func TestPlacesWithoutFolders(t *testing.T) {
	inTheWay := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(inTheWay, nil, 0o644))
	_, err := Create(filepath.Join(inTheWay, "one"), plan.Plan{})
	assert.ErrorIs(t, err, ErrFolder)
	assert.ErrorContains(t, err, inTheWay+": not a directory; name another place with --out")
	if os.Getuid() != 0 {
		readOnly := t.TempDir()
		require.NoError(t, os.Chmod(readOnly, 0o500))
		_, err := Create(filepath.Join(readOnly, "one"), plan.Plan{})
		assert.ErrorIs(t, err, ErrFolder)
		assert.ErrorContains(t, err, "permission denied; name another place with --out")
		return
	}
	readOnly := t.TempDir()
	require.NoError(t, syscall.Mount("tmpfs", readOnly, "tmpfs", syscall.MS_RDONLY, "size=64k"))
	defer func() { assert.NoError(t, syscall.Unmount(readOnly, 0)) }()
	_, err = Create(filepath.Join(readOnly, "one"), plan.Plan{})
	assert.ErrorIs(t, err, ErrFolder)
	assert.ErrorContains(t, err, "read-only file system; name another place with --out")
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
