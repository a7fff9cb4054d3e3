package nginx

import (
	"embed"
	"slices"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// The paths of nginx's configuration.
const (
	confDir  = "/etc/nginx"
	mainFile = confDir + "/nginx.conf"
)

//go:embed builtin
var builtin embed.FS

// Balancer is nginx.
var Balancer = reading.Balancer{
	Name:      "nginx",
	Doc:       "nginx.conf with its includes; image nginx:stable, or Debian's package",
	MainFiles: []string{"nginx.conf"},
	Recognizes: func(text string) bool {
		return reading.HasLinePrefix(text, "http {", "http{", "events {", "events{", "upstream ", "server {", "location ")
	},
	Parse:             readConfig,
	InvalidHostEffect: model.Rejected,
	Spec:              newSpec,
	Edits:             edits,
	BuiltIn:           reading.SubFS(builtin, "builtin"),
}

// dialect is nginx's behaviour that no line states (nginx.org/en/docs/control.html on processes and signals). Workers
// share state only in a zone, and workers started by HUP have none.
var dialect = model.Dialect{
	Instances:       model.InstancePerWorker,
	PinsConnections: true,
	ForgetsOnReload: []model.Memory{model.FailureMemory, model.RotationMemory},
	Process:         model.Process{Title: "nginx: worker process", Master: true, ReloadSignal: "HUP"},
	Advice:          advice,
	Log: model.LogPatterns{
		Warning:       `\[(emerg|alert|crit|error|warn)\]`,
		Prefix:        `^[0-9/: -]+(\[[a-z]+\]) [0-9]+#[0-9]+: (\*[0-9]+ )?`,
		RequestDetail: `, (client|server|request|upstream|host|referrer): .*$`,
		FailedAttempt: "upstream.*while|while.*upstream",
		NoConnections: "worker_connections",
	},
}

func newSpec(cfg model.Config) plan.Spec {
	command := []string{"nginx"}
	if !cfg.Foreground {
		command = append(command, "-g", "daemon off;")
	}
	spec := plan.Spec{
		Name:           plan.HarnessName("nginx"),
		Role:           plan.Balancer,
		Command:        command,
		ConfigTest:     []string{"nginx", "-t", "-q"},
		VersionCommand: []string{"nginx", "-v"},
		WorkerTitle:    dialect.Process.Title,
		ReloadSignal:   dialect.Process.ReloadSignal,
		Files:          map[string]string{},
		Image: plan.Image{
			Ref:      "nginx:stable",
			Packages: []string{"nginx"},
			Users:    []string{"nobody", "nogroup", "www-data", "nginx"},
			Dirs:     []string{"/etc/nginx", "/run", "/var/lib/nginx", "/var/log/nginx", "/tmp"},
			Links: []string{
				"/var/run -> /run",
				"/var/log/nginx/access.log -> /dev/stdout",
				"/var/log/nginx/error.log -> /dev/stderr",
			},
		},
	}
	if slices.ContainsFunc(cfg.Unread, func(u model.Unread) bool { return u.Reason == reasonLua }) {
		spec.Image.Ref = "openresty/openresty"
		spec.Image.Packages = append(spec.Image.Packages, "libnginx-mod-http-lua", "lua-cjson", "lua-nginx-redis")
	}
	for i, file := range cfg.Files {
		if i == 0 {
			spec.Files[mainFile] = file.Name
			continue
		}
		spec.Files[reading.PathInContainer(mainFile, cfg.Files[0].Name, file.Name)] = file.Name
	}
	return spec
}
