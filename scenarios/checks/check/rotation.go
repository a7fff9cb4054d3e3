package check

import (
	"github.com/lbproof/lbproof/internal/model"
)

// CountInstances returns the number of a pool's balancing instances; 0: unknown.
func CountInstances(cfg model.Config, pool model.Pool, cpus int) int {
	switch {
	case pool.SharedState:
		return 1
	case cfg.Workers.Auto:
		return cpus
	}
	return max(1, cfg.Workers.Count)
}

// RotationInFlight is the number of requests in flight when rotation is tested.
const RotationInFlight = 8

// Rotation returns the servers in rotation: no backups, none marked down or with weight 0.
func Rotation(pool model.Pool) []model.Server {
	var active []model.Server
	for _, s := range pool.Servers {
		if !s.Backup && !s.Down && !s.Drain {
			active = append(active, s)
		}
	}
	return active
}

// WeightsOf returns the weight of each server.
func WeightsOf(servers []model.Server) []int {
	var w []int
	for _, s := range servers {
		w = append(w, s.Weight)
	}
	return w
}
