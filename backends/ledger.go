package backends

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Arrival is a request that reached the service.
type Arrival struct {
	ID     uint64        // 0 if the request had none
	At     time.Duration // on the host's monotonic clock
	Header string        // recorded fields
}

// Ledger is a file with one arrival per line. A line is written before the response is sent, so the ledger survives a
// crash: a restarted service appends to the file.
type Ledger struct {
	mu   sync.Mutex
	file *os.File
	line []byte
	lost int // arrivals that could not be written
}

// OpenLedger opens or creates a ledger; an empty path means a temporary file that is removed with the process.
func OpenLedger(path string) (*Ledger, error) {
	if path == "" {
		file, err := os.CreateTemp("", "lbproof-ledger-")
		if err != nil {
			return nil, fmt.Errorf("open ledger: %w", err)
		}
		return &Ledger{file: file}, os.Remove(file.Name())
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return &Ledger{file: file}, nil
}

// Now returns the time on the host's monotonic clock, which all containers of a machine share.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(fmt.Sprintf("read the monotonic clock: %v", err)) // every kernel that runs Go has it
	}
	return time.Duration(ts.Nano())
}

// Add records a request with the named header fields and, if note is set, its path and the peer's address.
func (l *Ledger) Add(r *http.Request, idHeader string, observe []string, note bool) {
	id, _ := strconv.ParseUint(r.Header.Get(idHeader), 10, 64)
	values := selectHeaders(r, observe)
	if note {
		addConnInfo(values, r)
	}
	l.add(Arrival{ID: id, At: Now(), Header: values.Encode()})
}

// AddHealthCheck records a health check.
func (l *Ledger) AddHealthCheck(path string) {
	l.add(Arrival{At: Now(), Header: url.Values{":check": {path}}.Encode()})
}

// AddMessage records a WebSocket message.
func (l *Ledger) AddMessage(id uint64) { l.add(Arrival{ID: id, At: Now()}) }

func (l *Ledger) add(row Arrival) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.line = strconv.AppendUint(l.line[:0], row.ID, 10)
	l.line = strconv.AppendInt(append(l.line, ' '), int64(row.At), 10)
	l.line = append(append(append(l.line, ' '), row.Header...), '\n') // encoded, so without blanks and newlines
	if _, err := l.file.Write(l.line); err != nil {
		l.lost++
	}
}

// selectHeaders returns the named header fields of a request.
func selectHeaders(r *http.Request, names []string) url.Values {
	values := url.Values{}
	for _, name := range names {
		if http.CanonicalHeaderKey(name) == "Host" {
			values.Set("Host", r.Host)
			continue
		}
		if v := r.Header.Values(name); len(v) > 0 {
			values[http.CanonicalHeaderKey(name)] = v
		}
	}
	return values
}

// maxPage limits a response of the control port, in bytes.
const maxPage = 4 << 20

// read returns complete lines from an offset on.
func (l *Ledger) read(from int64) (page []byte, lost int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	info, err := l.file.Stat()
	if err != nil {
		return nil, l.lost, err
	}
	page = make([]byte, max(0, min(maxPage, info.Size()-from)))
	n, err := l.file.ReadAt(page, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, l.lost, err
	}
	return page[:bytes.LastIndexByte(page[:n], '\n')+1], l.lost, nil
}

// lostHeader carries the number of arrivals that could not be written.
const lostHeader = "X-Lost"

// KeyVariable is the environment variable with the run's key.
const KeyVariable = "LBPROOF_KEY"

// keyHeader carries the key in requests to the control port.
const keyHeader = "X-Lbproof-Key"

// Authorize adds the key of a control port to a request.
func Authorize(r *http.Request, key string) { r.Header.Set(keyHeader, key) }

// Control returns the handler of the control port: GET /arrivals?from=N returns the ledger from byte N on. Requests
// without the key get 403.
func (s *Service) Control() http.Handler {
	doors := s.controlRoutes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get(keyHeader)), []byte(s.Key)) != 1 {
			s.reply(w, http.StatusForbidden, map[string]string{"detail": "missing or wrong key"})
			return
		}
		doors.ServeHTTP(w, r)
	})
}

// controlRoutes returns the routes that require the key.
func (s *Service) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /arrivals", func(w http.ResponseWriter, r *http.Request) {
		from, err := strconv.ParseInt(r.FormValue("from"), 10, 64)
		if err != nil {
			s.reply(w, http.StatusBadRequest, map[string]string{"detail": err.Error()})
			return
		}
		page, lost, err := s.Ledger.read(from)
		if err != nil {
			s.reply(w, http.StatusInternalServerError, map[string]string{"detail": err.Error()})
			return
		}
		w.Header().Set(lostHeader, strconv.Itoa(lost))
		_, _ = w.Write(page) // a client that has disconnected reads again
	})
	mux.HandleFunc("POST /behave", s.setBehaviour)
	mux.HandleFunc("POST /exhaust", s.exhaust)
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		s.reply(w, http.StatusOK, map[string]string{"status": "ready", "tag": s.Tag})
	})
	return mux
}

// Reader follows the ledger of the service whose control port is at URL.
type Reader struct {
	URL    string
	Key    string
	Client *http.Client
	Lost   string // why arrivals are missing; empty if none are

	next       int64
	lastHeader string // of the previous arrival; most are the same
}

// Next returns the next arrivals. After an error, the next call returns the same ones.
func (r *Reader) Next(ctx context.Context) ([]Arrival, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/arrivals?from=%d", r.URL, r.next), nil)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	Authorize(req, r.Key)
	resp, err := r.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, page)
	}
	if err != nil {
		return nil, fmt.Errorf("read ledger at %s: %w", r.URL, err)
	}
	if lost := resp.Header.Get(lostHeader); lost != "0" {
		r.Lost = lost + " arrivals could not be written"
	}
	r.next += int64(len(page))
	return r.rows(page), nil
}

func (r *Reader) rows(page []byte) []Arrival {
	var rows []Arrival
	for line := range bytes.Lines(page) {
		id, rest, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
		at, header, ok := bytes.Cut(rest, []byte(" "))
		seq, err := strconv.ParseUint(string(id), 10, 64)
		when, err2 := strconv.ParseInt(string(at), 10, 64)
		if err != nil || err2 != nil || !ok {
			r.Lost = "an arrival is incomplete: the service was killed while writing it"
			continue
		}
		if string(header) != r.lastHeader {
			r.lastHeader = string(header)
		}
		rows = append(rows, Arrival{ID: seq, At: time.Duration(when), Header: r.lastHeader})
	}
	return rows
}
