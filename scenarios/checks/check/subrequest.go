package check

import "github.com/lbproof/lbproof/internal/model"

// poolsAt returns the pools of the routes at a path.
func poolsAt(cfg model.Config, path string) []string {
	var pools []string
	for _, r := range cfg.Routes {
		if r.Path == path && r.Pool != "" {
			pools = append(pools, r.Pool)
		}
	}
	return pools
}

// IsOwnAuthService reports whether a pool also answers the authentication subrequests for all requests to it, so that
// both alternate in its rotation.
func IsOwnAuthService(cfg model.Config, pool string) bool {
	ownAuth := false
	for _, r := range cfg.Routes {
		by, asked := AuthenticatedRoute(cfg, r)
		if asked && (by.Pool == pool) != (r.Pool == pool) {
			return false
		}
		ownAuth = ownAuth || asked && r.Pool == pool
	}
	return ownAuth
}

// MirrorServers returns the servers that get only copies of a route's requests.
func MirrorServers(cfg model.Config, r model.Route) []string {
	var hosts []string
	for _, m := range r.Mirrors {
		for _, name := range append(poolsAt(cfg, m.Pool), m.Pool) { // nginx names a location
			pool, _ := cfg.Pool(name)
			for _, s := range pool.Servers {
				if !HasServer(cfg, r.Pool, s.Host) {
					hosts = append(hosts, s.Host)
				}
			}
		}
	}
	return hosts
}

// AuthenticatedRoute returns a route whose requests an internal route authenticates.
func AuthenticatedRoute(cfg model.Config, r model.Route) (by model.Route, ok bool) {
	if !r.Internal {
		return model.Route{}, false
	}
	for i := range cfg.Routes {
		o := &cfg.Routes[i]
		if !o.HasBackendAuth() || o.Auth.Target != r.Path {
			continue
		}
		if _, found := RequestWithSpec(cfg, *o, ""); found {
			return *o, true
		}
	}
	return model.Route{}, false
}
