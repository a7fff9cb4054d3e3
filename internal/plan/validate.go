package plan

import (
	"fmt"
	"maps"
	"math"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/lbproof/lbproof/internal/model"
)

// The bounds of a plan. PlanSize, in bytes, is that of its JSON form.
const (
	MaxPlanSize = 64 << 20

	maxNodes     = 10_000
	maxPhases    = 10_000
	maxEvents    = 100_000
	maxRequests  = 10_000_000_000
	maxAddresses = 1 << 24
	maxDuration  = 30 * 24 * time.Hour
	maxNumber    = 1 << 40 // of whatever else is counted, bytes included
)

// Validate reports the first part of a plan that no run may have, as "path in the JSON form: problem". A plan that
// comes from elsewhere can then do no more than lbproof's own: run containers, and send requests to them. docs/plan.md
// says what that means.
func (p Plan) Validate() error {
	if err := checkName("name", p.Name); err != nil {
		return err
	}
	for _, part := range []struct {
		at    string
		value any
	}{{"specs", p.Specs}, {"loads", p.Phases}, {"events", p.Events}} {
		if err := checkNumbers(part.at, reflect.ValueOf(part.value)); err != nil {
			return err
		}
	}
	isRate := func(p float64) bool { return p > 0 && p < 1 }
	if !isRate(p.Alpha) || !isRate(p.Beta) {
		return fmt.Errorf("alpha, beta: %v and %v are not both between 0 and 1", p.Alpha, p.Beta)
	}
	for role, b := range p.Bounds {
		if b.Memory <= 0 || b.PIDs <= 0 {
			return fmt.Errorf("bounds.%s: a node needs memory and processes", role)
		}
	}
	if err := p.validateFiles(); err != nil {
		return err
	}
	if err := p.validateSpecs(); err != nil {
		return err
	}
	if err := p.validatePhases(); err != nil {
		return err
	}
	return p.CheckRunnable()
}

// validateFiles: a plan's files are named so that each can be told from the others, and together they fit.
func (p Plan) validateFiles() error {
	if len(p.Config.Files) == 0 {
		return fmt.Errorf("config.files: there is no configuration")
	}
	size := 0
	for _, f := range p.Config.Files {
		size += len(f.Content)
	}
	for _, s := range p.Specs {
		for _, text := range s.GeneratedFiles {
			size += len(text)
		}
	}
	if size > MaxPlanSize {
		return fmt.Errorf("config.files, specs: the files have more than %d MiB together", MaxPlanSize>>20)
	}
	for i, n := range p.Config.Needs {
		if err := checkNeed(fmt.Sprintf("config.needs[%d]", i), n); err != nil {
			return err
		}
	}
	return nil
}

func (p Plan) validateSpecs() error {
	if len(p.Specs) > maxNodes {
		return fmt.Errorf("specs: there are %d nodes; a run has %d at most", len(p.Specs), maxNodes)
	}
	names, balancers := map[string]bool{}, 0
	for i, s := range p.Specs {
		at := fmt.Sprintf("specs[%d]", i)
		if names[s.Name] || s.Name == WorkerName {
			return fmt.Errorf("%s.name: there is another node called %s", at, s.Name)
		}
		names[s.Name] = true
		if s.Role == Balancer {
			balancers++
		}
		if err := s.validate(at, p); err != nil {
			return err
		}
	}
	if balancers != 1 {
		return fmt.Errorf("specs: %d nodes have the role balancer; a run has one", balancers)
	}
	for i, s := range p.Specs {
		if s.NetworkOf != "" && !names[s.NetworkOf] {
			return fmt.Errorf("specs[%d].beside: there is no node called %s", i, s.NetworkOf)
		}
	}
	return nil
}

func (s Spec) validate(at string, p Plan) error {
	if err := checkName(at+".name", s.Name); err != nil {
		return err
	}
	serves := s.Role == Dependency || s.Role == Monitor
	switch {
	case !slices.Contains([]Role{Balancer, Backend, Peer, Monitor, Dependency}, s.Role):
		return fmt.Errorf("%s.role: no node of a plan has the role %q", at, s.Role)
	case serves && len(s.Ports) == 0:
		return fmt.Errorf("%s.ports: a node of the role %s has one at least", at, s.Role)
	case s.Role == Monitor && len(p.Queries) == 0:
		return fmt.Errorf("%s.role: a monitor is there for the plan's queries, and there are none", at)
	case len(s.Command) == 0:
		return fmt.Errorf("%s.command: there is none", at)
	case !signalName.MatchString(s.ReloadSignal):
		return fmt.Errorf("%s.reload: %q is no signal, as HUP", at, s.ReloadSignal)
	case s.ControlPort != 0 && !isPort(s.ControlPort):
		return fmt.Errorf("%s.control: %w", at, errNoPort(s.ControlPort))
	}
	if err := s.validatePorts(at); err != nil {
		return err
	}
	if err := s.validatePaths(at); err != nil {
		return err
	}
	for i, n := range s.Needs {
		if err := checkNeed(fmt.Sprintf("%s.needs[%d]", at, i), n); err != nil {
			return err
		}
	}
	if err := s.Image.Validate(); err != nil {
		return fmt.Errorf("%s.image.%w", at, err)
	}
	return nil
}

