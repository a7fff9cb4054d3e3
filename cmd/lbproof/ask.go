package main

import (
	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/stack"
	"github.com/lbproof/lbproof/lbconfigs"
)

// askBalancer lets the balancer itself look at a configuration; why says what kept it from being asked.
func askBalancer(cmd *cobra.Command, cfg model.Config) (answer *model.BalancerAnswer, why string) {
	specs, err := lbconfigs.Specs(cfg)
	if len(specs) == 0 { // else a backend cannot be placed, which keeps nobody from asking
		return nil, err.Error()
	}
	p := newProgress(cmd.ErrOrStderr())
	defer p.end()
	engine, _, err := connect(cmd, p)
	if err != nil {
		return nil, err.Error()
	}
	defer delayExit()()
	p.Step("asking " + cfg.Balancer + " itself")
	said, err := stack.TryConfig(cmd.Context(), engine, specs[0], cfg)
	if err != nil {
		return nil, err.Error()
	}
	return &said, ""
}
