package backends

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

// Dependency is a service that the backend needs, e.g. a database or a cache.
type Dependency struct {
	Name string
	// Ping returns nil if the dependency responds.
	Ping func(context.Context) error
}

// pingTimeout is how long a dependency may take to respond.
const pingTimeout = 2 * time.Second

// Postgres returns a PostgreSQL server at host:port as a dependency. It connects on the first Ping.
func Postgres(address string) (Dependency, error) {
	const form = "postgres://postgres@%s/postgres?sslmode=disable&connect_timeout=2"
	config, err := pgxpool.ParseConfig(fmt.Sprintf(form, address))
	if err != nil {
		return Dependency{}, fmt.Errorf("read the address of PostgreSQL: %w", err)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return Dependency{}, fmt.Errorf("configure connections to PostgreSQL: %w", err)
	}
	return Dependency{"database", func(ctx context.Context) error {
		_, err := pool.Exec(ctx, "SELECT 1")
		return err
	}}, nil
}

// Redis returns a Redis server at host:port as a dependency.
func Redis(address string) Dependency {
	once := &redis.Options{Addr: address, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true}
	client := redis.NewClient(once) // no retries
	return Dependency{"redis", func(ctx context.Context) error { return client.Ping(ctx).Err() }}
}

type pingResult struct {
	took time.Duration
	err  error
}

// pingAll pings all dependencies concurrently.
func (s *Service) pingAll(ctx context.Context) []pingResult {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	all := make([]pingResult, len(s.Dependencies))
	var pinging sync.WaitGroup
	for i, d := range s.Dependencies {
		pinging.Go(func() {
			from := time.Now()
			err := d.Ping(ctx)
			all[i] = pingResult{time.Since(from), err}
		})
	}
	pinging.Wait()
	return all
}

// ready reports whether the service can work: 503 if a dependency does not respond.
func (s *Service) ready(w http.ResponseWriter, r *http.Request) {
	status, code, checks := "ready", http.StatusOK, map[string]string{}
	for i, a := range s.pingAll(r.Context()) {
		checks[s.Dependencies[i].Name] = "ok"
		if a.err != nil {
			status, code = "degraded", http.StatusServiceUnavailable
			checks[s.Dependencies[i].Name] = fmt.Sprintf("error: %v", a.err)
		}
	}
	s.reply(w, code, map[string]any{"status": status, "checks": checks})
}

// The health states.
const (
	healthy   = "healthy"
	degraded  = "degraded"
	unhealthy = "unhealthy"
)

// detailedHealth reports the state of each part: 503 if one is unhealthy, 200 if one is only degraded.
func (s *Service) detailedHealth(w http.ResponseWriter, r *http.Request) {
	overall, now := healthy, time.Now().UTC()
	agents := s.agents()
	if agents["status"] == degraded {
		overall = degraded
	}
	checks := map[string]any{"agents": agents}
	for i, a := range s.pingAll(r.Context()) {
		check := map[string]any{"status": healthy, "latency_ms": milliseconds(a.took), "last_check": now}
		if a.err != nil {
			overall, check = unhealthy, map[string]any{"status": unhealthy, "error": a.err.Error(), "last_check": now}
		}
		checks[s.Dependencies[i].Name] = check
	}
	health := map[string]any{
		"status": overall, "timestamp": now, "checks": checks,
		"uptime_seconds": milliseconds(time.Since(started)) / 1000,
	}
	if overall == unhealthy {
		s.reply(w, http.StatusServiceUnavailable, map[string]any{"detail": health})
		return
	}
	s.reply(w, http.StatusOK, health)
}

var started = time.Now()

func milliseconds(d time.Duration) float64 { return float64(d.Round(10*time.Microsecond)) / 1e6 }

// agents reports the clients with an open WebSocket, and the maximum so far.
func (s *Service) agents() map[string]any {
	active, total := s.webSockets.Load(), s.peakWebSockets.Load()
	ratio := float64(active) / float64(max(total, 1))
	status := degraded
	if ratio > 0.8 {
		status = healthy
	}
	return map[string]any{
		"status": status, "active_agents": active, "total_agents": total,
		"disconnected_agents": total - active, "connectivity_ratio": ratio,
	}
}

// maxWebSockets is the limit of open WebSockets that the service reports.
const maxWebSockets = 1000

func (s *Service) webSocketHealth(w http.ResponseWriter, _ *http.Request) {
	active := s.webSockets.Load()
	ratio, status := float64(active)/maxWebSockets, healthy
	if ratio > 0.9 {
		status = degraded
	}
	s.reply(w, http.StatusOK, map[string]any{
		"status": status, "timestamp": time.Now().UTC(),
		"active_connections": active, "max_connections": maxWebSockets, "connection_ratio": ratio,
	})
}

func (s *Service) basicHealth(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, map[string]any{"status": "ok", "timestamp": time.Now().UTC()})
}
