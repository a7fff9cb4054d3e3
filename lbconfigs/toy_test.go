package lbconfigs_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/lbconfigs/balancertest/toy"
	"github.com/lbproof/lbproof/lbconfigs/mutations"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// A balancer is one folder and one line: with the toy in the table, its claims are derived, its run is planned, an
// honest toy is upheld and a wrong one refuted.
func TestABalancerIsOneFolderAndOneLine(t *testing.T) {
	before := lbconfigs.All
	lbconfigs.All = append(slices.Clone(before), toy.Balancer) // the line
	defer func() { lbconfigs.All = before }()

	assert.Contains(t, lbconfigs.Names(), "toy/weighted")
	cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, "toy/weighted", "")
	require.NoError(t, err)
	assert.Empty(t, cfg.Problems)
	ids := map[string]int{}
	for _, c := range checks.Claims(cfg) {
		ids[c.ID] = c.Pos.Line
	}
	assert.Equal(t, 3, ids["weights/web"])
	assert.Equal(t, 7, ids["endpoint/= /health"])
	var changes []string
	for _, m := range mutations.Of(cfg, checks.Claims(cfg)) {
		changes = append(changes, m.String())
	}
	assert.Contains(t, strings.Join(changes, "\n"), `toy.conf:4: "server web web-1:8080 2" instead of`)

	specs, err := lbconfigs.Specs(cfg)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"/etc/toy/toy.conf": "toy/weighted/toy.conf"}, specs[0].Files)

	judged := func(m fixtures.Mutant) map[plan.Check]report.Outcome {
		s, err := scenarios.Read(scenarios.BuiltIn, "baseline.yaml")
		require.NoError(t, err)
		s.Backends = nil
		p, err := s.Plan(cfg, specs)
		require.NoError(t, err)
		r, err := checks.Judge(fixtures.Simulate(p, m, 1))
		require.NoError(t, err)
		outcomes := map[plan.Check]report.Outcome{}
		for _, v := range r.Verdicts {
			outcomes[v.Claim.Check] = v.Outcome
		}
		return outcomes
	}
	honest := judged(fixtures.Mutant{})
	assert.Equal(t, report.Upheld, honest[plan.CheckWeights])
	assert.Equal(t, report.Upheld, honest[plan.CheckEndpoint])
	assert.Equal(t, report.Upheld, honest[plan.CheckOnce])
	assert.Equal(t, report.Refuted, judged(fixtures.Mutant{Weights: []int{1, 1, 1}})[plan.CheckWeights])
}

// Errors in a toy file are reported with their line, and unknown lines make no claim.
func TestToyErrors(t *testing.T) {
	before := lbconfigs.All
	lbconfigs.All = append(slices.Clone(before), toy.Balancer)
	defer func() { lbconfigs.All = before }()
	f := func(text, want string) {
		t.Helper()
		_, err := lbconfigs.Read(fstest.MapFS{"toy.conf": {Data: []byte(text)}}, "toy.conf", "toy")
		assert.ErrorContains(t, err, want)
	}
	f("route / web\n", "toy.conf:1: route before listen")
	f("listen 80\npool web\nserver web a:80 0\n", "toy.conf:3: 0 is not a weight")
	f("listen many\n", "toy.conf:1: many is not a port")
	f("listen 80\nserver web a:80 1\n", "toy.conf:2: pool web is not defined above")
	f("listen 80\npool web extra\n", "toy.conf:2: pool: 2 arguments instead of 1")
	cfg, err := lbconfigs.Read(fstest.MapFS{"toy.conf": {Data: []byte("listen 80\ncache on\n")}}, "toy.conf", "toy")
	require.NoError(t, err)
	assert.Len(t, cfg.Unread, 1)
}
