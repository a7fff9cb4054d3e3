package reading

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestIncludedFilesStayBesideTheMainFile(t *testing.T) {
	f := func(main, file, want string) {
		t.Helper()
		assert.Equal(t, want, PathInContainer("/etc/nginx/nginx.conf", main, file))
	}
	f("nginx.conf", "conf.d/a.conf", "/etc/nginx/conf.d/a.conf")
	f("deploy/lb.conf", "deploy/conf.d/a.conf", "/etc/nginx/conf.d/a.conf")
	f("/home/me/lb.conf", "/home/me/conf.d/a.conf", "/etc/nginx/conf.d/a.conf")
	f("nginx.conf", "/etc/nginx/mime.types", "/etc/nginx/mime.types")
}
