package prove

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/run"
	"github.com/lbproof/lbproof/internal/source"
	"github.com/lbproof/lbproof/internal/stack"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/lbconfigs/mutations"
)

// twoHeaders has four mutations: a weight, two headers that share a run, and proxy_pass.
const twoHeaders = `events {}
http {
    upstream cats { server cat-1:8000; server cat-2:8000 weight=2; }
    server {
        listen 80;
        add_header X-One 1 always;
        add_header X-Two 2 always;
        location / { proxy_pass http://cats; }
    }
}
`

// bench runs mutations of twoHeaders without containers: answer returns the result of a run, whose folder is named
// after the content of its file.
type bench struct {
	Mutator

	answer func(files string, kinds []plan.Check) (report.Report, error)

	mu      sync.Mutex
	runs    []string // the files of each, in order
	begun   []Work
	decided []report.Mutation
}

// newBench returns a bench whose runs refute nothing.
func newBench(t *testing.T, dir string) *bench {
	t.Helper()
	b := &bench{}
	b.answer = func(string, []plan.Check) (report.Report, error) { return report.Report{}, nil }
	b.Read = func(files []model.File) (model.Config, error) {
		below := fstest.MapFS{"nginx.conf": {Data: []byte(twoHeaders)}}
		return lbconfigs.Read(source.Overlay{Base: below, Files: files}, "nginx.conf", "")
	}
	cfg, err := b.Read(nil)
	require.NoError(t, err)
	b.Config, b.Dir, b.CacheKey = cfg, dir, "version 1"
	b.Design = func(kinds []plan.Check) (plan.Plan, error) {
		return plan.Plan{Config: cfg, Checks: kinds, Phases: []plan.Phase{{Requests: []plan.Request{{}}}}}, nil
	}
	judged := map[string]report.Report{}
	b.Run = func(_ context.Context, p plan.Plan) (string, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		text := string(p.Config.Files[0].Content)
		b.runs = append(b.runs, text)
		r, err := b.answer(text, p.Checks)
		judged[text] = r
		return text, err
	}
	b.Judge = func(dir string) (report.Report, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return judged[dir], nil
	}
	b.Progress = b
	return b
}

func (b *bench) Unchanged(time.Duration) {}

func (b *bench) Begin(work Work) { b.begun = append(b.begun, work) }

func (b *bench) Decided(_, _ int, m report.Mutation) { b.decided = append(b.decided, m) }

// outcomes returns the outcomes of the mutations, in the order of their lines.
func (b *bench) outcomes() (all []string) {
	for _, m := range b.Mutations() {
		all = append(all, m.Outcome)
	}
	return all
}

// verdicts builds a report from "claim outcome" pairs: "a refuted", "b upheld".
func verdicts(all ...string) report.Report {
	var r report.Report
	for _, one := range all {
		id, outcome, _ := strings.Cut(one, " ")
		v := report.Verdict{Claim: plan.Claim{ID: id}, Reason: "measured"}
		if err := v.Outcome.UnmarshalText([]byte(outcome)); err != nil {
			panic(err)
		}
		r.Verdicts = append(r.Verdicts, v)
	}
	return r
}

// unknown builds undecided mutations on separate lines, each with the claims in one string: "a b".
func unknown(claims ...string) []report.Mutation {
	var all []report.Mutation
	for i, c := range claims {
		all = append(all, report.Mutation{Pos: model.Pos{File: "nginx.conf", Line: 1 + i}, Claims: strings.Fields(c)})
	}
	return all
}

// Mutations share a run unless they have a claim, or a line, in common or need other checks; a run has at most eight.
func TestBatches(t *testing.T) {
	b := newBench(t, t.TempDir())
	require.NoError(t, b.Open())
	made := map[plan.Check][]string{} // ids
	for _, c := range b.Mutator.decidableClaims() {
		made[c.Check] = append(made[c.Check], c.ID)
	}
	headers, weights := made["response"], made["weights"]
	require.Len(t, headers, 2)
	require.NotEmpty(t, weights)
	f := func(all []report.Mutation, want ...[]int) {
		t.Helper()
		b.state.Mutations = all
		var got [][]int
		for _, one := range b.batches() {
			got = append(got, one.mutations)
		}
		assert.Equal(t, want, got)
	}
	one, two, weight := headers[0], headers[1], weights[0]
	f(unknown(one, two), []int{0, 1})
	f(unknown(one, one), []int{0}, []int{1})
	f(unknown(one, one+" "+two, two), []int{0, 2}, []int{1})
	f(unknown(one, weight, two), []int{0, 2}, []int{1})
	sameLine := unknown(one, two)
	sameLine[1].Pos = sameLine[0].Pos
	f(sameLine, []int{0}, []int{1})
	known := unknown(one, two)
	known[0].Outcome = report.MutationKilled
	f(known, []int{1})
	f(unknown("1", "2", "3", "4", "5", "6", "7", "8", "9"), []int{0, 1, 2, 3, 4, 5, 6, 7}, []int{8})

	b.state.Refuted = []string{one}
	f(unknown(one, one+" "+two), []int{1})
	assert.Equal(t, report.MutationOriginalRefuted, b.state.Mutations[0].Outcome)
}

