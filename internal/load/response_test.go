package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
)

// read feeds a response in pieces and ends the connection.
func read(text string, toHEAD bool, piece int) (a response, rest string, err error) {
	a.serverNames = map[string]string{}
	a.reset(toHEAD)
	for left := text; left != "" && a.stage != isDone; {
		n, err := a.feed([]byte(left[:min(piece, len(left))]))
		if err != nil {
			return a, left, err
		}
		left, rest = left[n:], left[n:]
	}
	if a.stage != isDone {
		if why := a.handleEOF(); why != "" {
			return a, "", errors.New(string(why))
		}
	}
	return a, rest, nil
}

func TestResponses(t *testing.T) {
	f := func(text string, code int, body string, closes bool, rest string) {
		t.Helper()
		for piece := 1; piece <= len(text); piece++ {
			a, left, err := read(text, false, piece)
			require.NoError(t, err, "in pieces of %d", piece)
			assert.Equal(t, code, a.code)
			assert.Equal(t, int64(len(body)), a.size)
			assert.Equal(t, history.Checksum([]byte(body)), a.sum)
			assert.Equal(t, closes, a.closeAfter)
			if piece == len(text) {
				assert.Equal(t, rest, left)
			}
		}
	}
	f("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", false, "")
	f("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", false, "")
	f("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 200, "x", true, "")
	f("HTTP/1.1 200 OK\r\n\r\nto the end", 200, "to the end", true, "")
	f("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", true, "")
	f("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", 200, "x", false, "")
	f("HTTP/1.1 204 No Content\r\n\r\n", 204, "", false, "")
	f("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, "", false, "")
	f("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx", 201, "x", false, "")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;odd=\"1\"\r\n0123456789\r\n0\r\n\r\n", 200, "hello0123456789", false, "")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nExpires: never\r\nA: b\r\n\r\n", 200, "x", false, "")
	f("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1", 200, "x", false, "HTTP/1.1")
	f("HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", 200, "hi", false, "")
	f("HTTP/1.1 200 OK\r\nA: b\r\n folded\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", false, "")
	f("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", false, "")
}

func TestResponsesToHEAD(t *testing.T) {
	a, _, err := read("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", true, 1000)
	require.NoError(t, err)
	assert.Equal(t, 200, a.code)
	assert.Zero(t, a.size)
}

func TestResponseFillsHit(t *testing.T) {
	a, _, err := read("HTTP/1.1 200 OK\r\nx-lbproof-server: back-01\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nX-Lbproof-Size: 9\r\nContent-Length: 5\r\n\r\nhello", false, 1000)
	require.NoError(t, err)
	assert.Equal(t, "back-01", a.server)
	assert.Equal(t, []string{"a=1; Path=/", "b=2"}, a.cookies)
	assert.True(t, a.isShort(), "the backend declared 9 bytes")
}

func TestInvalidResponses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		for _, piece := range []int{1, 7, len(text) + 1} {
			_, _, err := read(text, false, piece)
			require.Error(t, err)
			assert.Contains(t, err.Error(), want)
		}
	}
	f("", "closed")
	f("HTTP/1.1 200 OK\r\n", "truncated")
	f("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "truncated")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "truncated")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "truncated")
	f("SSH-2.0-OpenSSH\r\n", "not an HTTP response")
	f("HTTP/1.1 ???\r\n\r\n", "malformed")
	f("HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n", "bad Content-Length")
	f("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "Content-Length")
	f("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "malformed")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "malformed chunk")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n", "malformed chunk")
	f("HTTP/1.1 200 OK\r\n"+strings.Repeat("X-Padding: very much of it\r\n", 4000), "header too large")
	f("HTTP/1.1 200 OK\r\nX-Long: "+strings.Repeat("x", maxHead), "header too large")
}

// Endless header lines in small pieces take time proportional to their length.
func TestEndlessHeadersTakeLinearTime(t *testing.T) {
	var a response
	a.reset(false)
	_, err := a.feed([]byte("HTTP/1.1 200 OK\r\n"))
	for err == nil {
		_, err = a.feed([]byte("x"))
	}
	assert.ErrorIs(t, err, errEndless)
	a.reset(false)
	assert.LessOrEqual(t, cap(a.pending), maxLine, "a large buffer is released")
}

// oracle returns how net/http parses a response, skipping interim responses.
func oracle(text []byte, method string) (code int, body []byte, closes bool, err error) {
	r := bufio.NewReader(bytes.NewReader(text))
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return 0, nil, false, err
		}
		if resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		body, err = io.ReadAll(resp.Body)
		toEnd := resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && method != http.MethodHead
		return resp.StatusCode, body, resp.Close || toEnd, err
	}
}

func FuzzResponse(f *testing.F) {
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.0 200 OK\r\nConnection: Keep-Alive, close\r\n\r\nhello",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\nrest",
		"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
		"HTTP/2.0 200\nX: y\n z\n\nbody", "HTTP/1.1 +20 \r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x00",
	} {
		f.Add([]byte(text), false, 3)
		f.Add([]byte(text), true, 100)
	}
	f.Fuzz(func(t *testing.T, text []byte, toHEAD bool, piece int) {
		if piece < 1 || len(text) > 4000 { // beyond net/http's buffer, its trailers and chunk lines are refused
			return
		}
		method := map[bool]string{true: http.MethodHead, false: http.MethodGet}[toHEAD]
		code, body, closes, want := oracle(text, method)
		closes = closes || code == http.StatusSwitchingProtocols // as in response.readHead
		a, _, got := read(string(text), toHEAD, piece)
		if want != nil || got != nil {
			assert.Equal(t, want == nil, got == nil, "net/http: %v, here: %v", want, got)
			return
		}
		assert.Equal(t, fmt.Sprint(code, len(body), history.Checksum(body), closes), fmt.Sprint(a.code, a.size, a.sum, a.closeAfter))
	})
}
