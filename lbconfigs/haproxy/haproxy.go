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

// Balancer is HAProxy, as the table of balancers has it.
var Balancer = reading.Balancer{
	Name: "haproxy",
	Doc:  "haproxy.cfg, or all *.cfg of a directory, of HAProxy 2.6; the image is haproxy:2.6, else Debian's package",
	Main: []string{"*.cfg"},
	Owns: func(text string) bool {
		for line := range strings.Lines(text) {
			if beginsSection(line) {
				return true
			}
		}
		return false
	},
	Parse:   readConfig,
	Unknown: model.Rejected,
	Spec:    newSpec,
	Edits:   edits,
	BuiltIn: reading.Sub(builtin, "builtin"),
}

// beginsSection says whether a line of a file can begin one of HAProxy's sections: it has no mark of another format.
func beginsSection(line string) bool {
	words := strings.Fields(line)
	if len(words) == 0 || strings.ContainsAny(line, "{;:[=") {
		return false
	}
	return strings.HasPrefix(line, words[0]) && slices.Contains(sectionWords, words[0])
}

// sectionWords are the words that begin a section.
var sectionWords = []string{
	"global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "mailers", "cache",
	"program", "http-errors", "ring", "fcgi-app", "log-forward", "crt-store",
}

// dialect is what HAProxy does that no line says: docs.haproxy.org/2.6/management.html, "Master-worker" and "Stopping
// and restarting". A new process knows nothing of the one before.
var dialect = model.Dialect{
	Instances: model.OneForAll,
	Forgets:   []model.Memory{model.FailureMemory, model.RotationMemory, model.SessionMemory},
	Process:   model.Process{Title: "haproxy", Reload: "USR2", MasterBy: []string{"-W"}},
	Log:       model.LogForms{Complaint: `\[(ALERT|WARNING)\]`, Backendless: "is DOWN, reason|has no server available"},
}

func newSpec(cfg model.Config) plan.Spec {
	spec := plan.Spec{
		Name:    plan.OwnName("haproxy"),
		Role:    plan.Balancer,
		Command: []string{"haproxy", "-db"},
		Check:   []string{"haproxy", "-c"},
		Version: []string{"haproxy", "-v"},
		Dir:     confDir,
		Title:   dialect.Process.Title,
		Files:   map[string]string{},
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
		spec.Check = append(spec.Check, "-f", at)
	}
	for _, s := range cfg.Sockets {
		spec.Shared = append(spec.Shared, path.Dir(s.Path))
	}
	slices.Sort(spec.Shared)
	spec.Shared = slices.Compact(spec.Shared)
	return spec
}
