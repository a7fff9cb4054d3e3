package load

import (
	"bufio"
	"bytes"
	"errors"
	"hash/crc32"
	"net/http"
	"net/textproto"
	"strconv"

	"github.com/lbproof/lbproof/internal/history"
)

// response parses an HTTP/1.1 response incrementally, from pieces of any size. It keeps only the numbers of a hit, so
// memory does not depend on the body, and it is reused for the next response. Common headers are parsed in place;
// unusual ones are left to net/http, which decides what is valid.
type response struct {
	head
	size int64
	sum  uint32

	toHEAD        bool // the request was HEAD
	started       bool // some bytes have arrived
	stage         stage
	left          int64  // remaining bytes of the body or chunk
	pending       []byte // incomplete lines
	searched      int    // bytes of pending already searched for the end
	chunkOverhead int64  // bytes of chunk lines beyond what normal chunks need
	serverNames   map[string]string
}

type stage uint8

const (
	inHead stage = iota
	inBody
	inUntilClose // body ends with the connection
	inChunkLine
	inChunk
	inChunkEnd
	inTrailer
	isDone
)

// Limits for buffered text, in bytes: a header or trailer, and a chunk line.
const (
	maxHead = 64 << 10
	maxLine = 4 << 10
)

var (
	errEndless = errors.New("header too large")
	errChunk   = errors.New("malformed chunk")
	errNotHTTP = errors.New("not an HTTP response")
)

// reset prepares for the response to the next request.
func (a *response) reset(toHEAD bool) {
	buffer := a.pending[:0]
	if cap(buffer) > maxLine {
		buffer = nil // drop an unusually large buffer
	}
	*a = response{toHEAD: toHEAD, pending: buffer, serverNames: a.serverNames, head: head{cookies: a.cookies[:0]}}
}

// feed parses p and returns how many bytes belong to the response.
func (a *response) feed(p []byte) (n int, err error) {
	a.started = a.started || len(p) > 0
	for a.stage != isDone && n < len(p) && err == nil {
		var k int
		switch a.stage {
		case inHead, inTrailer:
			k, err = a.readLines(p[n:])
		case inChunkLine, inChunkEnd:
			k, err = a.readChunkLine(p[n:])
		default:
			k = a.readBody(p[n:])
		}
		n += k
	}
	return n, err
}

// done reports whether the response is complete.
func (a *response) done() bool { return a.stage == isDone }

// handleEOF handles the end of the connection. It returns "" if the response is complete with it.
func (a *response) handleEOF() history.Err {
	switch {
	case a.stage == inUntilClose:
		a.stage = isDone
		return ""
	case a.started:
		return history.Truncated
	}
	return history.Closed
}

