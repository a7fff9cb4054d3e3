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

// answer is an HTTP/1.1 answer being read. It is fed what arrives, in pieces of any size, and keeps nothing of it but the
// numbers of a hit, so that it takes the same memory whatever is sent; it is used again for the next answer.
// Heads of the kind that servers send are read in place; any other is left to net/http, whose judgement is this reader's too.
type answer struct {
	head
	size int64
	sum  uint32

	toHEAD bool // it answers HEAD
	begun  bool // something of it has come
	stage  stage
	left   int64  // bytes to come of the body or chunk
	held   []byte // lines whose end has not come
	seen   int    // bytes of held that have been searched for it
	excess int64  // bytes of chunk lines beyond what sane chunks need
	names  map[string]string
}

type stage uint8

const (
	inHead stage = iota
	inBody
	inRest // of the connection
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
	errNoHTTP  = errors.New("no HTTP answer")
)

// reset makes it ready for the answer to a request.
func (a *answer) reset(toHEAD bool) {
	held := a.held[:0]
	if cap(held) > maxLine {
		held = nil // what an odd answer needed is not kept
	}
	*a = answer{toHEAD: toHEAD, held: held, names: a.names, head: head{cookies: a.cookies[:0]}}
}

// feed reads on and returns how many of the bytes are the answer's; those behind its end are not.
func (a *answer) feed(p []byte) (n int, err error) {
	a.begun = a.begun || len(p) > 0
	for a.stage != isDone && n < len(p) && err == nil {
		var k int
		switch a.stage {
		case inHead, inTrailer:
			k, err = a.lines(p[n:])
		case inChunkLine, inChunkEnd:
			k, err = a.chunkLine(p[n:])
		default:
			k = a.body(p[n:])
		}
		n += k
	}
	return n, err
}

// done says whether the answer is whole.
func (a *answer) done() bool { return a.stage == isDone }

// end is told that the other side ended the connection. The error is empty where the answer ends with it.
func (a *answer) end() history.Err {
	switch {
	case a.stage == inRest:
		a.stage = isDone
		return ""
	case a.begun:
		return history.Truncated
	}
	return history.Closed
}