func (s Spec) validatePorts(at string) error {
	for i, port := range s.Ports {
		if !isPort(port) {
			return fmt.Errorf("%s.ports[%d]: %w", at, i, errNoPort(port))
		}
	}
	for i, port := range s.TLSPorts {
		if !slices.Contains(s.Ports, port) {
			return fmt.Errorf("%s.tls[%d]: %d is none of the node's ports", at, i, port)
		}
	}
	return nil
}

func (s Spec) validatePaths(at string) error {
	for _, files := range []struct {
		at    string
		paths map[string]string
	}{{"files", s.Files}, {"made", s.GeneratedFiles}} {
		for _, name := range slices.Sorted(maps.Keys(files.paths)) {
			if err := checkPath(at+"."+files.at, name); err != nil {
				return err
			}
		}
	}
	for i, dir := range s.SharedDirs {
		if err := checkPath(fmt.Sprintf("%s.shared[%d]", at, i), dir); err != nil {
			return err
		}
		if strings.Contains(dir, ":") {
			return fmt.Errorf("%s.shared[%d]: %q has a colon: it is a directory of the container's own, "+
				"and nothing of the host's is mounted", at, i, dir)
		}
	}
	if s.WorkDir != "" {
		return checkPath(at+".dir", s.WorkDir)
	}
	return nil
}

func (p Plan) validatePhases() error {
	switch {
	case len(p.Phases) > maxPhases:
		return fmt.Errorf("loads: there are %d; a run has %d at most", len(p.Phases), maxPhases)
	case len(p.Events) > maxEvents:
		return fmt.Errorf("events: there are %d; a run has %d at most", len(p.Events), maxEvents)
	}
	total := 0
	for i, l := range p.Phases {
		if err := l.validate(fmt.Sprintf("loads[%d]", i)); err != nil {
			return err
		}
		if total += l.Count; total > maxRequests {
			return fmt.Errorf("loads[%d].count: the plan sends more than %d requests", i, maxRequests)
		}
	}
	return nil
}

func (l Phase) validate(at string) error {
	addresses := max(l.Clients.Count, l.Clients.FirstAddress, l.Clients.AddressStep, l.Clients.LastAddress())
	switch {
	case !slices.Contains([]Engine{Goroutines, Epoll, Vegeta, WebSocket, Prober}, l.Engine):
		return fmt.Errorf("%s.engine: there is no engine %q", at, l.Engine)
	case len(l.Requests) == 0:
		return fmt.Errorf("%s.requests: there are none to send", at)
	case !l.IsOpenLoop() && l.Concurrency == 0:
		return fmt.Errorf("%s.concurrency: a load has a rate or a concurrency", at)
	case addresses > maxAddresses:
		return fmt.Errorf("%s.clients: they take more than %d addresses", at, maxAddresses)
	case l.Keys.Zipf != 0 && l.Keys.Zipf <= 1:
		return fmt.Errorf("%s.keys.zipf: %v is not above 1", at, l.Keys.Zipf)
	}
	for i, r := range l.Requests {
		if toSocket := r.LocalEndpoint != "" && r.Port == 0; !isPort(r.Port) && !toSocket {
			return fmt.Errorf("%s.requests[%d].port: %w", at, i, errNoPort(r.Port))
		}
	}
	if err := l.Shape.validate(l); err != nil {
		return fmt.Errorf("%s.shape: %w", at, err)
	}
	return nil
}

// validate reports a shape that has no due times for all of a load's requests.
func (s Shape) validate(l Phase) error {
	switch s.Kind {
	case "", Poisson:
		return nil
	case Ramp:
		if s.From+s.To <= 0 {
			return fmt.Errorf("a ramp from %v to %v sends nothing", s.From, s.To)
		}
	case Steps:
		if len(s.Steps) == 0 || slices.ContainsFunc(s.Steps, func(one Step) bool { return one.Rate <= 0 }) {
			return fmt.Errorf("a step has a rate above 0, and there is one at least")
		}
	case Sine:
		if s.From <= 0 || s.To < s.From || s.Period <= 0 {
			return fmt.Errorf("a sine needs a lowest rate above 0, a highest that is no lower, and a period")
		}
	case Bursts:
		if s.BurstSize <= 0 || s.Period <= 0 {
			return fmt.Errorf("bursts need a size and a time between them above 0")
		}
	case Replay:
		if len(s.Times) < l.Count || !slices.IsSorted(s.Times) {
			return fmt.Errorf("a replay of %d requests needs as many times, in their order", l.Count)
		}
	default:
		return fmt.Errorf("there is no shape %q", s.Kind)
	}
	return nil
}

