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

// response is an HTTP/1.1 answer being read. It is fed what arrives, in pieces of any size, and keeps nothing of it but the
// numbers of a hit, so that it takes the same memory whatever is sent; it is used again for the next answer.
// Heads of the kind that servers send are read in place; any other is left to net/http, whose judgement is this reader's too.
type response struct {
	head
	size int64
	sum  uint32

	toHEAD        bool // it answers HEAD
	started       bool // something of it has come
	stage         stage
	left          int64  // bytes to come of the body or chunk
	pending       []byte // lines whose end has not come
	searched      int    // bytes of held that have been searched for it
	chunkOverhead int64  // bytes of chunk lines beyond what sane chunks need
	serverNames   map[string]string
}

type stage uint8

const (
	inHead stage = iota
	inBody
	inUntilClose // of the connection
	inChunkLine
	inChunk
	inChunkEnd
	inTrailer
	isDone
)

// Bounds, in bytes, of what is held back until its end comes: a head or trailer, and the line before a chunk.
const (
	maxHead = 64 << 10
	maxLine = 4 << 10
)

var (
	errEndless = errors.New("header lines without an end")
	errChunk   = errors.New("malformed chunk")
	errNotHTTP = errors.New("no HTTP answer")
)

// reset makes it ready for the answer to a request.
func (a *response) reset(toHEAD bool) {
	held := a.pending[:0]
	if cap(held) > maxLine {
		held = nil // what an odd answer needed is not kept
	}
	*a = response{toHEAD: toHEAD, pending: held, serverNames: a.serverNames, head: head{cookies: a.cookies[:0]}}
}

// feed reads on and returns how many of the bytes are the answer's; those behind its end are not.
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

// done says whether the answer is whole.
func (a *response) done() bool { return a.stage == isDone }

// handleEOF is told that the other side ended the connection. The error is empty where the answer ends with it.
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

// isShort says whether a whole answer has less than its backend says that it sent.
func (a *response) isShort() bool {
	if bodiless := a.toHEAD || a.code == http.StatusNotModified; bodiless || a.compressed {
		return false
	}
	return a.size < a.declaredSize
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readBody counts what comes of the body.
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

// accumulate joins p to what is held. Where the end of what is wanted is in it, it gives the whole and how many bytes of p
// belong to it; else it keeps p for the next time, unless that is more than it may.
func (a *response) accumulate(p []byte, limit int, end func(text []byte, from int) int) (whole []byte, n int, err error) {
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

// readLines reads the head, or the trailer, up to its empty line.
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

// endOfHead is the number of bytes up to and with the first empty line; -1 where there is none yet.
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

// endOfLine is the number of bytes up to and with the end of the line; -1 where it has not come.
func endOfLine(text []byte, from int) int {
	i := bytes.IndexByte(text[from:], '\n')
	if i < 0 {
		return -1
	}
	return from + i + 1
}

// readChunkLine reads the line before a chunk, or the line end after it. Like net/http it wants CRLF, takes any extension, and
// not too many of them.
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

// checkTrailer reads the fields after the last chunk as net/http does, and forgets them.
func checkTrailer(text []byte) error {
	if string(text) == "\r\n" {
		return nil
	}
	_, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(text))).ReadMIMEHeader()
	return err
}

// endOfTrailer is the number of bytes up to and with the empty line, for which only CRLF counts; -1 where it has not come.
func endOfTrailer(text []byte, from int) int {
	if bytes.HasPrefix(text, []byte("\r\n")) {
		return 2
	}
	if i := bytes.Index(text[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 4
	}
	return -1
}

// readHead takes a head apart and decides what follows it.
func (a *response) readHead(text []byte) error {
	a.head = head{length: -1, cookies: a.cookies[:0]}
	if !a.parse(text, a.serverNames) {
		a.head = head{length: -1, cookies: a.cookies[:0]}
		if err := a.parseWithNetHTTP(text, a.toHEAD); err != nil {
			return err
		}
	}
	switch {
	case a.code/100 == 1 && a.code != http.StatusSwitchingProtocols: // the answer proper is to come
	case a.code == http.StatusSwitchingProtocols: // what comes after it is no HTTP
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

// head is what matters of an answer's status line and header fields.
type head struct {
	code         int
	length       int64 // of the body, -1 where it is not said
	chunked      bool
	compressed   bool  // the body is compressed, so that its size is not the backend's
	closeAfter   bool  // the connection ends with the answer
	declaredSize int64 // what the backend says that the body has, bytes
	server       string
	cookies      []string // the values of Set-Cookie
}

// parse reads a head whose lines are of the kind that servers send; false where net/http should look at it. names saves
// making the same string for every answer.
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

// parseField takes one header field; false where net/http should look at it.
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

// parseWithNetHTTP lets net/http read a head.
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

// maxInterned bounds how many names are remembered where every answer brings another.
const maxInterned = 1000

// intern gives equal names one string.
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

// cutLine takes the first line off a text, without its end.
func cutLine(text []byte) (line, rest []byte) {
	i := bytes.IndexByte(text, '\n')
	if i < 0 {
		return text, nil
	}
	return bytes.TrimSuffix(text[:i], []byte("\r")), text[i+1:]
}

// equalFold compares ASCII text without regard to case.
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

// tokenChars has true for what may stand in a field's name (RFC 9110, section 5.6.2).
var tokenChars = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return t
}()

// isText says whether a value has no control characters.
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
