package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/lbconfigs"
)

// The real balancers refuse exactly those cases of the readers' tests that lbproof reports as rejected, and start with
// all others.
func TestReadersAgreeWithTheBalancers(t *testing.T) {
	files, err := filepath.Glob("../../lbconfigs/testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		require.NoError(t, err)
		last := len(archive.Files) - 1
		if archive.Files[last].Name != "claims" {
			continue // lbproof cannot read it
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, f := range archive.Files[:last] {
				at := filepath.Join(dir, f.Name)
				require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
				require.NoError(t, os.WriteFile(at, f.Data, 0o644))
			}
			p := start(t, dir, "claims", "--json", "--fail-on", "none", archive.Files[0].Name)
			require.Equal(t, 0, p.wait(t), p.stderr.String())
			var r report.Reading
			require.NoError(t, json.Unmarshal(p.stdout.Bytes(), &r))
			require.NotNil(t, r.Checker, r.NotAsked)
			var rejected []string
			for _, one := range r.Problems {
				if one.Effect == model.Rejected {
					rejected = append(rejected, one.Text)
				}
			}
			assert.Equal(t, len(rejected) == 0, r.Checker.Accepted, "lbproof: %q; the balancer: %v", rejected, r.Checker.Messages)
			assert.Equal(t, r.Checker.Accepted, r.Checker.Started, "%v", r.Checker.Messages)
		})
	}
}

// haproxyWords are parts of lines with quotes, escapes, comments and blanks in all positions. No word contains a line
// break.
var haproxyWords = []string{
	"a b", "a\tb", "a\vb\fc", "a\u00a0b c", "a\rb", "a #b", "a#b", `a\#b c`, `a\\#b`, `"a # b" c`, `'a # b' c`, `"a b" 'c d'`, `a"b c"d'e f'g h`, `%[str("a b"),lower] c`, `"it's" 'say "x"'`,
	`'it'\''s' b`, `a "" c`, `"" b`, `a ""`, `a\ b c`, `a\\b "c\\d"`, `a\"b "c\"d"`, `a\'b "c\'d"`, `"a\ b" 'c\ d'`, `'a\\b' 'c\"d'`, `a\tb "\t"c`, `\x41\x7a "\xc3\xa9"`, `'\x41\n' b`, `/\1/\. \[a\]`,
	`"\é" a\`, "a\\\tb", `$a ${b`, `'$a' ^/b$`, `\$a "\$b"`, `"\${A}" "${LBPROOF_NONE-a "b 'c} d"`,
}

// HAProxy and lbproof split lines into the same words. For up to 50 lines, HAProxy names the first unexpected word:
// "daemon" expects none, "maxconn" one.
func TestWordsAgreeWithHAProxy(t *testing.T) {
	unexpected := regexp.MustCompile(`cannot handle unexpected argument '(.*)'\.$`)
	for n, keyword := range []string{"daemon", "maxconn"} {
		text := "frontend web\n mode http\n bind :80\nglobal\n"
		first := 1 + strings.Count(text, "\n")
		for _, words := range haproxyWords {
			text += keyword + " " + words + "\n"
		}
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "haproxy.cfg"), []byte(text), 0o644))
		p := start(t, dir, "claims", "--json", "--fail-on", "none", "haproxy.cfg")
		require.Equal(t, 0, p.wait(t), p.stderr.String())
		var r report.Reading
		require.NoError(t, json.Unmarshal(p.stdout.Bytes(), &r))
		require.NotNil(t, r.Checker, r.NotAsked)
		theirs := map[int]string{} // line → word
		for _, message := range r.Checker.Messages {
			if m := unexpected.FindStringSubmatch(message.Text); m != nil {
				theirs[message.Pos.Line] = m[1]
			}
		}
		require.NotEmpty(t, theirs)
		for i, words := range haproxyWords {
			config := "backend b\n stick " + words + "\n server s 10.0.0.1:80\n"
			cfg, err := lbconfigs.Read(fstest.MapFS{"haproxy.cfg": {Data: []byte(config)}}, "haproxy.cfg", "haproxy")
			require.NoError(t, err, words)
			ours := append(cfg.Pools[0].Sticky.Source[1:], "", "")[n]
			ours = strings.Replace(ours, `${LBPROOF_NONE-a "b 'c}`, `a "b 'c`, 1) // a variable that is not set
			assert.Equal(t, theirs[first+i], ours, "word %d of %s", n+1, words)
		}
	}
}
