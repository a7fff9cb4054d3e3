package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A terminal gets lbproof's own orders, and none that stand in what is written.
func TestScreenOfATerminal(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	var b strings.Builder
	s := newScreen(&b)
	s.terminal = true
	p := newProgress(s)
	p.Step("pulling a\x1b[31m\n::error::b")
	p.Phase("turns\r\x1b[2J", 1, 2, 0)
	p.Phase("turns\r\x1b[2J", 2, 2, 0)
	p.end()
	_, err := withColours(s).Write([]byte(" REFUTED  x\x1b[31m\n::error::c\n"))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	assert.Equal(t, "SECONDS  pulling a\\x1b[31m\\n::error::b\n"+
		"\r\x1b[KSECONDS  turns\\r\\x1b[2J: 1 of 2 requests\r\x1b[KSECONDS  turns\\r\\x1b[2J: 2 of 2 requests\n"+
		" \x1b[31mREFUTED\x1b[0m  x\\x1b[31m\n\\x3a:error::c\n", seconds.ReplaceAllString(b.String(), "SECONDS"))
}

var seconds = regexp.MustCompile(` +[0-9.]+s`)

// What is no terminal gets no orders at all, but of what programs read nothing is changed.
func TestScreenOfAFile(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	var b strings.Builder
	s := newScreen(&b)
	p := newProgress(s)
	p.Phase("turns", 1, 2, 0)
	p.Phase("turns", 2, 2, 0)
	p.end()
	_, err := withColours(s).Write([]byte(" REFUTED\n"))
	require.NoError(t, err)
	_, err = unquoted(s).Write([]byte("\x1b\xff"))
	require.NoError(t, err)
	assert.Equal(t, "SECONDS  turns: 1 of 2 requests\nSECONDS  turns: 2 of 2 requests\n REFUTED\n\x1b\xff", seconds.ReplaceAllString(b.String(), "SECONDS"))
}

// NO_COLOR is heeded.
func TestScreenWithoutColours(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	var b strings.Builder
	s := newScreen(&b)
	s.terminal = true
	_, err := withColours(s).Write([]byte(" REFUTED\n"))
	require.NoError(t, err)
	assert.Equal(t, " REFUTED\n", b.String())
}

// An error of several lines, as a refusal with the balancer's own words, has none that begins with somebody else's.
func TestErrorsOrderNobody(t *testing.T) {
	var out, told strings.Builder
	code := Main([]string{"claims", "missing\n::error::a\n##[error]b\x1b[31m"}, nil, &out, &told)
	assert.Equal(t, 2, code)
	assert.Empty(t, out.String())
	assert.Contains(t, told.String(), "lbproof: missing\n| ::error::a\n| \\x23#[error]b\\x1b[31m: no such file")
}
