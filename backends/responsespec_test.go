package backends

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestResponseSpecs(t *testing.T) {
	s := service()
	s.ResponseSpecHeader = "X-Respond"
	api := s.API()
	f := func(method, path, spec string, code int, size int) {
		t.Helper()
		w := call(api, method, path, "body", "X-Respond", spec)
		assert.Equal(t, code, w.Code, spec)
		if size > 0 {
			assert.Equal(t, size, w.Body.Len(), spec)
		}
	}
	f("GET", "/nothing", "status=200", 200, 0)
	f("DELETE", "/models", "status=418", 418, 0)
	f("GET", "/", "size=2000&type=text/css", 200, 2000)
	f("GET", "/nothing", "status=200&at=/other", 404, 0)
	f("GET", "/other", "status=201&at=/other", 201, 0)
	f("GET", "/other", "status=201&by=back-02,back-01", 201, 0)
	f("GET", "/other", "status=201&by=back-02", 404, 0)
	f("GET", "/", "status=99", 400, 0)
	f("GET", "/", "delay=soon", 400, 0)
	began := time.Now()
	f("GET", "/", "delay=50ms", 200, 0)
	assert.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)
	assert.Equal(t, "text/css", call(api, "GET", "/", "", "X-Respond", "size=1&type=text/css").Header().Get("Content-Type"))
}

func TestResponseSpecMayCloseTheConnection(t *testing.T) {
	s := service()
	s.ResponseSpecHeader = "X-Respond"
	server := httptest.NewServer(s.API())
	defer server.Close()
	r, err := http.NewRequest(http.MethodPost, server.URL+"/", strings.NewReader("x"))
	require.NoError(t, err)
	r.Header.Set("X-Respond", "cut")
	_, err = http.DefaultClient.Do(r)
	assert.ErrorContains(t, err, "EOF")
}

// A helper ignores response specs that do not address it.
func TestResponseSpecsOfHelpers(t *testing.T) {
	s := service()
	s.ResponseSpecHeader, s.Helper = "X-Respond", true
	assert.Equal(t, 200, call(s.API(), "GET", "/", "", "X-Respond", "status=500").Code)
	assert.Equal(t, 401, call(s.API(), "GET", "/", "", "X-Respond", "status=200&helper=401").Code)
}

// The ledger records path and connection of requests with a response spec only.
func TestResponseSpecsAreRecorded(t *testing.T) {
	s := service()
	s.ResponseSpecHeader = "X-Respond"
	server := httptest.NewServer(s.API())
	defer server.Close()
	control := httptest.NewServer(s.Control())
	defer control.Close()
	for _, spec := range []string{"", "status=200"} {
		r := httptest.NewRequest(http.MethodPost, "/models?a=1", nil)
		r.RemoteAddr = "10.0.0.9:1234"
		r.Header.Set("X-Respond", spec)
		r.Header.Set("X-Id", "7")
		s.API().ServeHTTP(httptest.NewRecorder(), r)
	}
	reader := Reader{URL: control.URL, Client: control.Client()}
	rows, err := reader.Next(t.Context())
	require.NoError(t, err)
	require.Len(t, rows, 2)
	assert.NotContains(t, rows[0].Header, "conn")
	assert.Equal(t, "%3Aconn=10.0.0.9%3A1234&%3Apath=%2Fmodels%3Fa%3D1&Host=example.com", rows[1].Header)
}
