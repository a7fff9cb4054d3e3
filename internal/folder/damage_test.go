package folder

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/scenarios/checks"
)

var update = flag.Bool("update", false, "damage each file 200 times instead of 20, and update docs/damage.md")

// damagesEach is the number of random damages of each kind per file; fewer where the file must be read to notice.
func damagesEach() int {
	if *update {
		return 200
	}
	if testing.Short() {
		return 4
	}
	return 20
}

// kinds are the kinds of random damage. Each is repeated until it changes the file.
var kinds = []struct {
	name   string
	damage func(r *rand.Rand, text []byte) []byte
}{
	{"bit flip", func(r *rand.Rand, text []byte) []byte {
		text[r.IntN(len(text))] ^= 1 << r.IntN(8)
		return text
	}},
	{"truncated", func(r *rand.Rand, text []byte) []byte { return text[:r.IntN(len(text))] }},
	{"bytes appended", func(r *rand.Rand, text []byte) []byte {
		for range 1 + r.IntN(64) {
			text = append(text, byte(r.IntN(256)))
		}
		return text
	}},
	{"zeroed block", func(r *rand.Rand, text []byte) []byte {
		at := r.IntN(len(text))
		clear(text[at:min(len(text), at+1+r.IntN(512))])
		return text
	}},
	{"swapped blocks", func(r *rand.Rand, text []byte) []byte {
		n := 1 + r.IntN(max(1, min(512, len(text)/4)))
		a := r.IntN(len(text) - 2*n + 1)
		b := a + n + r.IntN(len(text)-a-2*n+1)
		return slices.Concat(text[:a], text[b:b+n], text[a+n:b], text[a:a+n], text[b+n:])
	}},
}

// damaged returns a damaged copy of a text.
func damaged(r *rand.Rand, damage func(*rand.Rand, []byte) []byte, text []byte) []byte {
	for {
		if other := damage(r, slices.Clone(text)); !bytes.Equal(other, text) {
			return other
		}
	}
}

// recordings are the runs that are damaged: correct balancers and one that breaks a claim, with and without faults.
var recordings = []string{"baseline", "brown-out: never ejected", "hang: (honest)", "keys: (honest)"}

// recording writes one of them like a run does.
func recording(t testing.TB, name string) (dir string, h history.History) {
	t.Helper()
	if name == "baseline" {
		plan, err := fixtures.Plan(name)
		require.NoError(t, err)
		h = fixtures.Simulate(plan, fixtures.Mutant{}, 1)
	}
	for _, e := range fixtures.ScenarioBalancers {
		if e.Name == name {
			var err error
			h, err = e.History(1)
			require.NoError(t, err)
		}
	}
	require.NotNil(t, h.Hits, "no fixture %q", name)
	h.Env.Lbproof = "v0.0.0"
	h.Samples = func(yield func(history.Sample) bool) {
		for i, phase := range h.Env.Phases {
			for at := phase.Start; at < phase.End; at += time.Second {
				for _, node := range h.Env.Nodes {
					if !yield(history.Sample{At: at, Node: node.Name, CPU: at / 7, Memory: int64(i+1) << 20, Received: int64(at / 9), Sent: int64(at / 11)}) {
						return
					}
				}
			}
		}
	}
	dir = filepath.Join(t.TempDir(), "run")
	f, err := Create(dir, h.Plan)
	require.NoError(t, err)
	for hit := range h.Hits {
		require.NoError(t, f.Hit(hit))
	}
	for a := range h.Arrivals {
		require.NoError(t, f.Arrival(a))
	}
	for s := range h.Samples {
		require.NoError(t, f.Sample(s))
	}
	if h.Attempts != nil {
		for a := range h.Attempts {
			f.Attempt(a)
		}
	}
	for i, m := range h.Env.Faults {
		require.NoError(t, f.Journal(Entry{Event: i, Action: Injected, At: m.RequestedAt, Fault: m.Event}))
		require.NoError(t, f.Journal(Entry{Event: i, Action: Healed, At: m.EndsBy, Fault: m.Event}))
	}
	log, err := f.Log("nginx")
	require.NoError(t, err)
	_, err = io.WriteString(log, strings.Repeat("2026/11/21 10:15:00 [notice] 1#1: start worker process 30\n", 20))
	require.NoError(t, err)
	require.NoError(t, log.Close())
	require.NoError(t, f.Finish(h.Env))
	return dir, h
}

// verdicts returns a folder's verdicts as text.
func verdicts(dir string) (string, error) {
	h, err := Open(dir)
	if err != nil {
		return "", err
	}
	r, err := checks.Judge(h)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(r)
	return string(text), err
}

