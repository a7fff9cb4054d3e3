package lbproof_test

import (
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// codeBlock matches a fenced block of Markdown.
var codeBlock = regexp.MustCompile("(?ms)^```.*?^```$")

// readProse reads a Markdown file without its code blocks.
func readProse(t *testing.T, name string) string {
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return codeBlock.ReplaceAllString(string(text), "")
}

// A link to a heading leads to one that is there.
func TestAnchorsInDocsExist(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]*)#([^)]+)\)`)
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	for _, page := range append(pages, "README.md", "CONTRIBUTING.md", "CHANGELOG.md") {
		for _, m := range link.FindAllStringSubmatch(readProse(t, page), -1) {
			target := page
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(page), m[1])
			}
			assert.Contains(t, anchorsOf(readProse(t, target)), m[2], "%s links to a heading of %s", page, target)
		}
	}
}

// anchorsOf returns the anchors that Markdown renderers give to headings.
func anchorsOf(text string) (anchors []string) {
	dropped := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for line := range strings.Lines(text) {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			heading = strings.ToLower(dropped.ReplaceAllString(strings.TrimSpace(heading), ""))
			anchors = append(anchors, strings.ReplaceAll(heading, " ", "-"))
		}
	}
	return anchors
}

// inlineCode matches code within a line of Markdown.
var inlineCode = regexp.MustCompile("`([^`\n]+)`")

// The paths that CONTRIBUTING.md mentions exist, except for those with a placeholder in capitals.
func TestContributingPathsExist(t *testing.T) {
	filePath := regexp.MustCompile(`^[a-z_.][A-Za-z0-9_.*-]*(/[A-Za-z0-9_.*-]+)+/?$|^[A-Za-z-]+\.(go|md|yaml|sh)$`)
	placeholder := regexp.MustCompile(`(^|/)(NAME|FAMILY|BALANCER)\b`)
	for _, m := range inlineCode.FindAllStringSubmatch(readProse(t, "CONTRIBUTING.md"), -1) {
		if !filePath.MatchString(m[1]) || placeholder.MatchString(m[1]) {
			continue
		}
		found, err := filepath.Glob(m[1])
		require.NoError(t, err, m[1])
		assert.NotEmpty(t, found, "CONTRIBUTING.md mentions %s, which does not exist", m[1])
	}
}

// The Go names that CONTRIBUTING.md mentions are declared somewhere: Name, Type.Field or package.Name.
func TestContributingNamesExist(t *testing.T) {
	declared := map[string]bool{}
	readIdentifiers(t, declared)
	goName := regexp.MustCompile(`^([a-z]+\.)?[A-Za-z]*[A-Z][A-Za-z]+(\.[A-Z][A-Za-z]+)?(\{…\})?$`)
	for _, m := range inlineCode.FindAllStringSubmatch(readProse(t, "CONTRIBUTING.md"), -1) {
		if !goName.MatchString(m[1]) || m[1] == strings.ToUpper(m[1]) {
			continue
		}
		for _, part := range strings.Split(strings.TrimSuffix(m[1], "{…}"), ".") {
			assert.True(t, declared[part], "CONTRIBUTING.md mentions %s: the code has no %s", m[1], part)
		}
	}
}

// readIdentifiers adds every identifier of the code, tests included.
func readIdentifiers(t *testing.T, into map[string]bool) {
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".go" {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var s scanner.Scanner
		s.Init(token.NewFileSet().AddFile(name, -1, len(text)), text, nil, 0)
		for {
			switch _, kind, word := s.Scan(); kind {
			case token.IDENT:
				into[word] = true
			case token.EOF:
				return nil
			}
		}
	})
	require.NoError(t, err)
}
