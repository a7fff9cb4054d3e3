package lbconfigs

import (
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/plan"
)

// User lists are attached unread; a missing one is reported with its line.
func TestUserListsAreAttached(t *testing.T) {
	for main, text := range map[string]string{
		"deploy/nginx.conf": "events {}\nhttp { server { listen 80; auth_basic a; auth_basic_user_file NAME; " +
			"location / { proxy_pass http://u:80; } } }",
		"deploy/traefik.yaml": "http:\n  routers: {r: {rule: PathPrefix(`/`), service: s, middlewares: [m]}}\n" +
			"  middlewares: {m: {basicAuth: {usersFile: NAME}}}\n" +
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
				assert.Contains(t, cfg.Problems[0].Text, "runs without this file")
				assert.Positive(t, cfg.Problems[0].Pos.Line)
			}
		}
	}
}