// A recorded history gets the same verdicts as before recording.
func TestRecordingsKeepTheirVerdicts(t *testing.T) {
	for _, name := range recordings {
		dir, h := recording(t, name)
		want, err := checks.Judge(h)
		require.NoError(t, err)
		h, err = Open(dir)
		require.NoError(t, err)
		got, err := checks.Judge(h)
		require.NoError(t, err)
		assert.Equal(t, want.Verdicts, got.Verdicts)
		assert.Equal(t, want.Delivery, got.Delivery)
		assert.Equal(t, want.Phases, got.Phases)
	}
}

// damages counts outcomes by file and kind.
type damages struct {
	outcomes []string
	counts   map[[2]string]map[string]int
}

func newDamages(outcomes ...string) *damages {
	return &damages{outcomes, map[[2]string]map[string]int{}}
}

func (d *damages) add(file, kind, outcome string) {
	key := [2]string{file, kind}
	if d.counts[key] == nil {
		d.counts[key] = map[string]int{}
	}
	d.counts[key][outcome]++
	d.counts[key][""]++
}

// table returns a Markdown table.
func (d *damages) table() string {
	text := &strings.Builder{}
	fmt.Fprintf(text, "| file | damage | cases | %s |\n|---|---|--:%s|\n", strings.Join(d.outcomes, " | "), strings.Repeat("|--:", len(d.outcomes)))
	for _, key := range slices.SortedFunc(maps.Keys(d.counts), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		fmt.Fprintf(text, "| `%s` | %s | %d |", key[0], key[1], d.counts[key][""])
		for _, outcome := range d.outcomes {
			fmt.Fprintf(text, " %d |", d.counts[key][outcome])
		}
		text.WriteByte('\n')
	}
	return text.String()
}

const damageDoc = `# Damaged run folders

lbproof either reads a run folder exactly as recorded, or refuses it. The tables show what it does with random damage to
each file of recorded runs of simulated balancers:
%s.
` + "`make damage`" + ` repeats the test and writes this page.

## Files changed after the run

` + "`lbproof judge`" + ` compares every file with ` + "`manifest.json`" + ` before it reads any. "Refused" means exit code 4 and a one-line
error that names the file.

%s
## Tables with a rewritten manifest

Here the manifest was rewritten with the damaged file's size and digest. Only the table itself can reveal the damage:
its columns, the number and range of its rows, and page checksums. Parquet has no checksum for headers, so some damage
changes rows; only the manifest detects that.

%s
## JSON with a rewritten manifest

For the run *%s*. JSON has no checksum: a changed digit is a valid, different file. No damage crashes or
hangs lbproof.

%s`

// Every damage to a file is refused. Damage hidden by a rewritten manifest crashes nothing, and unreadable rows never
// end a loop without an error.
func TestDamages(t *testing.T) {
	whole := newDamages("refused", "same verdicts", "other verdicts")
	tables := newDamages("refused", "same rows", "other rows")
	texts := newDamages("refused", "same verdicts", "other verdicts")
	var dirs []string
	for _, name := range recordings {
		dir, _ := recording(t, name)
		dirs = append(dirs, dir)
	}
	for i, dir := range dirs {
		damageFiles(t, whole, dirs, i)
		damageTable(t, tables, dir, hitsFile, i, func(h history.History) iter.Seq[history.Hit] { return h.Hits })
		damageTable(t, tables, dir, arrivalsFile, i, func(h history.History) iter.Seq[history.Arrival] { return h.Arrivals })
		damageTable(t, tables, dir, samplesFile, i, func(h history.History) iter.Seq[history.Sample] { return h.Samples })
		if slices.Contains(filesIn(t, dir), attemptsFile) {
			damageTable(t, tables, dir, attemptsFile, i, func(h history.History) iter.Seq[history.Attempt] { return h.Attempts })
		}
	}
	last := len(dirs) - 1
	for _, file := range []string{PlanFile, environmentFile, journalFile} {
		damageText(t, texts, dirs[last], file)
	}
	doc := fmt.Sprintf(damageDoc, "*"+strings.Join(recordings, "*, *")+"*", whole.table(), tables.table(), recordings[last], texts.table())
	t.Log("\n" + doc)
	page := filepath.Join("..", "..", "docs", "damage.md")
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(doc), 0o644))
	}
}

// filesIn returns the names of a folder's files.
func filesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	m, err := readManifest(dir)
	require.NoError(t, err)
	for _, b := range m.Files {
		names = append(names, b.Name)
	}
	return append(names, manifestFile)
}