// short says whether a whole answer has less than its backend says that it sent.
func (a *answer) short() bool {
	if bodiless := a.toHEAD || a.code == http.StatusNotModified; bodiless || a.packed {
		return false
	}
	return a.size < a.promised
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// body counts what comes of the body.
func (a *answer) body(p []byte) int {
	if a.stage != inRest {
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

// hold joins p to what is held. Where the end of what is wanted is in it, it gives the whole and how many bytes of p
// belong to it; else it keeps p for the next time, unless that is more than it may.
func (a *answer) hold(p []byte, limit int, end func(text []byte, from int) int) (whole []byte, n int, err error) {
	before := len(a.held)
	whole = p
	if before > 0 {
		a.held = append(a.held, p...)
		whole = a.held
	}
	switch i := end(whole, max(0, a.seen-3)); {
	case i > limit, i < 0 && len(whole) > limit:
		return nil, 0, errEndless
	case i >= 0:
		a.held, a.seen = a.held[:0], 0
		return whole[:i], i - before, nil
	case before == 0:
		a.held = append(a.held, p...)
	}
	a.seen = len(a.held)
	return nil, len(p), nil
}

// lines reads the head, or the trailer, up to its empty line.
func (a *answer) lines(p []byte) (n int, err error) {
	const begins = "HTTP/"
	if a.stage == inHead && len(a.held) < len(begins) {
		for i := len(a.held); i < len(begins) && i-len(a.held) < len(p); i++ {
			if p[i-len(a.held)] != begins[i] {
				return 0, errNoHTTP
			}
		}
	}
	end := emptyLine
	if a.stage == inTrailer {
		end = trailerEnd
	}
	whole, n, err := a.hold(p, maxHead, end)
	switch {
	case whole == nil:
		return n, err
	case a.stage == inTrailer:
		a.stage = isDone
		return n, trailer(whole)
	}
	return n, a.readHead(whole)
}

// emptyLine is the number of bytes up to and with the first empty line; -1 where there is none yet.
func emptyLine(text []byte, from int) int {
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

// oneLine is the number of bytes up to and with the end of the line; -1 where it has not come.
func oneLine(text []byte, from int) int {
	i := bytes.IndexByte(text[from:], '\n')
	if i < 0 {
		return -1
	}
	return from + i + 1
}

// chunkLine reads the line before a chunk, or the line end after it. Like net/http it wants CRLF, takes any extension, and
// not too many of them.
func (a *answer) chunkLine(p []byte) (n int, err error) {
	const end = "\r\n"
	if at := len(a.held); a.stage == inChunkEnd && at < len(end) && p[0] != end[at] {
		return 0, errChunk
	}
	text, n, err := a.hold(p, maxLine, oneLine)
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
	a.excess = max(0, a.excess+int64(len(text))-16-2*int64(min(size, maxHead)))
	switch {
	case a.excess > 16<<10:
		return n, errChunk
	case size == 0:
		a.stage = inTrailer
	default:
		a.stage, a.left = inChunk, int64(size)
	}
	return n, nil
}

// trailer reads the fields after the last chunk as net/http does, and forgets them.
func trailer(text []byte) error {
	if string(text) == "\r\n" {
		return nil
	}
	_, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(text))).ReadMIMEHeader()
	return err
}

// trailerEnd is the number of bytes up to and with the empty line, for which only CRLF counts; -1 where it has not come.
func trailerEnd(text []byte, from int) int {
	if bytes.HasPrefix(text, []byte("\r\n")) {
		return 2
	}
	if i := bytes.Index(text[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 4
	}
	return -1
}

// readHead takes a head apart and decides what follows it.
func (a *answer) readHead(text []byte) error {
	a.head = head{length: -1, cookies: a.cookies[:0]}
	if !a.plain(text, a.names) {
		a.head = head{length: -1, cookies: a.cookies[:0]}
		if err := a.odd(text, a.toHEAD); err != nil {
			return err
		}
	}
	switch {
	case a.code/100 == 1 && a.code != http.StatusSwitchingProtocols: // the answer proper is to come
	case a.code == http.StatusSwitchingProtocols: // what comes after it is no HTTP
		a.stage, a.close = isDone, true
	case a.toHEAD, a.code == http.StatusNoContent, a.code == http.StatusNotModified:
		a.stage = isDone
	case a.chunked:
		a.stage = inChunkLine
	case a.length == 0:
		a.stage = isDone
	case a.length > 0:
		a.stage, a.left = inBody, a.length
	default:
		a.stage, a.close = inRest, true
	}
	return nil
}

// head is what matters of an answer's status line and header fields.
type head struct {
	code     int
	length   int64 // of the body, -1 where it is not said
	chunked  bool
	packed   bool  // the body is compressed, so that its size is not the backend's
	close    bool  // the connection ends with the answer
	promised int64 // what the backend says that the body has, bytes
	server   string
	cookies  []string // the values of Set-Cookie
}

// plain reads a head whose lines are of the kind that servers send; false where net/http should look at it. names saves
// making the same string for every answer.
func (h *head) plain(text []byte, names map[string]string) bool {
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
		if name, value := one[:colon], bytes.Trim(one[colon+1:], " \t"); !h.field(name, value, names) {
			return false
		}
	}
	return !h.chunked || h.length < 0
}

// field takes one header field; false where net/http should look at it.
func (h *head) field(name, value []byte, names map[string]string) bool {
	switch len(name) {
	case len("Connection"):
		if is(name, "connection") {
			h.close = is(value, "close")
			return h.close || is(value, "keep-alive")
		}
		if is(name, "set-cookie") {
			h.cookies = append(h.cookies, string(value))
		}
	case len("Content-Length"):
		if is(name, "content-length") {
			n, err := strconv.ParseUint(string(value), 10, 63)
			if err != nil || h.length >= 0 {
				return false
			}
			h.length = int64(n)
		} else if is(name, history.SizeHeader) {
			h.promised, _ = strconv.ParseInt(string(value), 10, 64)
		}
	case len(history.ServerHeader):
		if is(name, history.ServerHeader) {
			h.server = intern(names, value)
		} else if is(name, "content-encoding") {
			h.packed = true
		}
	case len("Transfer-Encoding"):
		if is(name, "transfer-encoding") {
			h.chunked = is(value, "chunked")
			return h.chunked
		}
	}
	return true
}

// odd lets net/http read a head.
func (h *head) odd(text []byte, toHEAD bool) error {
	method := http.MethodGet
	if toHEAD {
		method = http.MethodHead
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), &http.Request{Method: method})
	if err != nil {
		return err
	}
	h.code, h.length, h.close = resp.StatusCode, resp.ContentLength, resp.Close
	h.chunked = len(resp.TransferEncoding) > 0
	h.packed = resp.Header.Get("Content-Encoding") != ""
	h.promised, _ = strconv.ParseInt(resp.Header.Get(history.SizeHeader), 10, 64)
	h.server = resp.Header.Get(history.ServerHeader)
	h.cookies = append(h.cookies, resp.Header.Values("Set-Cookie")...)
	return nil
}

// maxNames bounds how many names are remembered where every answer brings another.
const maxNames = 1000

// intern gives equal names one string.
func intern(names map[string]string, name []byte) string {
	if same, ok := names[string(name)]; ok {
		return same
	}
	s := string(name)
	if len(names) < maxNames && names != nil {
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

// is compares ASCII text without regard to case.
func is(text []byte, lower string) bool {
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

// token has true for what may stand in a field's name (RFC 9110, section 5.6.2).
var token = func() (t [256]bool) {
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
		if !token[c] {
			return false
		}
	}
	return len(name) > 0
}
