package lbconfigs_test

import (
	"testing"

	"github.com/lbproof/lbproof/lbconfigs/balancertest"
)

// Each line that makes promises is changed so that it makes others.
func TestTraefikEdits(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		balancertest.Mutate(t, "traefik", line, want...)
	}
	f("average: 100", "average: 65")
	f("interval: 10s", "interval: 20s")
}
