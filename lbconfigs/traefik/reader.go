package traefik

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// reader turns the documents into model.Config.
type reader struct {
	fsys    fs.FS
	cfg     *model.Config
	static  *reading.Tree
	dynamic []*reading.Tree
	entries []entryPoint
	named   map[string]*reading.Tree // kind and name of a part of http → the part
}

// readConfig reads the static file and the files of its file provider.
func readConfig(fsys fs.FS, names ...string) (model.Config, error) {
	name := names[0]
	cfg := model.Config{
		Balancer: "traefik", Dialect: dialect, Foreground: true,
		Workers: model.Workers{Pos: model.Pos{File: name}, Count: 1},
	}
	r := reader{fsys: fsys, cfg: &cfg}
	root, err := r.load(name)
	if err != nil {
		return model.Config{}, err
	}
	if isDynamic(root) {
		r.dynamic = []*reading.Tree{root}
	} else {
		r.static = root
		staticSchema.unknownKeys(root, r.unknownStaticKey)
		if err := r.loadProvided(name); err != nil {
			return model.Config{}, err
		}
	}
	for _, d := range r.dynamic {
		dynamicSchema.unknownKeys(d, r.unknownDynamicKey)
	}
	r.read()
	cfg.Reload = &model.Reload{
		Pos: model.Pos{File: name},
		Description: "the file provider reloads an edited file within its throttle of 2 s; " +
			"a file with an error is ignored, with a line in the log",
	}
	return cfg, nil
}

// read converts the documents.
func (r *reader) read() {
	r.index()
	r.entryPoints()
	r.readStaticParts()
	r.listUnreadParts()
	r.services()
	for _, d := range r.dynamic {
		for _, router := range d.Get("http", "routers").Parts() {
			r.router(router)
		}
	}
	r.unusedMiddlewares()
	r.tlsOptions()
}

func (r *reader) load(name string) (*reading.Tree, error) {
	text, err := reading.ReadText(r.fsys, name)
	if err != nil {
		return nil, err
	}
	root, err := reading.ParseTree(name, text)
	if err != nil {
		return nil, err
	}
	r.cfg.Files = append(r.cfg.Files, model.NewFile(name, text))
	return root, nil
}

// localPath returns the path of a file that the configuration names: relative paths, and those below /etc/traefik, are
// next to the main file.
func localPath(main, name string) string {
	name = path.Clean(name)
	if rest, ok := strings.CutPrefix(name, confDir); ok && !strings.HasPrefix(main, confDir) {
		return path.Join(path.Dir(main), rest)
	}
	if !path.IsAbs(name) {
		return path.Join(path.Dir(main), name)
	}
	return name
}

// attachFile adds a file that the configuration names, unread.
func (r *reader) attachFile(t *reading.Tree) {
	if t.Text() == "" {
		return
	}
	file := localPath(r.cfg.Files[0].Name, t.Text())
	if slices.ContainsFunc(r.cfg.Files, func(f model.File) bool { return f.Name == file }) {
		return
	}
	text, err := reading.ReadText(r.fsys, file)
	if err != nil {
		r.problem(reading.UnreadableFile(t.Pos, err))
		return
	}
	r.cfg.Files = append(r.cfg.Files, model.NewFile(file, text))
}

// loadProvided loads the files of the file provider.
func (r *reader) loadProvided(main string) error {
	file := r.static.Get("providers", "file")
	local := func(name string) string { return localPath(main, name) }
	if one := file.Get("filename"); one.Text() != "" {
		root, err := r.load(local(one.Text()))
		if err != nil {
			return fmt.Errorf("%s: providers.file.filename: %w", one.Pos, err)
		}
		r.dynamic = append(r.dynamic, root)
	}
	dir := file.Get("directory")
	if dir.Text() == "" {
		return nil
	}
	var names []string
	err := fs.WalkDir(r.fsys, local(dir.Text()), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".toml"}, path.Ext(name)) {
			names = append(names, name)
		}
		if len(names) > 1000 {
			return errors.New("more than 1,000 files")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: providers.file.directory %s: %w", dir.Pos, dir.Text(), reading.UnwrapPathError(err))
	}
	for _, name := range names {
		root, err := r.load(name)
		if err != nil {
			return err
		}
		r.dynamic = append(r.dynamic, root)
	}
	return nil
}

func (r *reader) problem(p model.Problem) { r.cfg.Problems = append(r.cfg.Problems, p) }

func (r *reader) unread(t *reading.Tree, text, reason string) {
	if t != nil {
		r.cfg.Unread = append(r.cfg.Unread, model.Unread{Pos: t.Pos, Text: text, Reason: reason})
	}
}

// index builds the lookup tables of entry points and parts.
func (r *reader) index() {
	r.named = map[string]*reading.Tree{}
	for _, d := range slices.Backward(r.dynamic) { // of equal names the first counts
		for _, kind := range []string{"services", "middlewares"} {
			for _, t := range d.Get("http", kind).Parts() {
				r.named[kind+" "+strings.ToLower(t.Key)] = t
			}
		}
	}
	r.entries = r.readEntries()
	for _, d := range r.dynamic {
		for _, router := range d.Get("http", "routers").Parts() {
			if router.Get("tls") == nil {
				continue
			}
			for _, u := range r.usedEntries(router) {
				for i := range r.entries {
					r.entries[i].servesTLS = r.entries[i].servesTLS || r.entries[i].name == u.name
				}
			}
		}
	}
}

// names returns the names of all parts of a kind.
func (r *reader) names(kind string) []string {
	var names []string
	for _, d := range r.dynamic {
		for _, t := range d.Get("http", kind).Parts() {
			names = append(names, t.Key)
		}
	}
	return names
}

// find returns a named part of any dynamic file, as http.services.NAME.
func (r *reader) find(kind, name string) *reading.Tree {
	name, _, _ = strings.Cut(name, "@")
	return r.named[kind+" "+strings.ToLower(name)]
}
