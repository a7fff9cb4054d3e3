package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const fewLines = `events {}
http {
    upstream cats { server cat-1:8000; }
    server {
        listen 80;
        add_header X-Frame-Options DENY always;
        location = /health { return 200 "well"; }
        location / { proxy_pass http://cats; }
    }
}
`

// Mutations of every line with a claim are killed on the real balancer; a second call runs none of them again.
func TestMutate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(fewLines), 0o644))
	p := start(t, dir, "mutate", "nginx.conf")
	assert.Equal(t, 0, p.wait(t), "%s\n%s", p.stderr.String(), p.stdout.String())
	assert.Contains(t, p.stderr.String(), "killed")
	assert.Contains(t, p.stdout.String(), "lines with claims are tested (100 %)")
	again := start(t, dir, "mutate", "nginx.conf")
	assert.Equal(t, 0, again.wait(t), again.stderr.String())
	assert.Contains(t, again.stderr.String(), "the others take about 0s")
	assert.Equal(t, p.stdout.String(), again.stdout.String())
}

// An interrupted mutate prints once that it was interrupted and how to resume.
func TestMutateIsInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(fewLines), 0o644))
	p := start(t, dir, "mutate", "nginx.conf", "--parallel", "2")
	p.until(t, "decided already")
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	assert.Equal(t, 4, p.wait(t), p.stderr.String())
	assert.Equal(t, 1, strings.Count(p.stderr.String(), interruptNotice), p.stderr.String())
	last := "lbproof: interrupted: run the same command again to resume\n"
	assert.True(t, strings.HasSuffix(p.stderr.String(), last), p.stderr.String())
	assert.NotContains(t, p.stderr.String(), "signal received")
}
