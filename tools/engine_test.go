package tools_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEngineScript runs the script with a PATH of fake commands. Commands that it must not run (install, start) print a
// line.
func TestEngineScript(t *testing.T) {
	const (
		answers = "#!/bin/sh\nexit 0\n"
		silent  = "#!/bin/sh\nexit 1\n"
		user    = "#!/bin/sh\n[ \"$1\" = -u ] && echo 1000 || echo ann\n"
		root    = "#!/bin/sh\necho 0\n"
		tells   = "#!/bin/sh\necho \"ran ${0##*/} $*\"\nexit 1\n"
	)
	cases := map[string]struct {
		commands map[string]string
		host     string // DOCKER_HOST
		code     int
		said     string
	}{
		"an engine answers":       {commands: map[string]string{"docker": answers, "id": root, "apt-get": tells, "dockerd": tells}},
		"ordinary user":           {commands: map[string]string{"docker": silent, "id": user, "apt-get": tells}, code: 1, said: "sudo make engine"},
		"no Debian":               {commands: map[string]string{"docker": silent, "id": root}, code: 1, said: "https://docs.docker.com/engine/install"},
		"another host":            {commands: map[string]string{"docker": silent, "id": root, "apt-get": tells}, host: "tcp://127.0.0.1:1", code: 1, said: "DOCKER_HOST=tcp://127.0.0.1:1"},
		"another host, no docker": {commands: map[string]string{"id": root, "apt-get": tells}, host: "tcp://127.0.0.1:1"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bin := t.TempDir()
			for _, tool := range []string{"bash", "timeout"} {
				at, err := exec.LookPath(tool)
				require.NoError(t, err)
				require.NoError(t, os.Symlink(at, filepath.Join(bin, tool)))
			}
			for command, text := range c.commands {
				require.NoError(t, os.WriteFile(filepath.Join(bin, command), []byte(text), 0o755))
			}
			run := exec.Command(filepath.Join(bin, "bash"), "engine.sh")
			run.Env = []string{"PATH=" + bin, "DOCKER_HOST=" + c.host}
			said, _ := run.CombinedOutput() // the exit code is checked below
			assert.Equal(t, c.code, run.ProcessState.ExitCode(), "%s", said)
			assert.Contains(t, string(said), c.said)
			assert.NotContains(t, string(said), "ran ", "the script installed or started something")
		})
	}
}
