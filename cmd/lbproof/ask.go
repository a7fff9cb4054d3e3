package main

import (
	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/stack"
	"github.com/lbproof/lbproof/lbconfigs"
)

// askBalancer runs the balancer itself with a configuration. If that is not possible, why says so and answer is nil.
func askBalancer(cmd *cobra.Command, cfg model.Config) (answer *model.BalancerAnswer, why string) {
	specs, err := lbconfigs.Specs(cfg)
	if len(specs) == 0 { // an error about backends does not matter here
		return nil, err.Error()
	}
	p := newProgress(cmd.ErrOrStderr())
	defer p.end()
	engine, _, err := connect(cmd, p)
	if err != nil {
		return nil, err.Error()
	}
	defer delayExit()()
	p.Step("testing the configuration with " + cfg.Balancer)
	tried, err := stack.TryConfig(cmd.Context(), engine, specs[0], cfg)
	if err != nil {
		return nil, err.Error()
	}
	return &tried, ""
}
