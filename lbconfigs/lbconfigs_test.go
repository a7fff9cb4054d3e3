package lbconfigs_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/reports"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata")

// printClaims returns what lbproof claims prints of a configuration, or the error of reading it.
func printClaims(fsys fs.FS, name string) txtar.File {
	cfg, err := lbconfigs.Read(fsys, name, "")
	if err != nil {
		return txtar.File{Name: "error", Data: []byte(err.Error() + "\n")}
	}
	var b bytes.Buffer
	r := report.Reading{Balancer: cfg.Balancer, Problems: cfg.Problems, Needs: cfg.Needs, Unread: cfg.Unread}
	claims := checks.Claims(cfg)
	r.Lines = lbconfigs.CountLines(cfg, claims)
	for _, c := range claims {
		p := report.Promise{Claim: c}
		if kind, err := checks.Find(c.Check); err == nil && !kind.CanJudge() {
			p.Undecided = check.NoExperiment
		}
		r.Claims = append(r.Claims, p)
	}
	_ = reports.WriteReading(&b, r, true) // a buffer accepts everything
	if _, err := lbconfigs.Specs(cfg); err != nil {
		fmt.Fprintf(&b, "cannot be run: %v\n", err)
	}
	return txtar.File{Name: "claims", Data: b.Bytes()}
}

// Each txtar file is a configuration: the main file, other files, and last the claims or the error.
func TestRead(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			require.NoError(t, err)
			fsys, err := txtar.FS(archive)
			require.NoError(t, err)
			got := printClaims(fsys, archive.Files[0].Name)
			golden := archive.Files[len(archive.Files)-1]
			if golden.Name != "claims" && golden.Name != "error" {
				archive.Files, golden = append(archive.Files, txtar.File{}), txtar.File{}
			}
			if *update {
				archive.Files[len(archive.Files)-1] = got
				require.NoError(t, os.WriteFile(file, txtar.Format(archive), 0o644))
				return
			}
			assert.Equal(t, golden.Name, got.Name, "%s", got.Data)
			assert.Equal(t, string(golden.Data), string(got.Data))
		})
	}
}

// Invalid files are rejected with file and line.
func TestBadInput(t *testing.T) {
	f := func(name, content, want string) {
		t.Helper()
		_, err := lbconfigs.Read(fstest.MapFS{name: {Data: []byte(content)}}, name, "")
		if assert.Error(t, err, want) {
			assert.Contains(t, err.Error(), want)
		}
	}
	f("nginx.conf", "events {}\nhttp {\x00}\n", "nginx.conf:2: NUL byte")
	f("haproxy.cfg", "global\n\xff\n", "haproxy.cfg:2: byte 0xff is not UTF-8")
	f("nginx.conf", "\xff\xfee\x00", "nginx.conf:1: the file is UTF-16")
	f("nginx.conf", "\xef\xbb\xbfevents {}", "nginx.conf:1: the file is UTF-8 with a byte order mark")
	f("haproxy.cfg", strings.Repeat("# ten megabytes\n", 10<<16), "haproxy.cfg:1: larger than 4 MiB")
	f("nginx.conf", "events {}\nhttp {\n  server {\n", "nginx.conf:4: unexpected end of file")
	f("haproxy.cfg", "  maxconn 1\n", "haproxy.cfg:1: \"maxconn 1\" is outside any section")
	f("haproxy.cfg", "global\n  log stdout\n", "haproxy.cfg: no frontend, backend or listen section")
	f("traefik.yaml", "entryPoints:\n  web:\n address: x\n", "traefik.yaml:2: invalid YAML")
	f("traefik.toml", "[entryPoints]\n[entryPoints.web\n", "traefik.toml:2: invalid TOML")
	f("traefik.yaml", "providers:\n  file:\n    directory: /etc/traefik/none\n",
		"traefik.yaml:3: providers.file.directory /etc/traefik/none: file does not exist")
	f("traefik.yaml", laughs(), "expands to more than 200,000 nodes")
	reserved := "lbproof.internal is reserved for lbproof's own nodes; use another host name"
	f("nginx.conf", "events {}\nhttp { server { location / {\nproxy_pass http://NGINX.lbproof.Internal; } } }\n",
		"nginx.conf:3: server NGINX.lbproof.Internal:80: "+reserved)
	f("haproxy.cfg", "backend b\n  server a worker.lbproof.internal.:80\n",
		"haproxy.cfg:2: server worker.lbproof.internal.:80: "+reserved)
	f("traefik.yaml", "http:\n  middlewares:\n"+
		"    m:\n      forwardAuth:\n        address: http://redis.lbproof.internal/a\n"+
		"  routers:\n    r: {rule: PathPrefix(`/`), service: s, middlewares: [m]}\n"+
		"  services:\n    s:\n      loadBalancer: {servers: [{url: http://a}]}\n",
		"traefik.yaml:5: redis.lbproof.internal: "+reserved)
	f("traefik.toml", "[http.routers]\na = "+strings.Repeat("[", 3<<20),
		"traefik.toml:2: nested more than 64 levels deep")
	f("traefik.toml", "[http.routers]\na = "+strings.Repeat("{a=", 1<<20),
		"traefik.toml:2: nested more than 64 levels deep")
	f("nginx.conf", "http {\n"+strings.Repeat("location / {", 1<<16)+strings.Repeat("}", 1<<16)+"}",
		"nginx.conf:2: nested more than 64 levels deep")
	f("nginx.conf", "events {}\nhttp { include nginx.conf; }",
		"nginx.conf: configs contain include cycle; remove the include")
	f("notes.txt", "hello\n", "notes.txt: cannot detect the balancer; set --balancer")
}

