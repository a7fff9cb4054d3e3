package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/report"
)

// Designed experiments decide the laws of a configuration on the real balancer, and their cost is printed first.
func TestDesignedExperiments(t *testing.T) {
	f := func(config string, checks ...string) {
		t.Helper()
		dir := t.TempDir()
		p := start(t, dir, "test", "builtin:"+config, "--checks", strings.Join(checks, ","))
		assert.Equal(t, 0, p.wait(t), "%s\n%s", p.stderr.String(), p.stdout.String())
		assert.Contains(t, p.stderr.String(), "requests at most, about")
		_, r := reportOf(t, dir)
		decided := 0
		for _, v := range r.Verdicts {
			assert.NotEqual(t, report.Refuted, v.Outcome, "%s: %s", v.Claim.ID, v.Reason)
			if slices.Contains(checks, string(v.Claim.Check)) {
				assert.Equal(t, report.Upheld, v.Outcome, "%s: %s", v.Claim.ID, v.Reason)
				decided++
			}
		}
		assert.Positive(t, decided)
		p.nothingLeft(t, 0)
	}
	f("haproxy/limits", "limits", "weights")
	f("traefik/limits", "limits", "sticky")
}
