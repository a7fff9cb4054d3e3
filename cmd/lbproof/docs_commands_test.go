package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	codeBlock = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^ *```$")
	// documentedCommand matches an lbproof command, up to a comment, a pipe or the next command.
	documentedCommand = regexp.MustCompile(`(?m)^[ $-]*(?:run: )?(?:\.lbproof/)?(?:bin/)?lbproof ([^|&;>#\n]*)`)
	quoted            = regexp.MustCompile(`'[^']*'|"[^"]*"`)
)

// Every verb and flag in the examples of the pages exists.
func TestDocumentedCommandsExist(t *testing.T) {
	for _, page := range append(pages(t), filepath.Join("..", "..", "CONTRIBUTING.md")) {
		if slices.Contains([]string{"commands.md", "mistakes.md"}, filepath.Base(page)) {
			continue // generated help, and commands that intentionally do not exist
		}
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, block := range codeBlock.FindAllStringSubmatch(string(text), -1) {
			for _, m := range documentedCommand.FindAllStringSubmatch(block[1], -1) {
				checkCommand(t, filepath.Base(page), m[1])
			}
		}
	}
}

func checkCommand(t *testing.T, page, line string) {
	t.Helper()
	cmd, flags, err := newRoot().Find(strings.Fields(quoted.ReplaceAllString(line, "VALUE")))
	if !assert.NoError(t, err, "%s: lbproof %s", page, line) {
		return
	}
	assert.False(t, cmd.Hidden, "%s: lbproof %s", page, line)
	if err := cmd.ParseFlags(flags); !errors.Is(err, pflag.ErrHelp) {
		assert.NoError(t, err, "%s: lbproof %s", page, line)
	}
}
