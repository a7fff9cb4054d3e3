package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A terminal gets lbproof's own control sequences, but none that are part of a value.
func TestScreenOfATerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	var b strings.Builder
	s := newScreen(&b)
	s.terminal = true
	p := newProgress(s)
	p.Step("pulling a\x1b[31m\n::error::b")
	p.Phase("load\r\x1b[2J", 1, 2, 0)
	p.Phase("load\r\x1b[2J", 2, 2, 0)
	p.end()
	_, err := withColours(s).Write([]byte(" REFUTED  x\x1b[31m\n::error::c\n"))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	assert.Equal(t, "SECONDS  pulling a\\x1b[31m\\n::error::b\n"+
		"\r\x1b[KSECONDS  load\\r\\x1b[2J: 1 of 2 requests\r\x1b[KSECONDS  load\\r\\x1b[2J: 2 of 2 requests\n"+
		" \x1b[31mREFUTED\x1b[0m  x\\x1b[31m\n\\x3a:error::c\n", seconds.ReplaceAllString(b.String(), "SECONDS"))
}

var seconds = regexp.MustCompile(` +[0-9.]+s`)

// Other writers get no control sequences, and output for programs is unchanged.
func TestScreenOfAFile(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	var b strings.Builder
	s := newScreen(&b)
	p := newProgress(s)
	p.Phase("load", 1, 2, 0)
	p.Phase("load", 2, 2, 0)
	p.end()
	_, err := withColours(s).Write([]byte(" REFUTED\n"))
	require.NoError(t, err)
	_, err = unquoted(s).Write([]byte("\x1b\xff"))
	require.NoError(t, err)
	assert.Equal(t, "SECONDS  load: 1 of 2 requests\nSECONDS  load: 2 of 2 requests\n REFUTED\n\x1b\xff",
		seconds.ReplaceAllString(b.String(), "SECONDS"))
}

// NO_COLOR disables colours.
func TestScreenWithoutColours(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	var b strings.Builder
	s := newScreen(&b)
	s.terminal = true
	_, err := withColours(s).Write([]byte(" REFUTED\n"))
	require.NoError(t, err)
	assert.Equal(t, " REFUTED\n", b.String())
}

// In an error of several lines, quoted text cannot begin a line or contain a command.
func TestErrorsContainNoCommands(t *testing.T) {
	var out, errOut strings.Builder
	code := Main([]string{"claims", "missing\n::error::a\n##[error]b\x1b[31m"}, nil, &out, &errOut)
	assert.Equal(t, 2, code)
	assert.Empty(t, out.String())
	assert.Contains(t, errOut.String(), "lbproof: missing\n| ::error::a\n| \\x23#[error]b\\x1b[31m: no such file")
}
