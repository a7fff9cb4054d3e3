package traefik

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUnknownKeys(t *testing.T) {
	f := func(config, want, instead string) {
		t.Helper()
		cfg, err := readConfig(fstest.MapFS{"traefik.yaml": {Data: []byte(config)}}, "traefik.yaml")
		require.NoError(t, err)
		if assert.NotEmpty(t, cfg.Problems) {
			assert.Equal(t, want, cfg.Problems[0].Text)
			assert.Equal(t, instead, cfg.Problems[0].Instead)
		}
	}
	const ignores = ": unknown key in Traefik v3, which ignores the whole file (its routers respond 404)"
	f("http: {middlewares: {m: {circuitBreaker: {recoverDuration: 1s}}}}",
		"recoverDuration"+ignores, "recoveryDuration")
	f("http: {frobnicators: {}}", "frobnicators"+ignores, "remove it")
	f("http: {}\napi: {}", "api"+ignores, "the static configuration, not this file")
	f("http: {frontends: {}}", "frontends"+ignores, "http.routers (Traefik v2 and later)")
	f("entryPoints: {web: {adress: ':80'}}",
		"adress: unknown key in Traefik v3, which does not start", "address")
}

func TestMisspelledNames(t *testing.T) {
	f := func(config string, want ...string) {
		t.Helper()
		services := "  services: {shop: {loadBalancer: {servers: [{url: 'http://a'}]}}}\n"
		cfg, err := readConfig(fstest.MapFS{"traefik.yaml": {Data: []byte("http:\n" + config + services)}}, "traefik.yaml")
		require.NoError(t, err)
		var texts []string
		for _, p := range cfg.Problems {
			texts = append(texts, p.Text)
		}
		assert.Equal(t, want, texts)
	}
	f("  routers: {r: {rule: PathPrefix(`/`), service: shpo}}\n",
		`service "shpo" is not defined; Traefik ignores router r; did you mean shop?`)
	f("  routers: {r: {rule: PathPrefix(`/`), service: shop, entryPoints: [wbe]}}\n",
		"entry point wbe is not defined; router r does not listen there; did you mean web?")
	f("  routers: {r: {rule: PathPrefix(`/`), service: shop, middlewares: [slwo]}}\n"+
		"  middlewares: {slow: {retry: {attempts: 2}}}\n",
		"middleware slwo is not defined; Traefik ignores router r; did you mean slow?", "middleware slow is not used")
	f("  routers: {r: {rule: PathPrefx(`/`), service: shop}}\n",
		"Traefik ignores router r: unknown matcher PathPrefx; did you mean PathPrefix?")
}