// damageFiles applies every kind of damage to every file of a folder.
func damageFiles(t *testing.T, found *damages, dirs []string, i int) {
	dir := dirs[i]
	want, err := verdicts(dir)
	require.NoError(t, err)
	for _, file := range filesIn(t, dir) {
		r := rand.New(rand.NewPCG(uint64(i), 7))
		name := filepath.Join(dir, file)
		whole, err := os.ReadFile(name)
		require.NoError(t, err)
		try := func(kind string) {
			got, err := verdicts(dir)
			if err == nil {
				found.add(file, kind, map[bool]string{true: "same verdicts", false: "other verdicts"}[got == want])
				assert.Equal(t, want, got, "%s: %s, %s", recordings[i], file, kind)
				return
			}
			found.add(file, kind, "refused")
			assert.NotContains(t, err.Error(), "\n", kind)
			if file != manifestFile || kind != "file of another run" { // then the other files do not match it
				assert.ErrorContains(t, err, file, kind)
			}
		}
		for _, k := range kinds {
			for range damagesEach() {
				require.NoError(t, os.WriteFile(name, damaged(r, k.damage, whole), 0o644))
				try(k.name)
			}
		}
		require.NoError(t, os.Remove(name))
		try("removed")
		for j, other := range dirs {
			text, err := os.ReadFile(filepath.Join(other, file))
			if j == i || err != nil || bytes.Equal(text, whole) { // not every run has every file
				continue
			}
			require.NoError(t, os.WriteFile(name, text, 0o644))
			try("file of another run")
		}
		require.NoError(t, os.WriteFile(name, whole, 0o644))
	}
	got, err := verdicts(dir)
	require.NoError(t, err)
	assert.Equal(t, want, got, "put back")
}

// resealed rewrites a folder's manifest for a changed file.
func resealed(t *testing.T, dir string, m manifest, file string) {
	t.Helper()
	m.Files = slices.Clone(m.Files)
	place := slices.IndexFunc(m.Files, func(b fileEntry) bool { return b.Name == file })
	text, err := os.ReadFile(filepath.Join(dir, file))
	require.NoError(t, err)
	m.Files[place].Size, m.Files[place].SHA256 = int64(len(text)), model.Digest(text)
	text, err = m.text()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, manifestFile), text, 0o644))
}

func damageTable[T comparable](t *testing.T, found *damages, dir, file string, seed int, table func(history.History) iter.Seq[T]) {
	h, err := Open(dir)
	require.NoError(t, err)
	want := slices.Collect(table(h))
	require.NoError(t, h.Err())
	m, err := readManifest(dir)
	require.NoError(t, err)
	name := filepath.Join(dir, file)
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(uint64(seed), 8))
	for _, k := range kinds {
		for range damagesEach() / 4 {
			require.NoError(t, os.WriteFile(name, damaged(r, k.damage, whole), 0o644))
			resealed(t, dir, m, file)
			var got []T
			h, err := Open(dir)
			if err == nil {
				got, err = slices.Collect(table(h)), h.Err()
			}
			switch {
			case err != nil:
				found.add(file, k.name, "refused")
				assert.ErrorContains(t, err, file)
				if h.Hits != nil { // the error came from a loop
					assert.Empty(t, slices.Collect(table(h)), "no more rows")
					assert.Equal(t, err, h.Err(), "the error is kept")
				}
			case slices.Equal(got, want):
				found.add(file, k.name, "same rows")
			default:
				found.add(file, k.name, "other rows")
			}
		}
	}
	require.NoError(t, os.WriteFile(name, whole, 0o644))
	resealed(t, dir, m, file)
}

func damageText(t *testing.T, found *damages, dir, file string) {
	want, err := verdicts(dir)
	require.NoError(t, err)
	m, err := readManifest(dir)
	require.NoError(t, err)
	name := filepath.Join(dir, file)
	whole, err := os.ReadFile(name)
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(uint64(len(file)), 9))
	for _, k := range kinds {
		for range damagesEach() / 10 {
			require.NoError(t, os.WriteFile(name, damaged(r, k.damage, whole), 0o644))
			resealed(t, dir, m, file)
			switch got, err := verdicts(dir); {
			case err != nil:
				found.add(file, k.name, "refused")
				assert.ErrorContains(t, err, file)
			default:
				found.add(file, k.name, map[bool]string{true: "same verdicts", false: "other verdicts"}[got == want])
			}
		}
	}
	require.NoError(t, os.WriteFile(name, whole, 0o644))
	resealed(t, dir, m, file)
}