func TestDecide(t *testing.T) {
	f := func(r report.Report, want, why string, killers ...string) {
		t.Helper()
		found := report.Mutation{Claims: []string{"a", "b", "broken"}}
		judgeMutation(&found, r.Verdicts, []string{"broken"})
		assert.Equal(t, want, found.Outcome)
		assert.Equal(t, why, found.Reason)
		assert.Equal(t, killers, found.Killers)
	}
	f(verdicts("a refuted"), report.MutationKilled, "measured", "a")
	f(verdicts("a upheld", "b refuted"), report.MutationKilled, "measured", "b")
	f(verdicts("a refuted", "b refuted"), report.MutationKilled, "measured", "a", "b")
	f(verdicts("a upheld", "b undecided"), report.MutationSurvived, "a is upheld: measured")
	f(verdicts("a untestable", "b undecided"), report.MutationSurvived, "a is untestable: measured")
	f(verdicts("a untestable", "b untestable"), report.MutationUntestable, "a is untestable: measured")
	f(verdicts("other refuted"), report.MutationUntestable, "")
	f(verdicts("broken refuted", "a upheld"), report.MutationSurvived, "a is upheld: measured")
}

// mutations.json stores the results, and a second call runs the rest only; other files or another version start over.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	first := newBench(t, dir)
	require.NoError(t, first.Open())
	require.NotEmpty(t, first.Mutations())
	cut := errors.New("the engine is down")
	first.answer = func(string, []plan.Check) (report.Report, error) {
		if len(first.runs) > 2 {
			return report.Report{}, cut
		}
		return report.Report{}, nil
	}
	require.ErrorIs(t, first.Mutate(t.Context(), 1), cut)
	assert.Equal(t, twoHeaders, first.runs[0], "the original file comes first")
	require.NotEmpty(t, first.decided)

	second := newBench(t, dir)
	require.NoError(t, second.Open())
	assert.Equal(t, first.Mutations(), second.Mutations())
	require.NoError(t, second.Mutate(t.Context(), 2))
	assert.NotContains(t, second.runs, twoHeaders)
	assert.NotContains(t, second.runs, first.runs[1])
	assert.Equal(t, Work{
		Mutations: len(second.Mutations()), Decided: len(first.decided), Runs: len(second.runs), Parallel: 2,
		Estimate: time.Duration(len(second.runs)) * stackOverhead / 2,
	}, second.begun[0])
	assert.NotContains(t, second.outcomes(), "")

	third := newBench(t, dir)
	require.NoError(t, third.Open())
	require.NoError(t, third.Mutate(t.Context(), 1))
	assert.Empty(t, third.runs)

	other := newBench(t, dir)
	other.CacheKey = "version 2"
	require.NoError(t, other.Open())
	assert.False(t, other.state.BaselineJudged)
	for _, m := range other.Mutations() {
		assert.Empty(t, m.Outcome)
	}

	var harness *HarnessError
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mutations.json"), []byte("{"), 0o600))
	assert.ErrorAs(t, newBench(t, dir).Open(), &harness)
}

