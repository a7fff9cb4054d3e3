package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
)

// valid returns a plan that Validate accepts.
func valid() Plan {
	return Plan{
		Schema: PlanSchema, Name: "p", Alpha: 0.001, Beta: 0.001, Config: model.Config{Files: []model.File{model.NewFile("nginx.conf", []byte("events {}"))}},
		Specs: []Spec{
			{
				Name: "nginx", Role: Balancer, Command: []string{"nginx"}, Ports: []int{80, 443}, TLSPorts: []int{443}, Files: map[string]string{"/etc/nginx/nginx.conf": "nginx.conf"},
				Image: Image{Ref: "nginx:stable", Packages: []string{"nginx", "libstdc++6"}, Users: []string{"www-data"}, Dirs: []string{"/tmp"}, Links: []string{"/var/run -> /run"}},
			},
			{
				Name: "10.0.0.1", Role: Backend, Command: []string{"/lbproof", "backend"},
				Image: Image{Module: &Module{Name: "traefik", Path: "github.com/traefik/traefik/v3", Version: "v3.6.12", Package: "cmd/traefik"}},
			},
		},
		Phases: []Phase{{Name: "a phase", Engine: Goroutines, Count: 10, Concurrency: 1, Timeout: time.Second, Requests: []Request{{Port: 80, Path: "/"}}}},
	}
}

