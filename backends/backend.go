// Package backends is the service behind the balancer: the API of a small LEGO catalogue, health and readiness
// endpoints, and a ledger of all arrivals. It imports nothing else of lbproof but sleep, so it stays as small as the
// services that it stands for.
package backends

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Service is one backend.
type Service struct {
	Tag                string   // its name
	IDHeader           string   // request header that joins an arrival to the client's hit
	ServerHeader       string   // response header with Tag
	SizeHeader         string   // response header with the body size in bytes, to detect truncation
	ResponseSpecHeader string   // request header with a ResponseSpec
	RecordHeaders      []string // request headers that the ledger records
	Prefixes           []string // also serve the API below these paths (e.g. /api)
	HealthPaths        []string // served like /health; without an ID they are health checks, not arrivals
	Key                string   // required on the control port
	Helper             bool     // responds 200 to everything and has no ledger
	Ledger             *Ledger  // nil for a Helper
	Dependencies       []Dependency
	// CertFile contains the certificate and key for TLSPorts. It is read for every connection, so it can be replaced.
	CertFile string
	TLSPorts []int
	Log      *slog.Logger

	active                     atomic.Pointer[activeBehaviour]
	metricsOnce                sync.Once
	metrics                    *metrics
	webSockets, peakWebSockets atomic.Int64 // open now, and the maximum so far
}

// Listen serves the API on every traffic port and the ledger on the control port until ctx ends.
func (s *Service) Listen(ctx context.Context, traffic []int, control int) error {
	if slices.Contains(traffic, control) {
		return fmt.Errorf("control port %d is also a traffic port", control)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var serving sync.WaitGroup
	serve := func(port int, handler http.Handler) {
		serving.Go(func() {
			if err := s.serveUntil(ctx, port, handler); err != nil {
				stop(err)
			}
		})
	}
	for _, port := range traffic {
		serve(port, s.API())
	}
	serve(control, s.Control())
	s.Log.Info("listening", "tag", s.Tag, "ports", traffic, "control", control)
	serving.Wait()
	s.Log.Info("stopped", "tag", s.Tag)
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// serveUntil serves until ctx ends, then lets requests in flight finish.
func (s *Service) serveUntil(ctx context.Context, port int, handler http.Handler) error {
	server := &http.Server{
		Addr: ":" + strconv.Itoa(port), Handler: handler,
		ReadHeaderTimeout: time.Minute, ConnContext: connContext,
	}
	listen := server.ListenAndServe
	if slices.Contains(s.TLSPorts, port) {
		server.TLSConfig = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(s.CertFile, s.CertFile)
			return &pair, err
		}, SessionTicketsDisabled: true}
		server.ErrorLog = slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn)
		listen = func() error { return server.ListenAndServeTLS("", "") }
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		limited, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		done <- server.Shutdown(limited)
	}()
	if err := listen(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("listen on port %d: %w", port, err)
	}
	return <-done
}

// API returns the handler for the balancer's clients.
func (s *Service) API() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		s.reply(w, http.StatusOK, "Hello from "+s.Tag)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		s.reply(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /ready", s.ready)
	mux.HandleFunc("GET /api/health/{$}", s.basicHealth)
	mux.HandleFunc("GET /api/health/detailed", s.detailedHealth)
	mux.HandleFunc("GET /api/health/websocket", s.webSocketHealth)
	mux.HandleFunc("POST /models", s.createModel)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.notFound(w, r) })
	return s.withMetrics(s.recordArrivals(s.withResponseSpec(s.withBehaviour(s.withPrefixes(mux)))))
}

// withPrefixes also serves the API below every prefix, health on the balancer's health-check paths, and WebSocket on
// any path.
func (s *Service) withPrefixes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isUpgrade(r):
			s.echo(w, r)
			return
		case s.Helper:
			s.reply(w, http.StatusOK, map[string]string{"helper": s.Tag})
			return
		case strings.HasPrefix(r.URL.Path, "/api/health/"):
			next.ServeHTTP(w, r)
			return
		case slices.Contains(s.HealthPaths, r.URL.Path) && r.URL.Path != "/ready":
			s.reply(w, http.StatusOK, map[string]string{"status": "ok"})
			return
		}
		if rest, ok := s.trimPrefix(r.URL.Path); ok {
			r = r.Clone(r.Context())
			r.URL.Path, r.URL.RawPath = rest, ""
		}
		next.ServeHTTP(w, r)
	})
}