var (
	debianPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`) // Debian policy manual, 5.6.7
	imageRef      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)
	userName      = regexp.MustCompile(`^[a-z_][a-z0-9_-]*$`)
	signalName    = regexp.MustCompile(`^[A-Z0-9]*$`)
)

// Validate reports what in an image's description could do more than name an image, or what one is built from: the
// words end up on the command lines of apt-get and go, and in the files of the image. The error is "field: problem".
func (i Image) Validate() error {
	if i.Ref != "" && (!imageRef.MatchString(i.Ref) || strings.Contains(i.Ref, "..")) {
		return fmt.Errorf("ref: %q is no name of an image", i.Ref)
	}
	for n, name := range i.Packages {
		if !debianPackage.MatchString(name) {
			return fmt.Errorf("packages[%d]: %q is no name of a Debian package: lowercase letters, digits, +, . and -", n, name)
		}
	}
	for n, name := range i.Users {
		if !userName.MatchString(name) {
			return fmt.Errorf("users[%d]: %q is no name of a user", n, name)
		}
	}
	for n, dir := range i.Dirs {
		if err := checkPath(fmt.Sprintf("dirs[%d]", n), dir); err != nil {
			return err
		}
	}
	for n, link := range i.Links {
		name, target, ok := strings.Cut(link, " -> ")
		if err := checkPath(fmt.Sprintf("links[%d]", n), name); !ok || target == "" || err != nil {
			return fmt.Errorf("links[%d]: %q is no link; write it as /var/run -> /run", n, link)
		}
	}
	if i.Module == nil {
		return nil
	}
	if err := i.Module.validate(); err != nil {
		return fmt.Errorf("module.%w", err)
	}
	return nil
}

func (m Module) validate() error {
	if err := checkName("name", m.Name); err != nil || !debianPackage.MatchString(m.Name) {
		return fmt.Errorf("name: %q is no name of a program: lowercase letters, digits, +, . and -", m.Name)
	}
	if err := module.CheckPath(m.Path); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	if semver.Canonical(m.Version) != m.Version {
		return fmt.Errorf("version: %q is no version, as v3.6.12", m.Version)
	}
	if err := module.Check(m.Path, m.Version); err != nil {
		return fmt.Errorf("version: %w", err)
	}
	if err := module.CheckImportPath(m.Path + "/" + m.Package); err != nil || m.Package == "" {
		return fmt.Errorf("package: %q is no package within the module, as cmd/traefik", m.Package)
	}
	return nil
}

// checkNeed reports a place of a made file that leads out of the container's root.
func checkNeed(at string, n model.Need) error {
	if n.Kind == model.NeedHost {
		return nil
	}
	for _, name := range []string{n.Path, n.KeyFile} {
		if strings.ContainsRune(name, 0) || slices.Contains(strings.Split(name, "/"), "..") {
			return fmt.Errorf("%s.path: %q leads out of a folder", at, name)
		}
	}
	return nil
}

// checkPath reports what is no absolute, clean path.
func checkPath(at, name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%s: %q is no absolute path in the container, without dots between slashes", at, name)
	}
	return nil
}

// maxNameLength, in bytes, leaves room for what is added to it in the name of a file.
const maxNameLength = 200

// checkName reports what cannot be a part of a file's name: names of plans become those of run folders, names of nodes
// those of logs.
func checkName(at, name string) error {
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	isFolder := slices.Contains([]string{"", ".", ".."}, name)
	foreign := strings.ContainsAny(name, `/\`) || strings.ContainsFunc(name, control)
	if isFolder || foreign || len(name) > maxNameLength {
		return fmt.Errorf("%s: %q is no plain name: up to %d bytes, without slashes and control characters",
			at, name, maxNameLength)
	}
	return nil
}

func isPort(n int) bool { return n >= 1 && n <= 65535 }

func errNoPort(n int) error { return fmt.Errorf("%d is no port: 1 to 65535", n) }

// checkNumbers reports the first number within v that is negative, or larger than any that a run could have.
func checkNumbers(at string, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return checkNumbers(at, v.Elem())
		}
	case reflect.Struct:
		for field, value := range v.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if err := checkNumbers(at+"."+name, value); err != nil {
				return err
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return nil
		}
		for i := range v.Len() {
			if err := checkNumbers(fmt.Sprintf("%s[%d]", at, i), v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Int, reflect.Int64:
		if d, ok := v.Interface().(time.Duration); ok && (d < 0 || d > maxDuration) {
			return fmt.Errorf("%s: %s is not between 0 and %.0f days", at, d, maxDuration.Hours()/24)
		}
		if n := v.Int(); v.Type() != reflect.TypeFor[time.Duration]() && (n < 0 || n > maxNumber) {
			return fmt.Errorf("%s: %d is not between 0 and %d", at, n, int64(maxNumber))
		}
	case reflect.Float64:
		if n := v.Float(); math.IsNaN(n) || n < 0 || n > maxNumber {
			return fmt.Errorf("%s: %v is not between 0 and %d", at, n, int64(maxNumber))
		}
	}
	return nil
}
