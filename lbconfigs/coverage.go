package lbconfigs

import (
	"path"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
)

// CountLines counts the lines of a configuration by what its claims make of them.
func CountLines(cfg model.Config, claims []plan.Claim) report.Lines {
	at := func(p model.Pos) string { return p.String() }
	promised, unread := map[string]bool{}, map[string]bool{}
	for _, c := range claims {
		promised[at(c.Pos)] = true
	}
	for _, u := range cfg.Unread {
		unread[at(u.Pos)] = true
	}
	var n report.Lines
	for _, f := range cfg.Files {
		if path.Ext(f.Name) == ".lua" {
			continue // a program: the line that refers to it is listed
		}
		number := 0
		for line := range strings.Lines(string(f.Content)) {
			number++
			if isBlankLine(strings.TrimSpace(line)) {
				continue
			}
			n.All++
			key := at(model.Pos{File: f.Name, Line: number})
			switch {
			case promised[key]:
				n.Promises++
			case unread[key]:
				n.Unread++
			default:
				n.Form++
			}
		}
	}
	return n
}

// isBlankLine reports whether a line is empty, a comment or the end of a block.
func isBlankLine(line string) bool {
	isComment := strings.HasPrefix(line, "#") || strings.HasPrefix(line, "//")
	return isComment || line == "" || line == "}"
}