// isShort reports whether a complete body is shorter than the backend declared.
func (a *response) isShort() bool {
	if bodiless := a.toHEAD || a.code == http.StatusNotModified; bodiless || a.compressed {
		return false
	}
	return a.size < a.declaredSize
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readBody counts and hashes a piece of the body.
func (a *response) readBody(p []byte) int {
	if a.stage != inUntilClose {
		p = p[:min(a.left, int64(len(p)))]
		if a.left -= int64(len(p)); a.left == 0 && a.stage == inBody {
			a.stage = isDone
		} else if a.left == 0 {
			a.stage = inChunkEnd
		}
	}
	a.size += int64(len(p))
	a.sum = crc32.Update(a.sum, castagnoli, p)
	return len(p)
}

// accumulate appends p to the pending text. If the text now contains its end, it returns the whole text and how many
// bytes of p belong to it; otherwise it keeps p, up to limit bytes.
func (a *response) accumulate(
	p []byte, limit int, end func(text []byte, from int) int,
) (whole []byte, n int, err error) {
	before := len(a.pending)
	whole = p
	if before > 0 {
		a.pending = append(a.pending, p...)
		whole = a.pending
	}
	switch i := end(whole, max(0, a.searched-3)); {
	case i > limit, i < 0 && len(whole) > limit:
		return nil, 0, errEndless
	case i >= 0:
		a.pending, a.searched = a.pending[:0], 0
		return whole[:i], i - before, nil
	case before == 0:
		a.pending = append(a.pending, p...)
	}
	a.searched = len(a.pending)
	return nil, len(p), nil
}

// readLines reads the header or trailer up to its empty line.
func (a *response) readLines(p []byte) (n int, err error) {
	const begins = "HTTP/"
	if a.stage == inHead && len(a.pending) < len(begins) {
		for i := len(a.pending); i < len(begins) && i-len(a.pending) < len(p); i++ {
			if p[i-len(a.pending)] != begins[i] {
				return 0, errNotHTTP
			}
		}
	}
	end := endOfHead
	if a.stage == inTrailer {
		end = endOfTrailer
	}
	whole, n, err := a.accumulate(p, maxHead, end)
	switch {
	case whole == nil:
		return n, err
	case a.stage == inTrailer:
		a.stage = isDone
		return n, checkTrailer(whole)
	}
	return n, a.readHead(whole)
}

// endOfHead returns the length of text up to and including the first empty line, or -1.
func endOfHead(text []byte, from int) int {
	for {
		i := bytes.IndexByte(text[from:], '\n')
		if i < 0 {
			return -1
		}
		from += i + 1
		switch rest := text[from:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return from + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return from + 2
		}
	}
}

// endOfLine returns the length of text up to and including the first line end, or -1.
func endOfLine(text []byte, from int) int {
	i := bytes.IndexByte(text[from:], '\n')
	if i < 0 {
		return -1
	}
	return from + i + 1
}

// readChunkLine reads a chunk's size line or the line end after a chunk. Like net/http it requires CRLF and allows a
// limited amount of extensions.
func (a *response) readChunkLine(p []byte) (n int, err error) {
	const end = "\r\n"
	if at := len(a.pending); a.stage == inChunkEnd && at < len(end) && p[0] != end[at] {
		return 0, errChunk
	}
	text, n, err := a.accumulate(p, maxLine, endOfLine)
	if text == nil {
		return n, err
	}
	if i := bytes.IndexByte(text, '\r'); i < 0 || i != len(text)-2 {
		return n, errChunk
	}
	if a.stage == inChunkEnd {
		a.stage = inChunkLine
		return n, nil
	}
	digits, _, _ := bytes.Cut(bytes.TrimRight(text[:len(text)-2], " \t"), []byte(";"))
	size, err := strconv.ParseUint(string(digits), 16, 63)
	if err != nil || len(digits) > 16 {
		return n, errChunk
	}
	a.chunkOverhead = max(0, a.chunkOverhead+int64(len(text))-16-2*int64(min(size, maxHead)))
	switch {
	case a.chunkOverhead > 16<<10:
		return n, errChunk
	case size == 0:
		a.stage = inTrailer
	default:
		a.stage, a.left = inChunk, int64(size)
	}
	return n, nil
}

// checkTrailer validates the trailer as net/http does and discards it.
func checkTrailer(text []byte) error {
	if string(text) == "\r\n" {
		return nil
	}
	_, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(text))).ReadMIMEHeader()
	return err
}

