package lbconfigs

import (
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

func TestNginxTimes(t *testing.T) {
	f := func(text string, want time.Duration) {
		t.Helper()
		got, err := nginxTime(text)
		if want < 0 {
			assert.Error(t, err, text)
			return
		}
		assert.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	f("10", 10*time.Second)
	f("1h30m", 90*time.Minute)
	f("250ms", 250*time.Millisecond)
	f("1M", 30*24*time.Hour)
	f("", -1)
	f("soon", -1)
}

func TestHAProxyTimes(t *testing.T) {
	f := func(text string, want time.Duration) {
		t.Helper()
		got, err := haproxyTime(text)
		if want < 0 {
			assert.Error(t, err, text)
			return
		}
		assert.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	f("500", 500*time.Millisecond)
	f("5s", 5*time.Second)
	f("1d", 24*time.Hour)
	f("5 s", -1)
}

func TestTraefikTimes(t *testing.T) {
	f := func(text string, want time.Duration) {
		t.Helper()
		got, err := traefikTime(text)
		if want < 0 {
			assert.Error(t, err, text)
			return
		}
		assert.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	f("10", 10*time.Second)
	f("100ms", 100*time.Millisecond)
	f("x", -1)
}

func TestSizes(t *testing.T) {
	f := func(text string, want int64) {
		t.Helper()
		got, err := size(text)
		if want < 0 {
			assert.Error(t, err, text)
			return
		}
		assert.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	f("10m", 10<<20)
	f("8K", 8<<10)
	f("0", 0)
	f("-1", -1)
	f("lots", -1)
}

// Names of cipher suites are those that OpenSSL 3.0 lists (openssl ciphers -s -v ALL), and keywords of its manual.
func TestCipherNames(t *testing.T) {
	for _, known := range []string{
		"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256", "DHE-RSA-CHACHA20-POLY1305", "AES256-SHA", "ECDHE-RSA-AES256-SHA384",
		"DHE-RSA-AES256-SHA256", "AES128-SHA256", "HIGH", "!aNULL", "kEECDH+AESGCM", "DEFAULT@SECLEVEL=1", "ALL:@STRENGTH", "PROFILE=SYSTEM", "ALL:!SSLv2", "ECDHE-PSK-AES256-CBC-SHA384", "TLS_AES_256_GCM_SHA384", "EECDH+AESGCM", "!MD5",
	} {
		assert.Empty(t, cipherProblems(pos(1), known), known)
	}
	for _, unknown := range []string{"ECDHE-RSA-AES256-GCM-SHA512", "DHE-RSA-AES256-GCM-SHA512", "ECDHE-RSA-AES256-GCM-SHA256", "AES512-SHA"} {
		problems := cipherProblems(pos(1), unknown)
		if assert.Len(t, problems, 1, unknown) {
			assert.Equal(t, "rejected", string(problems[0].Effect))
		}
		problems = cipherProblems(pos(1), "HIGH:"+unknown)
		if assert.Len(t, problems, 1, unknown) {
			assert.Equal(t, "dropped", string(problems[0].Effect))
		}
	}
}

func TestIncludedFilesStayBesideTheMainFile(t *testing.T) {
	f := func(main, file, want string) {
		t.Helper()
		assert.Equal(t, want, inContainer("/etc/nginx/nginx.conf", main, file))
	}
	f("nginx.conf", "conf.d/a.conf", "/etc/nginx/conf.d/a.conf")
	f("deploy/lb.conf", "deploy/conf.d/a.conf", "/etc/nginx/conf.d/a.conf")
	f("/home/me/lb.conf", "/home/me/conf.d/a.conf", "/etc/nginx/conf.d/a.conf")
	f("nginx.conf", "/etc/nginx/mime.types", "/etc/nginx/mime.types")
}

func TestNearestKey(t *testing.T) {
	assert.Equal(t, 0, distance("retry", "retry"))
	assert.Equal(t, 2, distance("recoverduration", "recoveryduratio"))
	below, _ := traefikDynamic["http"]["middlewares"].find("any")
	assert.Equal(t, "recoveryDuration", below["circuitBreaker"].nearest("recoverDuration"))
}

func pos(line int) model.Pos { return model.Pos{File: "f", Line: line} }

// Lists of users are not read, but go along; where one is missing, its line is told.
func TestListsOfUsersGoAlong(t *testing.T) {
	for main, text := range map[string]string{
		"deploy/nginx.conf": "events {}\nhttp { server { listen 80; auth_basic a; auth_basic_user_file NAME; location / { proxy_pass http://u:80; } } }",
		"deploy/traefik.yaml": "http:\n  routers: {r: {rule: PathPrefix(`/`), service: s, middlewares: [m]}}\n  middlewares: {m: {basicAuth: {usersFile: NAME}}}\n" +
			"  services: {s: {loadBalancer: {servers: [{url: 'http://u:80'}]}}}",
	} {
		at := path.Join("/etc", strings.TrimSuffix(path.Base(main), path.Ext(main)), "users")
		for _, name := range []string{"users", at} {
			conf := strings.ReplaceAll(text, "NAME", name)
			cfg, err := Read(fstest.MapFS{main: {Data: []byte(conf)}, "deploy/users": {Data: []byte("tom:mouse")}}, main, "")
			require.NoError(t, err)
			specs, err := Specs(cfg)
			require.NoError(t, err)
			i := slices.IndexFunc(specs, func(s plan.Spec) bool { return s.Role == plan.Balancer })
			assert.Equal(t, "deploy/users", specs[i].Files[at])
			assert.Empty(t, cfg.Problems)
			cfg, err = Read(fstest.MapFS{main: {Data: []byte(conf)}}, main, "")
			require.NoError(t, err)
			if assert.Len(t, cfg.Problems, 1) {
				assert.Contains(t, cfg.Problems[0].Text, "runs without the file")
				assert.Positive(t, cfg.Problems[0].Pos.Line)
			}
		}
	}
}