func TestInvalidPlans(t *testing.T) {
	require.NoError(t, valid().Validate())
	f := func(want string, change func(p *Plan)) {
		t.Helper()
		p := valid()
		change(&p)
		assert.ErrorContains(t, p.Validate(), want)
	}
	image := func(want string, change func(i *Image)) {
		t.Helper()
		f("specs[0].image."+want, func(p *Plan) { change(&p.Specs[0].Image) })
	}
	module := func(want string, change func(m *Module)) {
		t.Helper()
		f("specs[1].image.module."+want, func(p *Plan) { change(p.Specs[1].Image.Module) })
	}
	for _, name := range []string{"-o", "-oDPkg::Pre-Invoke::=touch /tmp/x", "nginx=1", "nginx/sid", "./evil.deb", "/tmp/evil.deb", "a b", "Nginx", "", "n"} {
		image(`packages[1]: "`+name+`" is not the name of a Debian package`, func(i *Image) { i.Packages[1] = name })
	}
	image(`ref: "../containers/x" is not the name of an image`, func(i *Image) { i.Ref = "../containers/x" })
	image(`ref: "x/../../y"`, func(i *Image) { i.Ref = "x/../../y" })
	image(`users[0]: "x:0:0" is not the name of a user`, func(i *Image) { i.Users[0] = "x:0:0" })
	image(`dirs[0]: "/a/../b" is not an absolute path`, func(i *Image) { i.Dirs[0] = "/a/../b" })
	image(`links[0]: "../a -> b" is not a link`, func(i *Image) { i.Links[0] = "../a -> b" })
	image(`links[0]: "/a" is not a link`, func(i *Image) { i.Links[0] = "/a" })
	module(`name: "../x" is not the name of a program`, func(m *Module) { m.Name = "../x" })
	module(`name: "-o" is not the name`, func(m *Module) { m.Name = "-o" })
	module(`path: malformed module path "-x"`, func(m *Module) { m.Path = "-x" })
	module(`path: malformed module path "./x"`, func(m *Module) { m.Path = "./x" })
	module(`version: "latest" is not a version`, func(m *Module) { m.Version = "latest" })
	module(`version: `, func(m *Module) { m.Version = "v2.0.0" })
	module(`package: "../../x" is not a package`, func(m *Module) { m.Package = "../../x" })
	module(`package: "" is not a package`, func(m *Module) { m.Package = "" })

	f(`name: "../../x" is not a plain name`, func(p *Plan) { p.Name = "../../x" })
	f(`name: "" is not a plain name`, func(p *Plan) { p.Name = "" })
	f(`specs[1].name: "../../etc/cron.d/x" is not a plain name`, func(p *Plan) { p.Specs[1].Name = "../../etc/cron.d/x" })
	f(`specs[1].name: ".." is not a plain name`, func(p *Plan) { p.Specs[1].Name = ".." })
	f(`is not a plain name`, func(p *Plan) { p.Specs[1].Name = strings.Repeat("x", 300) })
	f(`specs[1].name: another node is named "nginx"`, func(p *Plan) { p.Specs[1].Name = "nginx" })
	f(`specs[1].name: another node is named "worker@lbproof"`, func(p *Plan) { p.Specs[1].Name = WorkerName })
	f(`specs[1].role: "worker" is not allowed in a plan`, func(p *Plan) { p.Specs[1].Role = Worker })
	f(`specs: 2 nodes have the role balancer`, func(p *Plan) { p.Specs[1].Role = Balancer })
	f(`specs[1].role: a monitor needs queries`, func(p *Plan) { p.Specs[1].Role, p.Specs[1].Ports = Monitor, []int{9090} })
	f(`specs[1].ports: missing; a node of the role dependency needs one`, func(p *Plan) { p.Specs[1].Role = Dependency })
	f(`specs[1].command: missing`, func(p *Plan) { p.Specs[1].Command = nil })
	f(`specs[1].network_of: no node is named "x"`, func(p *Plan) { p.Specs[1].NetworkOf = "x" })
	f(`specs[0].files: "/etc/../../x" is not an absolute path`, func(p *Plan) { p.Specs[0].Files["/etc/../../x"] = "nginx.conf" })
	f(`specs[1].generated_files: "x" is not an absolute path`, func(p *Plan) { p.Specs[1].GeneratedFiles = map[string]string{"x": ""} })
	f(`specs[1].shared_dirs[0]: "/etc:/host" contains a colon`, func(p *Plan) { p.Specs[1].SharedDirs = []string{"/etc:/host"} })
	f(`specs[1].work_dir: "x" is not an absolute path`, func(p *Plan) { p.Specs[1].WorkDir = "x" })
	f(`specs[1].needs[0].path: "/a/../b" must not contain`, func(p *Plan) { p.Specs[1].Needs = []model.Need{{Path: "/a/../b"}} })
	f(`config.needs[0].path: "../b" must not contain`, func(p *Plan) { p.Config.Needs = []model.Need{{Path: "/a", KeyFile: "../b"}} })
	f(`specs[0].reload_signal: "HUP;x" is not a signal`, func(p *Plan) { p.Specs[0].ReloadSignal = "HUP;x" })

	f(`specs[0].ports[0]: 0 is not a port`, func(p *Plan) { p.Specs[0].Ports[0] = 0 })
	f(`specs[0].ports[1]: 65536 is not a port`, func(p *Plan) { p.Specs[0].Ports[1] = 65536 })
	f(`specs[0].tls_ports[0]: 444 is not among the node's ports`, func(p *Plan) { p.Specs[0].TLSPorts[0] = 444 })
	f(`specs[1].control_port: 70000 is not a port`, func(p *Plan) { p.Specs[1].ControlPort = 70000 })
	f(`phases[0].requests[0].port: 0 is not a port`, func(p *Plan) { p.Phases[0].Requests[0].Port = 0 })
	f(`specs[0].cpus: -1 must be between`, func(p *Plan) { p.Specs[0].CPUs = -1 })
	f(`specs[0].memory: -1 must be between`, func(p *Plan) { p.Specs[0].Memory = -1 })
	f(`specs[0].settle_ns: -1s must be between`, func(p *Plan) { p.Specs[0].SettleTime = -time.Second })
	f(`phases[0].count: -1 must be between`, func(p *Plan) { p.Phases[0].Count = -1 })
	f(`phases[0].rate: -1 must be between`, func(p *Plan) { p.Phases[0].Rate = -1 })
	f(`phases[0].timeout_ns: -1ns must be between`, func(p *Plan) { p.Phases[0].Timeout = -1 })
	f(`phases[0].think_ns: 721h0m0s must be between 0 and 30 days`, func(p *Plan) { p.Phases[0].ThinkTime = 721 * time.Hour })
	f(`phases[0].break_limits.error_share: -1 must be between`, func(p *Plan) { p.Phases[0].BreakLimits.ErrorShare = -1 })
	f(`phases[0]: needs a rate or a concurrency`, func(p *Plan) { p.Phases[0].Concurrency = 0 })
	f(`phases[0].requests: missing`, func(p *Plan) { p.Phases[0].Requests = nil })
	f(`phases[0].engine: "x" is not an engine`, func(p *Plan) { p.Phases[0].Engine = "x" })
	f(`phases[0].clients: they need more than`, func(p *Plan) { p.Phases[0].Clients = Clients{Count: 1 << 20, AddressStep: 1 << 20} })
	f(`phases[0].shape: bursts need`, func(p *Plan) { p.Phases[0].Shape.Kind = Bursts })
	f(`phases[0].shape: a replay of 10 requests needs as many times`, func(p *Plan) { p.Phases[0].Shape = Shape{Kind: Replay, Times: []time.Duration{1}} })
	f(`phases[0].shape: "x" is not a shape`, func(p *Plan) { p.Phases[0].Shape.Kind = "x" })
	f(`phases[0].count: the plan sends more than`, func(p *Plan) { p.Phases[0].Count = maxRequests + 1 })
	f(`event 0 (): there is no phase 1; the plan has 1`, func(p *Plan) { p.Events = []Event{{Phase: 1}} })
	f(`events[0].phase: -1 must be between`, func(p *Plan) { p.Events = []Event{{Phase: -1}} })
	f(`alpha, beta: 0 and 0.001`, func(p *Plan) { p.Alpha = 0 })
	f(`config.files: missing`, func(p *Plan) { p.Config.Files = nil })
	f(`all files together exceed 64 MiB`, func(p *Plan) { p.Specs[1].GeneratedFiles = map[string]string{"/x": strings.Repeat("x", MaxPlanSize)} })
}