// The mutations of both headers share a run. If its result could be caused by either, each is run separately.
func TestOneByOne(t *testing.T) {
	const first, second = "response/#X-One", "response/#X-Two"
	changed := func(text string) (one, two bool) {
		return !strings.Contains(text, "X-One 1 always"), !strings.Contains(text, "X-Two 2 always")
	}
	refused := &stack.RefusedError{Text: "not like this"}
	f := func(runs int, answer func(one, two bool) (report.Report, error), want ...string) {
		t.Helper()
		b := newBench(t, t.TempDir())
		b.answer = func(text string, _ []plan.Check) (report.Report, error) {
			if one, two := changed(text); one || two {
				return answer(one, two)
			}
			return verdicts("weights/cats upheld", "answered/ upheld"), nil
		}
		require.NoError(t, b.Open())
		require.NoError(t, b.Mutate(t.Context(), 1))
		assert.Equal(t, append(append([]string{report.MutationSurvived}, want...), report.MutationSurvived), b.outcomes())
		alone := 0
		for _, text := range b.runs {
			if one, two := changed(text); one != two {
				alone++
			}
		}
		assert.Equal(t, runs, alone)
	}
	f(0, func(bool, bool) (report.Report, error) {
		return verdicts(first+" refuted", second+" upheld"), nil
	}, report.MutationKilled, report.MutationSurvived)
	f(2, func(one, _ bool) (report.Report, error) {
		if one {
			return report.Report{}, refused
		}
		return verdicts(second + " upheld"), nil
	}, report.MutationRefused, report.MutationSurvived)
	f(2, func(one, two bool) (report.Report, error) {
		if one && two {
			return report.Report{}, &run.DownError{Balancer: "nginx", Err: refused}
		}
		return verdicts(first+" refuted", second+" refuted"), nil
	}, report.MutationKilled, report.MutationKilled)
	f(2, func(one, _ bool) (report.Report, error) {
		if one {
			return verdicts(first+" refuted", "weights/cats refuted"), nil
		}
		return verdicts(second + " untestable"), nil
	}, report.MutationKilled, report.MutationUntestable)
}

// Claims that the original file violates are not attributed to a mutation.
func TestOriginalRefuted(t *testing.T) {
	b := newBench(t, t.TempDir())
	b.answer = func(string, []plan.Check) (report.Report, error) {
		return verdicts("response/#X-One refuted", "response/#X-Two upheld", "weights/cats upheld", "answered/ upheld"), nil
	}
	require.NoError(t, b.Open())
	require.NoError(t, b.Mutate(t.Context(), 1))
	assert.Equal(t, []string{report.MutationSurvived, report.MutationOriginalRefuted, report.MutationSurvived, report.MutationSurvived}, b.outcomes())
	assert.Len(t, b.runs, 4)
}

// Any other error ends Mutate and names the mutation; an interruption is a HarnessError.
func TestRunFails(t *testing.T) {
	b := newBench(t, t.TempDir())
	cut := errors.New("the engine is down")
	b.answer = func(text string, _ []plan.Check) (report.Report, error) {
		if text == twoHeaders {
			return report.Report{}, nil
		}
		return report.Report{}, cut
	}
	require.NoError(t, b.Open())
	err := b.Mutate(t.Context(), 1)
	require.ErrorIs(t, err, cut)
	assert.Contains(t, err.Error(), "nginx.conf:3: ")
	assert.Contains(t, err.Error(), "weight=1; }\" instead of ")

	ctx, cancel := context.WithCancel(t.Context())
	b.answer = func(string, []plan.Check) (report.Report, error) {
		cancel()
		return report.Report{}, cut
	}
	var harness *HarnessError
	require.ErrorAs(t, b.Mutate(ctx, 1), &harness)
	assert.ErrorIs(t, harness, context.Canceled)
}

func TestMaxParallel(t *testing.T) {
	assert.Equal(t, 1, MaxParallel([]plan.Spec{{Name: "cat-1"}, {Address: "10.0.0.1"}}))
	assert.Positive(t, MaxParallel([]plan.Spec{{Name: "cat-1"}}))
}

// A mutation affects the claims that differ, to the last digit.
func TestDependents(t *testing.T) {
	b := newBench(t, t.TempDir())
	const old = "add_header X-One 1 always;"
	f := func(line string, want ...string) {
		t.Helper()
		change := mutations.Mutation{Pos: model.Pos{File: "nginx.conf", Line: 6}, Old: old, New: line}
		assert.Equal(t, want, b.affectedClaims(change))
	}
	f(old)
	f("add_header X-One 2 always;", "response/#X-One")
	f("client_max_body_size 10; "+old, "body/")

	below := strings.Replace(twoHeaders, old, "client_max_body_size 1048576;", 1)
	b.Read = func(files []model.File) (model.Config, error) {
		fsys := source.Overlay{Base: fstest.MapFS{"nginx.conf": {Data: []byte(below)}}, Files: files}
		return lbconfigs.Read(fsys, "nginx.conf", "")
	}
	var err error
	b.Config, err = b.Read(nil)
	require.NoError(t, err)
	change := mutations.Mutation{Pos: model.Pos{File: "nginx.conf", Line: 6}, Old: "1048576", New: "1048577"}
	assert.Equal(t, []string{"body/"}, b.affectedClaims(change))
}
