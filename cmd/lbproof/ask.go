package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/stack/docker"
	"github.com/lbproof/lbproof/lbconfigs"
)

// askBalancer lets the balancer itself look at a configuration; why says what kept it from being asked.
func askBalancer(cmd *cobra.Command, cfg model.Config) (answer *model.Answered, why string) {
	binary, err := os.Executable()
	if err != nil {
		return nil, err.Error()
	}
	specs, err := lbconfigs.Specs(cfg)
	if len(specs) == 0 { // else a backend cannot be placed, which keeps nobody from asking
		return nil, err.Error()
	}
	p := newProgress(cmd.ErrOrStderr())
	defer p.end()
	docker := &docker.Docker{Binary: binary, Progress: p.Step}
	if _, err := docker.Connect(cmd.Context()); err != nil {
		return nil, err.Error()
	}
	defer cleaningUp()()
	said, err := docker.Ask(cmd.Context(), specs[0], cfg)
	if err != nil {
		return nil, err.Error()
	}
	return &said, ""
}
