package nginx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// packagedFiles are the files of nginx's package. Their content is known, so that they need not be next to the
// configuration. Only Debian's proxy_params makes claims.
var packagedFiles = map[string]string{
	"mime.types": "", "fastcgi_params": "", "fastcgi.conf": "", "uwsgi_params": "", "scgi_params": "", "koi-utf": "",
	"koi-win": "", "win-utf": "",
	"proxy_params": "proxy_set_header Host $http_host;\nproxy_set_header X-Real-IP $remote_addr;\n" +
		"proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\nproxy_set_header X-Forwarded-Proto $scheme;\n",
}

// confFiles opens included files. Paths below /etc/nginx are relative to the main file.
type confFiles struct {
	fsys   fs.FS
	main   string
	failed map[string]error // why files of a wildcard include are unreadable
}

// localPath returns the path of an included file next to the main file.
func (f confFiles) localPath(name string) string {
	name = path.Clean(name)
	if rest, ok := strings.CutPrefix(name, confDir+"/"); ok && !strings.HasPrefix(f.main, confDir+"/") {
		return path.Join(path.Dir(f.main), rest)
	}
	return name
}

// packagedContent returns the content of a file of nginx's package.
func (f confFiles) packagedContent(name string) (content string, ok bool) {
	if path.Dir(f.localPath(name)) != path.Dir(f.main) {
		return "", false
	}
	if _, err := fs.Stat(f.fsys, f.localPath(name)); err == nil {
		return "", false
	}
	content, ok = packagedFiles[path.Base(name)]
	return content, ok
}

// open never returns nil: crossplane closes files that it could not open.
func (f confFiles) open(name string) (io.ReadCloser, error) {
	text, err := f.read(name)
	return io.NopCloser(strings.NewReader(text)), err
}

func (f confFiles) read(name string) (string, error) {
	if content, ok := f.packagedContent(name); ok {
		return content, nil
	}
	text, err := reading.ReadText(f.fsys, f.localPath(name))
	if errors.Is(err, fs.ErrNotExist) && path.Clean(name) != f.main {
		return "", f.missingInclude(name)
	}
	if err == nil {
		err = reading.CheckDepth(f.localPath(name), text, "{", "}", " \t\r\n;{}")
	}
	return string(text), err
}

// missingInclude explains an included file that does not exist.
func (f confFiles) missingInclude(name string) error {
	local := f.localPath(name)
	if local != path.Clean(name) {
		return fmt.Errorf("%s: no such file; lbproof reads %s from the configuration's folder: add %s to it",
			name, confDir, local)
	}
	return fmt.Errorf("%s: no such file; add it, or correct the include", local)
}

// glob returns neither errors nor unreadable files, because crossplane does not report the include of either.
// checkIncludes reports both.
func (f confFiles) glob(pattern string) (found []string, _ error) {
	names, err := reading.Glob(f.fsys, f.localPath(pattern))
	f.failed[pattern] = err
	for _, name := range names {
		if _, err := f.read(name); err != nil {
			f.failed[pattern] = errors.Join(f.failed[pattern], err)
			continue
		}
		found = append(found, name)
	}
	return found, nil
}

// attachFile adds a file that a directive names, unread: a program, a user list.
func (r *reader) attachFile(d item) {
	name := d.arg(0)
	if strings.Contains(name, "$") {
		return
	}
	if !path.IsAbs(name) {
		name = path.Join(confDir, name)
	}
	file := r.files.localPath(name)
	if slices.ContainsFunc(r.cfg.Files, func(f model.File) bool { return f.Name == file }) {
		return
	}
	text, err := reading.ReadText(r.files.fsys, file)
	if err != nil {
		r.problem(reading.UnreadableFile(d.pos, err))
		return
	}
	r.cfg.Files = append(r.cfg.Files, model.NewFile(file, text))
}
