package backends

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Arrival is one request that reached the service.
type Arrival struct {
	ID     uint64        `json:"id"` // 0 where the request carried none
	At     time.Duration `json:"at"` // on the host's monotonic clock
	Header string        `json:"header"`
}

// Ledger keeps arrivals until the reader says that it has them. The zero value is ready.
type Ledger struct {
	mu     sync.Mutex
	born   time.Duration // when the first request for a page came: tells a restarted service from the one before
	gone   int           // arrivals forgotten because they were read
	rows   []Arrival
	lost   int // arrivals dropped because nobody read
	header map[string]string
}

// Bounds of what an unread ledger holds: 24 bytes a row and the distinct headers, well within 64 MiB.
const (
	maxRows    = 500_000
	maxHeaders = 20_000
)

// Page is a part of the ledger, from the row asked for.
type Page struct {
	Born time.Duration `json:"born"`
	Lost int           `json:"lost"` // rows that could not be kept
	Rows []Arrival     `json:"rows"`
}

// Now is the time on the host's monotonic clock, which all containers of a machine share.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(fmt.Sprintf("read the monotonic clock: %v", err)) // no kernel that runs Go lacks it
	}
	return time.Duration(ts.Nano())
}

// Add records a request.
func (l *Ledger) Add(r *http.Request, idHeader string, observe []string) {
	id, _ := strconv.ParseUint(r.Header.Get(idHeader), 10, 64)
	l.add(Arrival{ID: id, At: Now(), Header: observed(r, observe)})
}

// AddMessage records a message of a tunnel.
func (l *Ledger) AddMessage(id uint64) { l.add(Arrival{ID: id, At: Now()}) }

func (l *Ledger) add(row Arrival) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rows) >= maxRows {
		l.lost++
		return
	}
	row.Header = l.intern(row.Header)
	l.rows = append(l.rows, row)
}

// intern keeps one copy of equal header sets: nearly all requests of a run have the same.
func (l *Ledger) intern(s string) string {
	if same, ok := l.header[s]; ok {
		return same
	}
	if l.header == nil || len(l.header) >= maxHeaders {
		l.header = map[string]string{}
	}
	l.header[s] = s
	return s
}

// observed is the named header fields of a request in url.Values encoding; absent ones are left out.
func observed(r *http.Request, names []string) string {
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
	return values.Encode()
}

// read returns the rows from number from on, and forgets those before it. A reader that knows another ledger, from before
// a restart, gets all rows.
func (l *Ledger) read(born time.Duration, from int) Page {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.born == 0 {
		l.born = Now()
	}
	if drop := from - l.gone; born == l.born && drop > 0 {
		drop = min(drop, len(l.rows))
		l.rows = append([]Arrival(nil), l.rows[drop:]...)
		l.gone += drop
	}
	return Page{Born: l.born, Lost: l.lost, Rows: append([]Arrival(nil), l.rows...)}
}

// Control hands the ledger out: GET /arrivals?born=B&from=N gives row N and later of the ledger that began at B, and means
// that the rows before N are safe.
func (s *Service) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /arrivals", func(w http.ResponseWriter, r *http.Request) {
		from, err := strconv.Atoi(r.FormValue("from"))
		born, err2 := strconv.ParseInt(r.FormValue("born"), 10, 64)
		if err := errors.Join(err, err2); err != nil {
			s.reply(w, http.StatusBadRequest, map[string]string{"detail": err.Error()})
			return
		}
		s.reply(w, http.StatusOK, s.ledger.read(time.Duration(born), from))
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		s.reply(w, http.StatusOK, map[string]string{"status": "ready", "tag": s.Tag})
	})
	return mux
}

// Reader follows the ledger of the service whose control port is at URL.
type Reader struct {
	URL    string
	Client *http.Client
	Lost   string // why rows are missing; empty while none are

	born time.Duration
	next int
}

// Next returns the arrivals since the last call. A call that fails loses nothing; a restarted service has lost what was
// not read from it, and Lost says so.
func (r *Reader) Next(ctx context.Context) ([]Arrival, error) {
	url := fmt.Sprintf("%s/arrivals?born=%d&from=%d", r.URL, r.born, r.next)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	defer resp.Body.Close()
	var page Page
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, fmt.Errorf("read the ledger at %s: %w", r.URL, err)
	}
	if r.born != 0 && page.Born != r.born {
		r.Lost, r.next = "the service was restarted", 0
	}
	if page.Lost > 0 {
		r.Lost = fmt.Sprintf("the ledger was full: %d arrivals were not kept", page.Lost)
	}
	r.born = page.Born
	r.next += len(page.Rows)
	return page.Rows, nil
}
