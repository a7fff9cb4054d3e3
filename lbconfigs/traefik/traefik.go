package traefik

import (
	"embed"
	"path"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

const confDir = "/etc/traefik"

//go:embed builtin
var builtin embed.FS

// Balancer is Traefik.
var Balancer = reading.Balancer{
	Name: "traefik",
	Doc: "traefik.yaml or .toml of Traefik v3 with the files of its file provider; " +
		"image traefik:v3.6, or built from the Go module",
	MainFiles:         []string{"traefik.yaml", "traefik.yml", "traefik.toml"},
	Recognizes:        recognize,
	Parse:             readConfig,
	InvalidHostEffect: model.Misleading,
	Spec:              newSpec,
	Edits:             edits,
	BuiltIn:           reading.SubFS(builtin, "builtin"),
}

// recognize reports whether a document looks like a file of Traefik.
func recognize(text string) bool {
	const keyed = "entryPoints: [entryPoints providers: [providers http: [http. [http] certificatesResolvers: tcp: [tcp"
	isOther := reading.HasLinePrefix(text, "upstream ", "server {", "frontend ")
	return reading.HasLinePrefix(text, strings.Fields(keyed)...) && !isOther
}

// dialect is Traefik's behaviour that no line states: it watches its files, and creates new handlers for a changed one
// (pkg/server/router, pkg/server/service).
var dialect = model.Dialect{
	Instances:       model.SharedInstance,
	ForgetsOnReload: []model.Memory{model.FailureMemory, model.RotationMemory},
	Process:         model.Process{Title: "traefik"},
	Advice:          advice,
	Log:             model.LogPatterns{Warning: `\bERR\b|\bWRN\b|\bFTL\b|level=(error|warning|fatal)|command \w+ error`},
}

func newSpec(cfg model.Config) plan.Spec {
	spec := plan.Spec{
		Name:           plan.HarnessName("traefik"),
		Role:           plan.Balancer,
		Command:        []string{"traefik"},
		VersionCommand: []string{"traefik", "version"},
		WorkDir:        confDir,
		WorkerTitle:    dialect.Process.Title,
		SettleTime:     2 * time.Second, // it reads its dynamic files after it starts to listen
		Files:          map[string]string{},
		Image: plan.Image{
			Ref: "traefik:v3.6",
			Module: &plan.Module{
				Name: "traefik", Path: "github.com/traefik/traefik/v3", Version: "v3.6.12", Package: "cmd/traefik",
			},
			Dirs: []string{"/etc/traefik", "/tmp"},
		},
	}
	for i, file := range cfg.Files {
		at := path.Join(confDir, path.Base(file.Name))
		if i > 0 {
			at = reading.PathInContainer(path.Join(confDir, path.Base(cfg.Files[0].Name)), cfg.Files[0].Name, file.Name)
		} else if isDynamicOnly(cfg) {
			at = path.Join(confDir, "dynamic", path.Base(file.Name)) // in confDir Traefik would take it for its static file
		}
		spec.Files[at] = file.Name
		if i == 0 {
			spec.Command = append(spec.Command, "--configFile="+at)
		}
	}
	if len(cfg.Files) > 0 && isDynamicOnly(cfg) {
		spec.Command = []string{
			"traefik", "--entryPoints.web.address=:80", "--entryPoints.websecure.address=:443",
			"--providers.file.filename=" + path.Join(confDir, "dynamic", path.Base(cfg.Files[0].Name)),
		}
	}
	return spec
}

// isDynamicOnly reports whether a configuration has no static part, which the command line then replaces.
func isDynamicOnly(cfg model.Config) bool {
	root, err := reading.ParseTree(cfg.Files[0].Name, cfg.Files[0].Content)
	return err == nil && isDynamic(root)
}

func isDynamic(root *reading.Tree) bool {
	isStatic := root.Get("entryPoints") != nil || root.Get("providers") != nil
	routes := root.Get("http") != nil || root.Get("tcp") != nil || root.Get("tls") != nil
	return routes && !isStatic
}
