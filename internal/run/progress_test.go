package run

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/folder"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// lines records the progress of phases.
type lines struct {
	silent
	text []string
}

func (l *lines) Phase(name string, hits, of, failed int) {
	l.text = append(l.text, fmt.Sprintf("%s %d/%d, %d failed", name, hits, of, failed))
}

// Error responses to probes may be expected, so they do not count as failures.
func TestProgressCountsNoFailedProbes(t *testing.T) {
	p := plan.Plan{Schema: plan.PlanSchema, Phases: []plan.Phase{
		{Name: "probes", Engine: plan.Prober, Count: 2, Requests: sends},
		{Name: "load", Engine: plan.Epoll, Count: 2, Requests: sends},
	}}
	f, err := folder.Create(filepath.Join(t.TempDir(), "one"), p)
	require.NoError(t, err)
	var progress lines
	c := eventCounter{execution: &execution{Runner: Runner{Progress: &progress}, plan: p, folder: f}}
	for phase := range p.Phases {
		var hits packer
		for i := range 2 {
			hits.add(history.Hit{Seq: uint64(2*phase + i + 1), Phase: phase, Code: http.StatusNotFound})
		}
		require.NoError(t, c.add(workerEvent{Hits: hits.take()}))
	}
	assert.Equal(t, []string{"probes 2/2, 0 failed", "load 2/2, 2 failed"}, progress.text)
}