// endOfTrailer returns the length of text up to and including the empty line (CRLF only), or -1.
func endOfTrailer(text []byte, from int) int {
	if bytes.HasPrefix(text, []byte("\r\n")) {
		return 2
	}
	if i := bytes.Index(text[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 4
	}
	return -1
}

// readHead parses a header and decides what follows it.
func (a *response) readHead(text []byte) error {
	a.head = head{length: -1, cookies: a.cookies[:0]}
	if !a.parse(text, a.serverNames) {
		a.head = head{length: -1, cookies: a.cookies[:0]}
		if err := a.parseWithNetHTTP(text, a.toHEAD); err != nil {
			return err
		}
	}
	switch {
	case a.code/100 == 1 && a.code != http.StatusSwitchingProtocols: // an interim response; the final one follows
	case a.code == http.StatusSwitchingProtocols: // what follows is not HTTP
		a.stage, a.closeAfter = isDone, true
	case a.toHEAD, a.code == http.StatusNoContent, a.code == http.StatusNotModified:
		a.stage = isDone
	case a.chunked:
		a.stage = inChunkLine
	case a.length == 0:
		a.stage = isDone
	case a.length > 0:
		a.stage, a.left = inBody, a.length
	default:
		a.stage, a.closeAfter = inUntilClose, true
	}
	return nil
}

// head is the relevant part of a status line and header.
type head struct {
	code         int
	length       int64 // of the body; -1 if unknown
	chunked      bool
	compressed   bool  // Content-Encoding is set: the size is not the backend's
	closeAfter   bool  // the connection ends with the response
	declaredSize int64 // body size as sent by the backend, in bytes
	server       string
	cookies      []string // values of Set-Cookie
}

// parse parses a header of common form; false: leave it to net/http. names interns server names.
func (h *head) parse(text []byte, names map[string]string) bool {
	status, text := cutLine(text)
	const version = "HTTP/1.1 "
	if len(status) < 13 || string(status[:len(version)]) != version || status[12] != ' ' {
		return false
	}
	for _, digit := range status[9:12] {
		if digit < '0' || digit > '9' {
			return false
		}
		h.code = 10*h.code + int(digit-'0')
	}
	for len(text) > 0 {
		var one []byte
		if one, text = cutLine(text); len(one) == 0 {
			break
		}
		colon := bytes.IndexByte(one, ':')
		if colon <= 0 || !isToken(one[:colon]) || !isText(one[colon:]) {
			return false
		}
		if name, value := one[:colon], bytes.Trim(one[colon+1:], " \t"); !h.parseField(name, value, names) {
			return false
		}
	}
	return !h.chunked || h.length < 0
}

// parseField parses one header field; false: leave it to net/http.
func (h *head) parseField(name, value []byte, names map[string]string) bool {
	switch len(name) {
	case len("Connection"):
		if equalFold(name, "connection") {
			h.closeAfter = equalFold(value, "close")
			return h.closeAfter || equalFold(value, "keep-alive")
		}
		if equalFold(name, "set-cookie") {
			h.cookies = append(h.cookies, string(value))
		}
	case len("Content-Length"):
		if equalFold(name, "content-length") {
			n, err := strconv.ParseUint(string(value), 10, 63)
			if err != nil || h.length >= 0 {
				return false
			}
			h.length = int64(n)
		} else if equalFold(name, history.SizeHeader) {
			h.declaredSize, _ = strconv.ParseInt(string(value), 10, 64)
		}
	case len(history.ServerHeader):
		if equalFold(name, history.ServerHeader) {
			h.server = intern(names, value)
		} else if equalFold(name, "content-encoding") {
			h.compressed = true
		}
	case len("Transfer-Encoding"):
		if equalFold(name, "transfer-encoding") {
			h.chunked = equalFold(value, "chunked")
			return h.chunked
		}
	}
	return true
}

// parseWithNetHTTP parses a header with net/http.
func (h *head) parseWithNetHTTP(text []byte, toHEAD bool) error {
	method := http.MethodGet
	if toHEAD {
		method = http.MethodHead
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), &http.Request{Method: method})
	if err != nil {
		return err
	}
	h.code, h.length, h.closeAfter = resp.StatusCode, resp.ContentLength, resp.Close
	h.chunked = len(resp.TransferEncoding) > 0
	h.compressed = resp.Header.Get("Content-Encoding") != ""
	h.declaredSize, _ = strconv.ParseInt(resp.Header.Get(history.SizeHeader), 10, 64)
	h.server = resp.Header.Get(history.ServerHeader)
	h.cookies = append(h.cookies, resp.Header.Values("Set-Cookie")...)
	return nil
}

// maxInterned limits interned names, in case every response brings a new one.
const maxInterned = 1000

// intern returns one string for equal names.
func intern(names map[string]string, name []byte) string {
	if same, ok := names[string(name)]; ok {
		return same
	}
	s := string(name)
	if len(names) < maxInterned && names != nil {
		names[s] = s
	}
	return s
}

// cutLine splits off the first line, without its line end.
func cutLine(text []byte) (line, rest []byte) {
	i := bytes.IndexByte(text, '\n')
	if i < 0 {
		return text, nil
	}
	return bytes.TrimSuffix(text[:i], []byte("\r")), text[i+1:]
}

// equalFold compares ASCII text, ignoring case.
func equalFold(text []byte, lower string) bool {
	if len(text) != len(lower) {
		return false
	}
	for i, c := range text {
		if c != lower[i] && c|0x20 != lower[i]|0x20 {
			return false
		}
	}
	return true
}

// tokenChars marks the characters of a field name (RFC 9110, section 5.6.2).
var tokenChars = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return t
}()

// isText reports whether a value has no control characters.
func isText(value []byte) bool {
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func isToken(name []byte) bool {
	for _, c := range name {
		if !tokenChars[c] {
			return false
		}
	}
	return len(name) > 0
}
