package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lbproof": main})
}

// TestScripts runs the command line as a user would, without Docker: testdata/script/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":  exitCode,
			"bytes": writeBytes,
			"tame":  tame,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOSTILE", hostile)
			return nil
		},
	})
}

// exitCode runs lbproof and checks its exit code: code 2 claims nothing.conf.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N ARGS")
	}
	err := ts.Exec("lbproof", args[1:]...)
	got := "0"
	if err != nil {
		got = err.Error()
		if len(got) > len("exit status ") {
			got = got[len("exit status "):]
		}
	}
	if got != args[0] {
		ts.Fatalf("lbproof %v: exit code %s instead of %s", args[1:], got, args[0])
	}
}

// hostile is part of a file name with commands for terminals and CI systems.
const hostile = "a\x1b[31m\x1b]52;c;aGk=\x07\u009b1m\u202e\r\n::error::FORGED\n##[error]FORGED\n b\xff"

// writeBytes replaces Go escape sequences in files by the bytes: bytes nginx.conf.
func writeBytes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: bytes FILES")
	}
	escape := regexp.MustCompile(`\\(x[0-9a-f]{2}|u[0-9a-f]{4})`)
	for _, name := range args {
		text := escape.ReplaceAllStringFunc(ts.ReadFile(name), func(escaped string) string {
			raw, err := strconv.Unquote(`"` + escaped + `"`)
			ts.Check(err)
			return raw
		})
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o644))
	}
}

// ciCommand matches commands of CI systems, and lines that look like lbproof's own.
var ciCommand = regexp.MustCompile(`^\s*(::[a-z]|FORGED)|##\[|##vso\[`)

// tame checks that the output of the last command contains no command for terminals or CI systems, and contains words.
func tame(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: tame WORDS")
	}
	text := ts.ReadFile("stdout") + "\n" + ts.ReadFile("stderr")
	for line := range strings.SplitSeq(text, "\n") {
		isControl := func(r rune) bool { return r != '\t' && !strconv.IsGraphic(r) }
		if strings.ContainsFunc(strings.ToValidUTF8(line, "\x00"), isControl) || ciCommand.MatchString(line) {
			ts.Fatalf("line with a command for a terminal or CI system: %q", line)
		}
	}
	for _, word := range args {
		if !strings.Contains(text, word) {
			ts.Fatalf("the output does not contain %s:\n%s", word, text)
		}
	}
}
