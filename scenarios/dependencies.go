package scenarios

import (
	"fmt"
	"slices"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Dependencies are the services that backends can depend on. The short name of each is also its host name and the
// backend's flag for its address.
var Dependencies = []plan.Spec{
	{
		Name: plan.HarnessName("postgres"), Role: plan.Dependency, Ports: []int{5432}, User: "postgres",
		Env:     map[string]string{"PATH": "/usr/lib/postgresql/15/bin:/usr/bin:/bin"},
		Command: []string{"/bin/sh", "-c", startPostgres},
		Image: plan.Image{
			Ref: "postgres:15", Packages: []string{"postgresql-15", "coreutils", "dash"}, Users: []string{"postgres"},
			Dirs: []string{"/tmp", "/run", "/run/postgresql"}, Links: []string{"/bin/sh -> dash"},
		},
	},
	{
		Name: plan.HarnessName("redis"), Role: plan.Dependency, Ports: []int{6379},
		Command: []string{"redis-server", "--save", "", "--appendonly", "no", "--protected-mode", "no"},
		Image:   plan.Image{Ref: "redis:7", Packages: []string{"redis-server"}, Dirs: []string{"/tmp", "/run"}},
	},
}

// startPostgres creates a database without authentication, unless an earlier start did, and serves it.
const startPostgres = `set -e
data=/tmp/database
[ -d $data ] || { initdb -D $data -A trust --no-sync >/tmp/initdb; echo 'host all all all trust' >>$data/pg_hba.conf; }
rm -f $data/postmaster.pid
exec postgres -D $data -k /tmp -c listen_addresses='*' -c fsync=off`

// addDependencies adds the dependencies to a plan, and their addresses to the backends.
func (s Scenario) addDependencies(p *plan.Plan) error {
	for _, d := range Dependencies {
		short := plan.ShortName(d.Name)
		if !slices.Contains(s.Needs, short) {
			continue
		}
		for i, spec := range p.Specs {
			if model.SameHost(spec.Name, short) {
				return fmt.Errorf("%s: needs: %s is also the name of a server in the configuration (%s); "+
					"rename that server", s.File, short, serverPosition(p.Config, spec))
			}
			if spec.Role == plan.Backend && !spec.Helper {
				p.Specs[i].Command = append(slices.Clone(spec.Command), "--"+short, fmt.Sprintf("%s:%d", d.Host(), d.Ports[0]))
			}
		}
		p.Specs = append(p.Specs, d)
	}
	return nil
}

// serverPosition returns where a configuration names the host of a node.
func serverPosition(cfg model.Config, node plan.Spec) string {
	for _, pool := range cfg.Pools {
		for _, server := range pool.Servers {
			if model.SameHost(server.Host, node.Name) {
				return server.Pos.String()
			}
		}
	}
	return node.Name
}
