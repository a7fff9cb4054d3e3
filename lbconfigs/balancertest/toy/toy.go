// Package toy reads the configurations of a balancer that does not exist. It is the smallest possible reader: a
// template for others, and proof that nothing outside a balancer's folder needs to know it. Only tests add it to the
// table of balancers.
package toy

import (
	"embed"
	"fmt"
	"io/fs"
	"net"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

//go:embed builtin
var builtin embed.FS

// Balancer is the toy.
var Balancer = reading.Balancer{
	Name:      "toy",
	Doc:       "toy.conf of a balancer that does not exist",
	MainFiles: []string{"toy.conf"},
	Recognizes: func(text string) bool {
		return reading.HasLinePrefix(text, "listen ") && reading.HasLinePrefix(text, "route ")
	},
	Parse:             parse,
	InvalidHostEffect: model.Rejected,
	Spec:              newSpec,
	Edits: reading.Edits{Parameters: []reading.Edit{
		{
			Find:    regexp.MustCompile(`^server \S+ \S+ (\d+)`),
			Replace: reading.NearbyNumber, Checks: []plan.Check{plan.CheckWeights},
		},
	}},
	BuiltIn: reading.SubFS(builtin, "builtin"),
}

// dialect is the toy's behaviour that no line states.
var dialect = model.Dialect{
	Instances:       model.SharedInstance,
	ForgetsOnReload: []model.Memory{model.RotationMemory},
	Process:         model.Process{Title: "toy", ReloadSignal: "HUP"},
}

func newSpec(cfg model.Config) plan.Spec {
	spec := plan.Spec{
		Name: plan.HarnessName("toy"), Role: plan.Balancer, Command: []string{"toy"}, WorkerTitle: dialect.Process.Title,
		WorkDir: confDir, Files: map[string]string{},
	}
	for _, file := range cfg.Files {
		at := path.Join(confDir, path.Base(file.Name))
		spec.Files[at] = file.Name
		spec.Command = append(spec.Command, at)
	}
	return spec
}

// confDir is the directory of the toy's files in its container.
const confDir = "/etc/toy"

// directives are the first words of lines, with their numbers of arguments.
var directives = map[string]struct {
	words int
	read  func(cfg *model.Config, at model.Pos, words []string) error
}{
	"listen": {1, readListen}, // PORT
	"pool":   {1, readPool},   // NAME: weighted round robin
	"server": {3, readServer}, // POOL HOST:PORT WEIGHT
	"route":  {2, readRoute},  // PATH POOL
	"answer": {3, readAnswer}, // PATH STATUS TEXT
}

func parse(fsys fs.FS, names ...string) (model.Config, error) {
	cfg := model.Config{Balancer: "toy", Dialect: dialect, Workers: model.Workers{Count: 1}}
	for _, name := range names {
		text, err := reading.ReadText(fsys, name)
		if err != nil {
			return cfg, err
		}
		cfg.Files = append(cfg.Files, model.NewFile(name, text))
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			if err := readLine(&cfg, model.Pos{File: name, Line: number}, strings.Fields(line)); err != nil {
				return cfg, err
			}
		}
	}
	return cfg, nil
}

func readLine(cfg *model.Config, at model.Pos, words []string) error {
	if len(words) == 0 || strings.HasPrefix(words[0], "#") {
		return nil
	}
	directive, known := directives[words[0]]
	if !known {
		cfg.Unread = append(cfg.Unread, model.Unread{Pos: at, Text: words[0], Reason: "unknown directive"})
		return nil
	}
	if len(words) != 1+directive.words {
		return fmt.Errorf("%s: %s: %d arguments instead of %d", at, words[0], len(words)-1, directive.words)
	}
	if words[0] != "listen" && len(cfg.Listeners) == 0 {
		return fmt.Errorf("%s: %s before listen; put listen first", at, words[0])
	}
	return directive.read(cfg, at, words[1:])
}

func readListen(cfg *model.Config, at model.Pos, words []string) error {
	port, err := strconv.Atoi(words[0])
	if err != nil {
		return fmt.Errorf("%s: %s is not a port", at, words[0])
	}
	cfg.Listeners = append(cfg.Listeners, model.Listener{Pos: at, Port: port})
	return nil
}

func readPool(cfg *model.Config, at model.Pos, words []string) error {
	balance := model.Balance{Kind: model.RoundRobin, Rotation: model.Smooth}
	cfg.Pools = append(cfg.Pools, model.Pool{Pos: at, Name: words[0], Balance: balance, SharedState: true})
	return nil
}

func readServer(cfg *model.Config, at model.Pos, words []string) error {
	host, port, err := net.SplitHostPort(words[1])
	if err != nil {
		return fmt.Errorf("%s: %s is not HOST:PORT", at, words[1])
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("%s: %s is not a port", at, port)
	}
	weight, err := strconv.Atoi(words[2])
	if err != nil || weight < 1 {
		return fmt.Errorf("%s: %s is not a weight of 1 or more", at, words[2])
	}
	for i := range cfg.Pools {
		if cfg.Pools[i].Name == words[0] {
			cfg.Pools[i].Servers = append(cfg.Pools[i].Servers, model.Server{Pos: at, Host: host, Port: number, Weight: weight})
			return nil
		}
	}
	return fmt.Errorf("%s: pool %s is not defined above", at, words[0])
}

func readRoute(cfg *model.Config, at model.Pos, words []string) error {
	cfg.Routes = append(cfg.Routes, model.Route{
		Pos: at, Path: words[0], Port: cfg.Listeners[0].Port, Pool: words[1], PoolPos: at, DefaultHost: true,
	})
	return nil
}

func readAnswer(cfg *model.Config, at model.Pos, words []string) error {
	status, err := strconv.Atoi(words[1])
	if err != nil {
		return fmt.Errorf("%s: %s is not a status code", at, words[1])
	}
	answer := &model.StaticResponse{Pos: at, Code: status, Body: model.Literal(words[2])}
	cfg.Routes = append(cfg.Routes, model.Route{
		Pos: at, Path: words[0], Exact: true, Port: cfg.Listeners[0].Port, StaticResponse: answer, DefaultHost: true,
	})
	return nil
}
