package check

import "github.com/lbproof/lbproof/internal/model"

// poolsAt are the pools of the routes at a path.
func poolsAt(cfg model.Config, path string) []string {
	var pools []string
	for _, r := range cfg.Routes {
		if r.Path == path && r.Pool != "" {
			pools = append(pools, r.Pool)
		}
	}
	return pools
}

// IsOwnAuthService says whether a pool's servers are those that are asked about all requests to it, so that these take
// turns with them.
func IsOwnAuthService(cfg model.Config, pool string) bool {
	itself := false
	for _, r := range cfg.Routes {
		by, asked := AuthenticatedRoute(cfg, r)
		if asked && (by.Pool == pool) != (r.Pool == pool) {
			return false
		}
		itself = itself || asked && r.Pool == pool
	}
	return itself
}

// MirrorServers are the servers that get copies of a route's requests, and none of its requests themselves.
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

// AuthenticatedRoute is a route whose requests a route of the balancer's own is asked about.
func AuthenticatedRoute(cfg model.Config, r model.Route) (by model.Route, ok bool) {
	if !r.Internal {
		return model.Route{}, false
	}
	for i := range cfg.Routes {
		o := &cfg.Routes[i]
		if !o.HasBackendAuth() || o.Auth.Target != r.Path {
			continue
		}
		if _, askable := RequestWithSpec(cfg, *o, ""); askable {
			return *o, true
		}
	}
	return model.Route{}, false
}
