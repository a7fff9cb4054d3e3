package lbconfigs

import (
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata/*.txtar")

// Each txtar file is one configuration: first the main file, then what it includes, last config.json or error as lbproof
// reads it.
func TestRead(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { readCase(t, file) })
	}
}

func readCase(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	require.NoError(t, err)
	fsys, err := txtar.FS(archive)
	require.NoError(t, err)
	got := txtar.File{Name: "config.json"}
	cfg, err := Read(fsys, archive.Files[0].Name)
	if err == nil {
		_, err = Specs(cfg)
	}
	if err != nil {
		got = txtar.File{Name: "error", Data: []byte(err.Error() + "\n")}
	} else {
		cfg.Files = nil // the input stands above
		got.Data, err = json.MarshalIndent(cfg, "", " ")
		require.NoError(t, err)
		got.Data = append(got.Data, '\n')
	}
	golden := archive.Files[len(archive.Files)-1]
	if golden.Name != "config.json" && golden.Name != "error" {
		archive.Files, golden = append(archive.Files, txtar.File{}), txtar.File{}
	}
	if *update {
		archive.Files[len(archive.Files)-1] = got
		require.NoError(t, os.WriteFile(file, txtar.Format(archive), 0o644))
		return
	}
	assert.Equal(t, golden.Name, got.Name, "%s", got.Data)
	assert.Equal(t, string(golden.Data), string(got.Data))
}

// The built-in configuration is handed on byte for byte.
func TestBuiltInIsKeptByteForByte(t *testing.T) {
	want, err := fs.ReadFile(BuiltIn, "nginx/weighted.conf")
	require.NoError(t, err)
	cfg, err := Read(BuiltIn, "nginx/weighted.conf")
	require.NoError(t, err)
	assert.Equal(t, string(want), string(cfg.Files[0].Content))
	specs, err := Specs(cfg)
	require.NoError(t, err)
	names := []string{}
	for _, s := range specs {
		names = append(names, s.Name)
	}
	assert.Equal(t, []string{"nginx", "back-01", "back-02", "back-03"}, names)
	assert.Equal(t, map[string]string{"/etc/nginx/nginx.conf": "nginx/weighted.conf"}, specs[0].Files)
}

// No input makes the reader panic or accept what it cannot hand on.
func FuzzRead(f *testing.F) {
	seed, _ := fs.ReadFile(BuiltIn, "nginx/weighted.conf")
	f.Add(seed)
	f.Add([]byte("http { upstream a { server b:1 weight=0; } server { location / { proxy_pass http://a; } } }"))
	f.Fuzz(func(t *testing.T, content []byte) {
		fsys, err := txtar.FS(&txtar.Archive{Files: []txtar.File{{Name: "main.conf", Data: content}}})
		if err != nil {
			t.Skip(err)
		}
		if cfg, err := Read(fsys, "main.conf"); err == nil {
			_, _ = Specs(cfg)
		}
	})
}

func TestIncludedFilesStayBesideTheMainFile(t *testing.T) {
	f := func(main, file, want string) {
		t.Helper()
		assert.Equal(t, want, inContainer("/etc/nginx/nginx.conf", main, file))
	}
	f("nginx.conf", "conf.d/a.conf", "/etc/nginx/conf.d/a.conf")
	f("deploy/lb.conf", "deploy/conf.d/a.conf", "/etc/nginx/conf.d/a.conf")
	f("/home/me/lb.conf", "/home/me/conf.d/a.conf", "/etc/nginx/conf.d/a.conf")
	f("nginx.conf", "/etc/nginx/mime.types", "/etc/nginx/mime.types")
}
