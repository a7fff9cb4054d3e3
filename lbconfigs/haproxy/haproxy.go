package haproxy

import (
	"embed"
	"path"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

const confDir = "/etc/haproxy"

//go:embed builtin
var builtin embed.FS

// Balancer is HAProxy.
var Balancer = reading.Balancer{
	Name:      "haproxy",
	Doc:       "haproxy.cfg, or all *.cfg of a directory, for HAProxy 2.6; image haproxy:2.6, or Debian's package",
	MainFiles: []string{"*.cfg"},
	Recognizes: func(text string) bool {
		for line := range strings.Lines(text) {
			if isSectionStart(line) {
				return true
			}
		}
		return false
	},
	Parse:             readConfig,
	InvalidHostEffect: model.Rejected,
	Spec:              newSpec,
	Edits:             edits,
	BuiltIn:           reading.SubFS(builtin, "builtin"),
}

// isSectionStart reports whether a line can start a section of HAProxy and has no syntax of another format.
func isSectionStart(line string) bool {
	words := strings.Fields(line)
	if len(words) == 0 || strings.ContainsAny(line, "{;:[=") {
		return false
	}
	return strings.HasPrefix(line, words[0]) && slices.Contains(sectionWords, words[0])
}

// sectionWords are the words that start a section.
var sectionWords = []string{
	"global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "mailers", "cache",
	"program", "http-errors", "ring", "fcgi-app", "log-forward", "crt-store",
}

// dialect is HAProxy's behaviour that no line states (docs.haproxy.org/2.6/management.html, "Master-worker" and
// "Stopping and restarting"). A new process keeps no state of the previous one.
var dialect = model.Dialect{
	Instances:       model.SharedInstance,
	ForgetsOnReload: []model.Memory{model.FailureMemory, model.RotationMemory, model.SessionMemory},
	Process:         model.Process{Title: "haproxy", ReloadSignal: "USR2", MasterArgs: []string{"-W"}},
	Advice:          advice,
	Log: model.LogPatterns{
		Warning: `\[(ALERT|WARNING)\]`, NoServer: "is DOWN, reason|has no server available",
	},
}

func newSpec(cfg model.Config) plan.Spec {
	spec := plan.Spec{
		Name:           plan.HarnessName("haproxy"),
		Role:           plan.Balancer,
		Command:        []string{"haproxy", "-db"},
		ConfigTest:     []string{"haproxy", "-c"},
		VersionCommand: []string{"haproxy", "-v"},
		WorkDir:        confDir,
		WorkerTitle:    dialect.Process.Title,
		Files:          map[string]string{},
		Image: plan.Image{
			Ref:      "haproxy:2.6",
			Packages: []string{"haproxy"},
			Users:    []string{"nobody", "nogroup", "haproxy"},
			Dirs:     []string{"/etc/haproxy", "/run", "/run/haproxy", "/var/lib/haproxy", "/tmp"},
			Links:    []string{"/var/run -> /run"},
		},
	}
	for _, file := range cfg.Files {
		at := path.Join(confDir, path.Base(file.Name))
		spec.Files[at] = file.Name
		spec.Command = append(spec.Command, "-f", at)
		spec.ConfigTest = append(spec.ConfigTest, "-f", at)
	}
	for _, s := range cfg.Sockets {
		spec.SharedDirs = append(spec.SharedDirs, path.Dir(s.Path))
	}
	slices.Sort(spec.SharedDirs)
	spec.SharedDirs = slices.Compact(spec.SharedDirs)
	return spec
}
