package lbconfigs

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
)

// Every line is counted once: as making claims, as unread, or as supporting other lines.
func TestLinesAreCounted(t *testing.T) {
	cfg := model.Config{
		Files: []model.File{
			model.NewFile("a.conf", []byte("# comment\n\none\ntwo\n  three\n}\n")),
			model.NewFile("b.lua", []byte("a program\n")),
		},
		Unread: []model.Unread{{Pos: model.Pos{File: "a.conf", Line: 4}}},
	}
	assert.Equal(t, report.Lines{All: 3, Promises: 1, Unread: 1, Form: 1}, CountLines(cfg, []plan.Claim{
		{Pos: model.Pos{File: "a.conf", Line: 3}},
	}))
}
