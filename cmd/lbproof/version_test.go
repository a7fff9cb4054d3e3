package main

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDescribeBuild(t *testing.T) {
	const hash = "521550d6c2c1d0f5a3f8b2f5a0c6a7d1e9b8c7d6"
	vcs := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{
			{Key: "vcs.revision", Value: hash},
			{Key: "vcs.time", Value: "2026-11-29T10:11:12Z"},
			{Key: "vcs.modified", Value: modified},
		}
	}
	cases := []struct {
		name, version string
		settings      []debug.BuildSetting
		commit, date  string
		want          string
	}{
		{"release", "v0.3.1", vcs("false"), "", "", "v0.3.1 (commit 521550d6, 2026-11-29, go1.26.0)"},
		{"checkout", "v0.0.0-20261129101112-521550d6c2c1", vcs("false"), "", "", "v0.0.0 (commit 521550d6, 2026-11-29, go1.26.0)"},
		{
			"checkout after a release with local changes", "v0.3.2-0.20261129101112-521550d6c2c1+dirty", vcs("true"), "", "",
			"v0.3.1 (commit 521550d6 with local changes, 2026-11-29, go1.26.0)",
		},
		{"go install", "v0.3.1", nil, "", "", "v0.3.1 (go1.26.0)"},
		{"source archive", "(devel)", nil, hash, "2026-11-29", "v0.0.0 (commit 521550d6, 2026-11-29, go1.26.0)"},
		{"changed checkout without VCS data", "(devel)", nil, hash + "-dirty", "", "v0.0.0 (commit 521550d6 with local changes, go1.26.0)"},
		{"no build data", "", nil, "", "", "v0.0.0 (go1.26.0)"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			info := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: c.version}, Settings: c.settings}
			assert.Equal(t, c.want, describeBuild(info, c.commit, c.date))
		})
	}
}
