package scenarios_test

import (
	"slices"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
)

const watched = "name: a\ndoc: d\nconfig: builtin:nginx/orchestry\nrules: b.yml\nphases: [{name: c, rate: 1, for: 1s, send: [{path: /}]}]\n"

func watching(t *testing.T, rules string) (plan.Plan, error) {
	t.Helper()
	s, err := scenarios.Read(fstest.MapFS{"d/a.yaml": {Data: []byte(watched)}, "d/b.yml": {Data: []byte(rules)}}, "d/a.yaml")
	require.NoError(t, err)
	cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, "nginx/orchestry", "")
	require.NoError(t, err)
	specs, err := lbconfigs.Specs(cfg)
	require.NoError(t, err)
	return s.Plan(cfg, specs)
}

// Prometheus scrapes the backends and nginx's exporter, which shares nginx's network; every rule is a claim.
func TestRulesAreClaims(t *testing.T) {
	p, err := watching(t, `groups:
- rules:
  - alert: Down
    expr: nginx_up{job="x"} == 0 or sum by (le) (rate(a_bucket[5m])) > nginx_up{job="x"}
  - record: rate
    expr: rate(b[1m])
`)
	require.NoError(t, err)
	assert.Equal(t, []plan.Query{
		{Name: "Down", Alert: true, Expr: `nginx_up{job="x"} == 0 or sum by (le) (rate(a_bucket[5m])) > nginx_up{job="x"}`, Selectors: []string{`nginx_up{job="x"}`, "a_bucket"}, Pos: model.Pos{File: "d/b.yml", Line: 3}},
		{Name: "rate", Expr: "rate(b[1m])", Selectors: []string{"b"}, Pos: model.Pos{File: "d/b.yml", Line: 5}},
	}, p.Queries)
	named := func(name string) plan.Spec {
		return p.Specs[slices.IndexFunc(p.Specs, func(s plan.Spec) bool { return s.Name == name })]
	}
	assert.Equal(t, "nginx@lbproof", named("nginx-exporter@lbproof").NetworkOf)
	assert.Contains(t, named("nginx-exporter@lbproof").Command[3], "://127.0.0.1:")
	assert.Contains(t, named("prometheus@lbproof").GeneratedFiles["/etc/prometheus/prometheus.yml"], "'nginx.lbproof.internal:9113'")
	assert.True(t, slices.ContainsFunc(p.Claims, func(c plan.Claim) bool { return c.ID == "queries/Down" }))
}

func TestInvalidRules(t *testing.T) {
	for rules, says := range map[string]string{
		"groups: [":                      "d/b.yml:1: ",
		"groups: []":                     "d/b.yml: no rules; write groups",
		"groups: [{rules: [{expr: a}]}]": "d/b.yml:1: rule without a name; add alert: NAME or record: NAME",
		"groups:\n- rules:\n  - alert: A\n    expr: a >": "d/b.yml:4: A: ",
	} {
		_, err := watching(t, rules)
		assert.ErrorContains(t, err, says)
	}
	_, err := scenarios.Read(fstest.MapFS{"a.yaml": {Data: []byte(watched)}}, "a.yaml")
	assert.ErrorContains(t, err, "a.yaml:4: rules: b.yml: no such file")
}