// The size limit also applies to all files together.
func TestSizeOfAllFiles(t *testing.T) {
	files := fstest.MapFS{"nginx.conf": {Data: []byte("events {}\nhttp {\n  include conf.d/*.conf;\n}\n")}}
	for i := range 9 {
		files[fmt.Sprintf("conf.d/%d.conf", i)] = &fstest.MapFile{
			Data: []byte(strings.Repeat("# four megabytes\n", 4<<20/17)),
		}
	}
	_, err := lbconfigs.Read(files, "nginx.conf", "")
	assert.ErrorContains(t, err, "nginx.conf:3: include conf.d/*.conf: conf.d/8.conf: "+
		"all files of the configuration together are larger than 32 MiB")
}

// laughs returns a YAML document whose aliases expand to a billion nodes.
func laughs() string {
	var b strings.Builder
	b.WriteString("entryPoints: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String()
}

// The balancer is detected by content and file name; --balancer overrides both.
func TestDetect(t *testing.T) {
	f := func(fsys fstest.MapFS, name, balancer, want string) {
		t.Helper()
		cfg, err := lbconfigs.Read(fsys, name, balancer)
		if want == "" {
			assert.Error(t, err)
			return
		}
		if assert.NoError(t, err) {
			assert.Equal(t, want, cfg.Balancer)
		}
	}
	nginx := &fstest.MapFile{
		Data: []byte("events {}\nhttp { upstream u { server a; server b; } " +
			"server { location / { proxy_pass http://u; } } }\n"),
	}
	haproxy := &fstest.MapFile{
		Data: []byte("frontend f\n  mode http\n  bind :80\n  default_backend b\nbackend b\n  server s 10.0.0.1:80\n"),
	}
	traefik := &fstest.MapFile{Data: []byte("entryPoints:\n  web:\n    address: ':80'\n")}
	f(fstest.MapFS{"a": nginx}, "a", "", "nginx")
	f(fstest.MapFS{"a": haproxy}, "a", "", "haproxy")
	f(fstest.MapFS{"a.yml": traefik}, "a.yml", "", "traefik")
	f(fstest.MapFS{"a": traefik}, "a", "traefik", "traefik")
	f(fstest.MapFS{"a": traefik}, "a", "envoy", "")
	f(fstest.MapFS{"etc/haproxy.cfg": haproxy, "etc/nginx.conf": nginx}, "etc", "haproxy", "haproxy")
	f(fstest.MapFS{"etc/traefik.toml": {Data: []byte("[entryPoints.web]\naddress = ':80'\n")}}, "etc", "", "traefik")
	f(fstest.MapFS{"etc/other": nginx}, "etc", "", "")
}