// trimPrefix returns the rest of a path after its longest prefix.
func (s *Service) trimPrefix(path string) (rest string, ok bool) {
	for _, p := range s.Prefixes {
		after, has := strings.CutPrefix(path, p)
		ends := after == "" || after[0] == '/' // a prefix ends at a path segment
		if p == "" || !has || !ends {
			continue
		}
		if !ok || len(after) < len(rest) {
			rest, ok = after, true
		}
	}
	if ok && rest == "" {
		rest = "/"
	}
	return rest, ok
}

// echo returns every WebSocket message. A JSON message with an ID is recorded as an arrival and returned with the
// service's name.
func (s *Service) echo(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // any origin
	if err != nil {
		return // it has responded
	}
	defer conn.CloseNow()
	open := s.webSockets.Add(1)
	defer s.webSockets.Add(-1)
	for {
		most := s.peakWebSockets.Load()
		if open <= most || s.peakWebSockets.CompareAndSwap(most, open) {
			break
		}
	}
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		var arrival struct {
			ID     uint64 `json:"id"`
			Server string `json:"server"`
		}
		if json.Unmarshal(message, &arrival) == nil && arrival.ID > 0 {
			s.Ledger.AddMessage(arrival.ID)
			arrival.Server = s.Tag
			message, _ = json.Marshal(arrival) // cannot fail for a number and a string
		}
		if conn.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

// recordArrivals records every request in the ledger before responding, and adds the tag to every response. The
// container's own health check comes from the loopback address and is not recorded.
func (s *Service) recordArrivals(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		anonymous := r.Header.Get(s.IDHeader) == ""
		check := anonymous && slices.Contains(s.HealthPaths, r.URL.Path)
		tunnel := anonymous && isUpgrade(r) // its messages are arrivals
		look := r.Header.Get(PollHeader) != ""
		switch {
		case fromLoopback(r), tunnel, look, s.Helper:
		case check:
			s.Ledger.AddHealthCheck(r.URL.Path)
		default:
			s.Ledger.Add(r, s.IDHeader, s.RecordHeaders, r.Header.Get(s.ResponseSpecHeader) != "")
		}
		w.Header().Set(s.ServerHeader, s.Tag)
		next.ServeHTTP(w, r)
	})
}

func isUpgrade(r *http.Request) bool { return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") }

func fromLoopback(r *http.Request) bool {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// notFound responds like FastAPI: 405 for a known path with another method, else 404.
func (s *Service) notFound(w http.ResponseWriter, r *http.Request) {
	if slices.Contains([]string{"/", "/health", "/ready", "/models"}, r.URL.Path) {
		s.reply(w, http.StatusMethodNotAllowed, map[string]string{"detail": "Method Not Allowed"})
		return
	}
	s.reply(w, http.StatusNotFound, map[string]string{"detail": "Not Found"})
}

// maxBody limits request bodies held in memory, in bytes.
const maxBody = 1 << 20

type created struct {
	Host    string `json:"host"`
	Success bool   `json:"success"`
	Message string `json:"message"`
	Data    any    `json:"data"`
}

func (s *Service) createModel(w http.ResponseWriter, r *http.Request) {
	host := fmt.Sprintf("tag: %s - %s", s.Tag, localAddress(r))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		s.refuse(w, host, &Invalid{"body", fmt.Sprintf("Body could not be read: %v", err)})
		return
	}
	model, invalid := ParseModel(body)
	if invalid != nil {
		s.refuse(w, host, invalid)
		return
	}
	s.reply(w, http.StatusOK, created{host, true, "Item created successfully", model})
}

func (s *Service) refuse(w http.ResponseWriter, host string, invalid *Invalid) {
	s.Log.Warn("invalid model", "property", invalid.Property, "reason", invalid.Reason)
	s.reply(w, http.StatusBadRequest, created{host, false, "Something went wrong", map[string]string{
		"property":          invalid.Property,
		"user_message":      "Invalid data provided.",
		"developer_message": invalid.Reason,
	}})
}

// localAddress returns the address that received the request.
func localAddress(r *http.Request) string {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		host, _, _ := net.SplitHostPort(addr.String())
		return host
	}
	return "unknown"
}

func (s *Service) reply(w http.ResponseWriter, code int, body any) {
	encoded, err := json.Marshal(body)
	if err != nil {
		code, encoded = http.StatusInternalServerError, []byte(`{"detail":"Internal Server Error"}`)
	}
	encoded = append(encoded, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(s.SizeHeader, strconv.Itoa(len(encoded)))
	w.WriteHeader(code)
	_, _ = w.Write(encoded) // a client that has disconnected is no error of the service
}
