package toy_test

import (
	"slices"
	"testing"

	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/lbconfigs/balancertest"
	"github.com/lbproof/lbproof/lbconfigs/balancertest/toy"
)

func FuzzToy(f *testing.F) {
	before := lbconfigs.All
	lbconfigs.All = append(slices.Clone(before), toy.Balancer) // a balancer of the program is there already
	defer func() { lbconfigs.All = before }()
	balancertest.Fuzz(f, "toy", "toy.conf")
}
