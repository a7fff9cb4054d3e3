package backends

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lbproof/lbproof/internal/sleep"
)

// Behaviour is how a service misbehaves. The zero value does not.
type Behaviour struct {
	HealthOnly  bool          `json:"health_only,omitempty"`  // it is the paths of health checks that are concerned, and no others
	Ratio       float64       `json:"ratio,omitempty"`        // share of the requests that are concerned; 0 is all
	Period      time.Duration `json:"period,omitempty"`       // it comes and goes with this period, and
	ActiveFor   time.Duration `json:"active_for,omitempty"`   // is there for the first so much of it
	Status      int           `json:"status,omitempty"`       // the answer, instead of the true one
	Delay       time.Duration `json:"delay,omitempty"`        // before the answer
	Jitter      time.Duration `json:"jitter,omitempty"`       // mean of an exponential delay on top
	Hang        bool          `json:"hang,omitempty"`         // there is no answer
	LengthError int           `json:"length_error,omitempty"` // bytes by which Content-Length is more than the body; negative: less
	EarlyClose  bool          `json:"early_close,omitempty"`  // the connection ends in the middle of the body
	BodyTime    time.Duration `json:"body_time,omitempty"`    // how long the body takes
	BadHeader   bool          `json:"bad_header,omitempty"`   // a header line that is none
	CloseReused bool          `json:"close_reused,omitempty"` // the second request of a connection finds it closed
	For         time.Duration `json:"for"`                    // after so long it behaves again
}

// activeBehaviour is a behaviour since when and how often it showed.
type activeBehaviour struct {
	Behaviour
	since time.Duration
	shown atomic.Int64
}

// PollHeader marks requests that look whether a service behaves as it should. They are treated as all others are, and are
// no arrivals.
const PollHeader = "X-Lbproof-Poll"

// applies says whether a request is one that is answered wrongly.
func (b *activeBehaviour) applies(path string, health []string) bool {
	now := Now() - b.since
	switch {
	case now > b.For, b.HealthOnly != (slices.Contains(health, path) || strings.HasPrefix(path, "/api/health/")):
		return false
	case b.Period > 0 && now%b.Period >= b.ActiveFor:
		return false
	}
	return b.Ratio == 0 || rand.Float64() < b.Ratio
}

// withBehaviour answers as the service is told to, or not at all.
func (s *Service) withBehaviour(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := s.active.Load()
		if b == nil || fromLoopback(r) || !b.applies(r.URL.Path, s.allHealthPaths()) {
			next.ServeHTTP(w, r)
			return
		}
		b.shown.Add(1)
		delay := b.Delay
		if b.Jitter > 0 {
			delay += time.Duration(rand.ExpFloat64() * float64(b.Jitter))
		}
		if !sleep.For(r.Context(), delay) {
			return
		}
		switch {
		case b.Hang:
			sleep.For(r.Context(), b.For)
			panic(http.ErrAbortHandler)
		case b.CloseReused:
			s.closeSecond(w, r, next)
		case b.LengthError != 0, b.EarlyClose, b.BodyTime > 0, b.BadHeader:
			s.writeBroken(w, r, b.Behaviour)
		case b.Status != 0:
			s.reply(w, b.Status, map[string]string{"detail": http.StatusText(b.Status)})
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// allHealthPaths are those that say how the service is.
func (s *Service) allHealthPaths() []string {
	return append([]string{"/health", "/ready"}, s.HealthPaths...)
}

// closeSecond answers the first request of a connection, and closes it when the next one comes: the client had every reason
// to think that it was good.
func (s *Service) closeSecond(w http.ResponseWriter, r *http.Request, next http.Handler) {
	served, ok := r.Context().Value(servedKey{}).(*atomic.Int64)
	if ok && served.Add(1) > 1 {
		panic(http.ErrAbortHandler)
	}
	next.ServeHTTP(w, r)
}

// servedKey is where a connection's context counts its requests.
type servedKey struct{}

// writeBroken writes an answer that is no good HTTP.
func (s *Service) writeBroken(w http.ResponseWriter, r *http.Request, b Behaviour) {
	const body = `{"detail":"this answer is broken on purpose"}` + "\n"
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + s.ServerHeader + ": " + s.Tag + "\r\n"
	if b.BadHeader {
		head += "this is no header line\r\n"
	}
	head += "Content-Length: " + strconv.Itoa(len(body)+b.LengthError) + "\r\n\r\n"
	first := len(body)
	if b.EarlyClose {
		first /= 2
	}
	if _, err := conn.Write([]byte(head)); err != nil {
		return
	}
	for i := range first {
		if b.BodyTime > 0 && !sleep.For(r.Context(), b.BodyTime/time.Duration(first)) {
			return
		}
		if _, err := conn.Write([]byte{body[i]}); err != nil {
			return
		}
		if b.BodyTime == 0 {
			_, _ = conn.Write([]byte(body[i+1 : first]))
			break
		}
	}
}

// connContext gives every connection a count of its requests, and requests their connection.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(context.WithValue(ctx, servedKey{}, &atomic.Int64{}), connKey{}, conn)
}

// setBehaviour takes orders: POST /behave sets a behaviour, and says how often the one before showed; POST /exhaust takes memory
// until there is none.
func (s *Service) setBehaviour(w http.ResponseWriter, r *http.Request) {
	next := &activeBehaviour{since: Now()}
	if err := json.NewDecoder(r.Body).Decode(&next.Behaviour); err != nil {
		s.reply(w, http.StatusBadRequest, map[string]string{"detail": fmt.Sprintf("read the behaviour: %v", err)})
		return
	}
	shown := int64(0)
	if before := s.active.Swap(next); before != nil {
		shown = before.shown.Load()
	}
	s.reply(w, http.StatusOK, map[string]int64{"shown": shown})
}

// exhaust fills memory a mebibyte at a time, fast enough for no collector.
func (s *Service) exhaust(http.ResponseWriter, *http.Request) {
	var all [][]byte
	for {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		all = append(all, block)
		if len(all) > 1<<16 {
			return // 64 GiB: nothing limits it
		}
	}
}
