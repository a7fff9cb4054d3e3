package haproxy

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMisspelledWords(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		config := "global\n  maxconn 100\nfrontend f\n  mode http\n  bind :80\n  acl is_api path_beg /api\n" +
			"  use_backend api if is_api\n" + line + "\n  default_backend api\n" +
			"backend api\n  mode http\n  server a 10.0.0.1:80\n"
		cfg, err := readConfig(fstest.MapFS{"haproxy.cfg": {Data: []byte(config)}}, "haproxy.cfg")
		require.NoError(t, err)
		if assert.NotEmpty(t, cfg.Problems, line) { // lbconfigs.Read removes duplicates
			assert.Equal(t, want, cfg.Problems[0].Text)
			assert.Equal(t, 8, cfg.Problems[0].Pos.Line)
		}
	}
	f("  timout client 5s", "timout: unknown keyword in HAProxy 2.6; did you mean timeout?")
	f("  option forwadfor", "option forwadfor: unknown keyword in HAProxy 2.6; did you mean option forwardfor?")
	f("  no option httpclos", "option httpclos: unknown keyword in HAProxy 2.6; did you mean option httpclose?")
	f("  reqadd X-Old:\\ 1", "reqadd: unknown keyword in HAProxy 2.6")
	f("  frobnicate on", "frobnicate: unknown keyword in HAProxy 2.6")
	f("  http-request deny if is_ap", "ACL is_ap is not defined; did you mean is_api?")
	f("  http-request deny if is_api OR METH_GET", "ACL OR is not defined; did you mean or?")
	f("  use_backend apy if is_api", "backend apy is not defined; did you mean api?")
}
