package check

import (
	"github.com/lbproof/lbproof/internal/model"
)

// CountInstances is how many balancing states a pool has; 0 where that is not known.
func CountInstances(cfg model.Config, pool model.Pool, cpus int) int {
	switch {
	case pool.SharedState:
		return 1
	case cfg.Workers.Auto:
		return cpus
	}
	return max(1, cfg.Workers.Count)
}

// RotationInFlight is how many requests of a trial of turns are in flight.
const RotationInFlight = 8

// Rotation is the servers that take turns: no backups, none marked down or with the weight 0.
func Rotation(pool model.Pool) []model.Server {
	var active []model.Server
	for _, s := range pool.Servers {
		if !s.Backup && !s.Down && !s.Drain {
			active = append(active, s)
		}
	}
	return active
}

func WeightsOf(servers []model.Server) []int {
	var w []int
	for _, s := range servers {
		w = append(w, s.Weight)
	}
	return w
}
