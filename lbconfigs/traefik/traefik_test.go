package traefik_test

import (
	"testing"

	"github.com/lbproof/lbproof/lbconfigs/balancertest"
)

func FuzzTraefik(f *testing.F) { balancertest.Fuzz(f, "traefik", "traefik.yaml") }

func FuzzTraefikTOML(f *testing.F) { balancertest.Fuzz(f, "traefik", "traefik.toml") }

// Each line is changed so that it makes other claims.
func TestEdits(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		balancertest.Mutate(t, "traefik", line, want...)
	}
	f("average: 100", "average: 65")
	f("interval: 10s", "interval: 20s")
}
