package scenarios

import (
	"fmt"
	"slices"

	"github.com/lbproof/lbproof/internal/lb"
)

// Dependencies are the services that backends can be given to need. Each has the name of the backend's flag for its address.
var Dependencies = []lb.Spec{
	{
		Name: "postgres", Role: lb.Dependency, Ports: []int{5432}, User: "postgres", Env: map[string]string{"PATH": "/usr/lib/postgresql/15/bin:/usr/bin:/bin"},
		Command: []string{"/bin/sh", "-c", startPostgres},
		Image: lb.Image{
			Ref: "postgres:15", Packages: []string{"postgresql-15", "coreutils", "dash"}, Users: []string{"postgres"},
			Dirs: []string{"/tmp", "/run", "/run/postgresql"}, Links: []string{"/bin/sh -> dash"},
		},
	},
	{
		Name: "redis", Role: lb.Dependency, Ports: []int{6379},
		Command: []string{"redis-server", "--save", "", "--appendonly", "no", "--protected-mode", "no"},
		Image:   lb.Image{Ref: "redis:7", Packages: []string{"redis-server"}, Dirs: []string{"/tmp", "/run"}},
	},
}

// startPostgres makes a database that anybody may ask, unless an earlier start did, and serves it.
const startPostgres = `set -e
data=/tmp/database
[ -d $data ] || { initdb -D $data -A trust --no-sync >/tmp/initdb; echo 'host all all all trust' >>$data/pg_hba.conf; }
rm -f $data/postmaster.pid
exec postgres -D $data -k /tmp -c listen_addresses='*' -c fsync=off`

// dependOn adds what the backends need, and tells them where it is.
func (s Scenario) dependOn(plan *lb.Plan) error {
	for _, d := range Dependencies {
		if !slices.Contains(s.Needs, d.Name) {
			continue
		}
		for i, spec := range plan.Specs {
			if spec.Name == d.Name {
				return fmt.Errorf("%s: needs: the configuration has a node of its own that is called %s", s.File, d.Name)
			}
			if spec.Role == lb.Backend && !spec.Helper {
				plan.Specs[i].Command = append(slices.Clone(spec.Command), "--"+d.Name, fmt.Sprintf("%s:%d", d.Name, d.Ports[0]))
			}
		}
		plan.Specs = append(plan.Specs, d)
	}
	return nil
}
