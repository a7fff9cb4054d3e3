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

// The limits of a plan. MaxPlanSize is the size of its JSON form in bytes.
const (
	MaxPlanSize = 64 << 20

	maxNodes     = 10_000
	maxPhases    = 10_000
	maxEvents    = 100_000
	maxRequests  = 10_000_000_000
	maxAddresses = 1 << 24
	maxDuration  = 30 * 24 * time.Hour
	maxNumber    = 1 << 40 // of all other numbers, bytes included
)

// Validate reports the first part of a plan that is not allowed, as "path in the JSON form: problem". A valid plan from
// elsewhere can do no more than lbproof's own plans: run containers and send requests to them; see docs/plan.md.
func (p Plan) Validate() error {
	if err := checkName("name", p.Name); err != nil {
		return err
	}
	for _, part := range []struct {
		at    string
		value any
	}{{"specs", p.Specs}, {"phases", p.Phases}, {"events", p.Events}} {
		if err := checkNumbers(part.at, reflect.ValueOf(part.value)); err != nil {
			return err
		}
	}
	isRate := func(p float64) bool { return p > 0 && p < 1 }
	if !isRate(p.Alpha) || !isRate(p.Beta) {
		return fmt.Errorf("alpha, beta: %v and %v must be between 0 and 1", p.Alpha, p.Beta)
	}
	for role, b := range p.Bounds {
		if b.Memory <= 0 || b.PIDs <= 0 {
			return fmt.Errorf("bounds.%s: memory and pids must be positive", role)
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

// validateFiles checks the places and the total size of files.
func (p Plan) validateFiles() error {
	if len(p.Config.Files) == 0 {
		return fmt.Errorf("config.files: missing; a plan needs a configuration")
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
		return fmt.Errorf("config.files, specs: all files together exceed %d MiB", MaxPlanSize>>20)
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
		return fmt.Errorf("specs: %d nodes exceed the limit of %d", len(p.Specs), maxNodes)
	}
	names, balancers := map[string]bool{}, 0
	for i, s := range p.Specs {
		at := fmt.Sprintf("specs[%d]", i)
		if names[s.Name] || s.Name == WorkerName {
			return fmt.Errorf("%s.name: another node is named %q", at, s.Name)
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
		return fmt.Errorf("specs: %d nodes have the role balancer; a plan needs exactly one", balancers)
	}
	for i, s := range p.Specs {
		if s.NetworkOf != "" && !names[s.NetworkOf] {
			return fmt.Errorf("specs[%d].network_of: no node is named %q", i, s.NetworkOf)
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
		return fmt.Errorf("%s.role: %q is not allowed in a plan", at, s.Role)
	case serves && len(s.Ports) == 0:
		return fmt.Errorf("%s.ports: missing; a node of the role %s needs one", at, s.Role)
	case s.Role == Monitor && len(p.Queries) == 0:
		return fmt.Errorf("%s.role: a monitor needs queries, and the plan has none", at)
	case len(s.Command) == 0:
		return fmt.Errorf("%s.command: missing", at)
	case !signalName.MatchString(s.ReloadSignal):
		return fmt.Errorf("%s.reload_signal: %q is not a signal, e.g. HUP", at, s.ReloadSignal)
	case s.ControlPort != 0 && !isPort(s.ControlPort):
		return fmt.Errorf("%s.control_port: %w", at, errNoPort(s.ControlPort))
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
			return fmt.Errorf("%s.tls_ports[%d]: %d is not among the node's ports", at, i, port)
		}
	}
	return nil
}

func (s Spec) validatePaths(at string) error {
	for _, files := range []struct {
		at    string
		paths map[string]string
	}{{"files", s.Files}, {"generated_files", s.GeneratedFiles}} {
		for _, name := range slices.Sorted(maps.Keys(files.paths)) {
			if err := checkPath(at+"."+files.at, name); err != nil {
				return err
			}
		}
	}
	for i, dir := range s.SharedDirs {
		if err := checkPath(fmt.Sprintf("%s.shared_dirs[%d]", at, i), dir); err != nil {
			return err
		}
		if strings.Contains(dir, ":") {
			return fmt.Errorf("%s.shared_dirs[%d]: %q contains a colon; name a directory of the container: "+
				"nothing of the host is mounted", at, i, dir)
		}
	}
	if s.WorkDir != "" {
		return checkPath(at+".work_dir", s.WorkDir)
	}
	return nil
}

func (p Plan) validatePhases() error {
	switch {
	case len(p.Phases) > maxPhases:
		return fmt.Errorf("phases: %d exceed the limit of %d", len(p.Phases), maxPhases)
	case len(p.Events) > maxEvents:
		return fmt.Errorf("events: %d exceed the limit of %d", len(p.Events), maxEvents)
	}
	total := 0
	for i, l := range p.Phases {
		if err := l.validate(fmt.Sprintf("phases[%d]", i)); err != nil {
			return err
		}
		if total += l.Count; total > maxRequests {
			return fmt.Errorf("phases[%d].count: the plan sends more than %d requests", i, maxRequests)
		}
	}
	return nil
}

func (l Phase) validate(at string) error {
	addresses := max(l.Clients.Count, l.Clients.FirstAddress, l.Clients.AddressStep, l.Clients.LastAddress())
	switch {
	case !slices.Contains([]Engine{Goroutines, Epoll, Vegeta, WebSocket, Prober}, l.Engine):
		return fmt.Errorf("%s.engine: %q is not an engine", at, l.Engine)
	case len(l.Requests) == 0:
		return fmt.Errorf("%s.requests: missing", at)
	case !l.IsOpenLoop() && l.Concurrency == 0:
		return fmt.Errorf("%s: needs a rate or a concurrency", at)
	case addresses > maxAddresses:
		return fmt.Errorf("%s.clients: they need more than %d addresses", at, maxAddresses)
	case l.Keys.Zipf != 0 && l.Keys.Zipf <= 1:
		return fmt.Errorf("%s.keys.zipf: %v must be above 1", at, l.Keys.Zipf)
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

// validate reports a shape without due times for all requests of the phase.
func (s Shape) validate(l Phase) error {
	switch s.Kind {
	case "", Poisson:
		return nil
	case Ramp:
		if s.From+s.To <= 0 {
			return fmt.Errorf("a ramp from %v to %v sends no requests", s.From, s.To)
		}
	case Steps:
		if len(s.Steps) == 0 || slices.ContainsFunc(s.Steps, func(one Step) bool { return one.Rate <= 0 }) {
			return fmt.Errorf("steps must have rates above 0, and there must be one")
		}
	case Sine:
		if s.From <= 0 || s.To < s.From || s.Period <= 0 {
			return fmt.Errorf("a sine needs 0 < from <= to, and a period")
		}
	case Bursts:
		if s.BurstSize <= 0 || s.Period <= 0 {
			return fmt.Errorf("bursts need a size and a period above 0")
		}
	case Replay:
		if len(s.Times) < l.Count || !slices.IsSorted(s.Times) {
			return fmt.Errorf("a replay of %d requests needs as many times, in ascending order", l.Count)
		}
	default:
		return fmt.Errorf("%q is not a shape", s.Kind)
	}
	return nil
}

var (
	debianPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`) // Debian policy manual, 5.6.7
	imageRef      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)
	userName      = regexp.MustCompile(`^[a-z_][a-z0-9_-]*$`)
	signalName    = regexp.MustCompile(`^[A-Z0-9]*$`)
)

// Validate reports parts of an image that could do more than name an image or its contents: they are passed to the
// command lines of apt-get and go and written into files of the image. The error is "field: problem".
func (i Image) Validate() error {
	if i.Ref != "" && (!imageRef.MatchString(i.Ref) || strings.Contains(i.Ref, "..")) {
		return fmt.Errorf("ref: %q is not the name of an image", i.Ref)
	}
	for n, name := range i.Packages {
		if !debianPackage.MatchString(name) {
			return fmt.Errorf(
				"packages[%d]: %q is not the name of a Debian package (lower-case letters, digits, +, . and -)", n, name)
		}
	}
	for n, name := range i.Users {
		if !userName.MatchString(name) {
			return fmt.Errorf("users[%d]: %q is not the name of a user", n, name)
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
			return fmt.Errorf("links[%d]: %q is not a link; write PATH -> TARGET, e.g. /var/run -> /run", n, link)
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
		return fmt.Errorf("name: %q is not the name of a program (lower-case letters, digits, +, . and -)", m.Name)
	}
	if err := module.CheckPath(m.Path); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	if semver.Canonical(m.Version) != m.Version {
		return fmt.Errorf("version: %q is not a version, e.g. v3.6.12", m.Version)
	}
	if err := module.Check(m.Path, m.Version); err != nil {
		return fmt.Errorf("version: %w", err)
	}
	if err := module.CheckImportPath(m.Path + "/" + m.Package); err != nil || m.Package == "" {
		return fmt.Errorf("package: %q is not a package in the module, e.g. cmd/traefik", m.Package)
	}
	return nil
}

// checkNeed reports a generated file outside the container's root.
func checkNeed(at string, n model.Need) error {
	if n.Kind == model.NeedHost {
		return nil
	}
	for _, name := range []string{n.Path, n.KeyFile} {
		if strings.ContainsRune(name, 0) || slices.Contains(strings.Split(name, "/"), "..") {
			return fmt.Errorf("%s.path: %q must not contain \"..\"", at, name)
		}
	}
	return nil
}

// checkPath reports a name that is not an absolute, clean path.
func checkPath(at, name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%s: %q is not an absolute path without \".\" and \"..\"", at, name)
	}
	return nil
}

// maxNameLength, in bytes, leaves room for extensions in file names.
const maxNameLength = 200

// checkName reports names that are unsafe as file names: run folders are named after plans, and logs after nodes.
func checkName(at, name string) error {
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	isFolder := slices.Contains([]string{"", ".", ".."}, name)
	foreign := strings.ContainsAny(name, `/\`) || strings.ContainsFunc(name, control)
	if isFolder || foreign || len(name) > maxNameLength {
		return fmt.Errorf("%s: %q is not a plain name (up to %d bytes, no slashes or control characters)",
			at, name, maxNameLength)
	}
	return nil
}

func isPort(n int) bool { return n >= 1 && n <= 65535 }

func errNoPort(n int) error { return fmt.Errorf("%d is not a port (1–65535)", n) }

// checkNumbers reports the first number in v that is negative or unreasonably large.
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
			return fmt.Errorf("%s: %s must be between 0 and %.0f days", at, d, maxDuration.Hours()/24)
		}
		if n := v.Int(); v.Type() != reflect.TypeFor[time.Duration]() && (n < 0 || n > maxNumber) {
			return fmt.Errorf("%s: %d must be between 0 and %d", at, n, int64(maxNumber))
		}
	case reflect.Float64:
		if n := v.Float(); math.IsNaN(n) || n < 0 || n > maxNumber {
			return fmt.Errorf("%s: %v must be between 0 and %d", at, n, int64(maxNumber))
		}
	}
	return nil
}
