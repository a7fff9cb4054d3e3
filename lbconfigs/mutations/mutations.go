package mutations

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// Mutation is a change of one line of a configuration, so that it claims something else.
type Mutation struct {
	Pos    model.Pos
	Old    string   // the line, without surrounding blanks
	New    string   // empty: the line is removed
	Claims []string // IDs of the claims of the line

	parameter string // the changed one, if the line has several
}

// Apply returns the files with the mutation.
func (m Mutation) Apply(files []model.File) []model.File {
	out := slices.Clone(files)
	for i, f := range out {
		if f.Name != m.Pos.File {
			continue
		}
		lines := strings.Split(string(f.Content), "\n")
		lines[m.Pos.Line-1] = strings.Replace(lines[m.Pos.Line-1], m.Old, m.New, 1)
		out[i] = model.NewFile(f.Name, []byte(strings.Join(lines, "\n")))
	}
	return out
}

// String describes the change.
func (m Mutation) String() string {
	if m.New == "" {
		return fmt.Sprintf("%s: without %q", m.Pos, m.Old)
	}
	return fmt.Sprintf("%s: %q instead of %q", m.Pos, m.New, m.Old)
}

// numberEdits are tried on lines that no edit of their balancer matches.
var numberEdits = []reading.Edit{
	{Find: regexp.MustCompile(`\b(\d+(?:ms|s|m|h|d))\b`), Replace: reading.ShortenTime},
	{Find: regexp.MustCompile(`\b(\d+[kKmMgG])\b`), Replace: reading.Half},
	{Find: regexp.MustCompile(`(?:^| |: )(\d+);?$`), Replace: reading.Half},
}

// Of returns the mutations of all lines that make one of the claims: a changed number, a removed word, or a removed
// line. Lines of servers also make the claims of their pool.
func Of(cfg model.Config, claims []plan.Claim) []Mutation {
	b, err := lbconfigs.Find(cfg.Balancer)
	if err != nil {
		return nil
	}
	byLine := map[model.Pos][]plan.Claim{}
	for _, claim := range claims {
		for _, pos := range linesOf(cfg, b.Edits, claim) {
			byLine[pos] = append(byLine[pos], claim)
		}
	}
	order := slices.SortedFunc(maps.Keys(byLine), func(a, b model.Pos) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line)
	})
	var all []Mutation
	seen := map[string]bool{} // servers of a pool share parameters: one mutation of each suffices
	for _, pos := range order {
		for _, m := range lineMutations(cfg, b.Edits, pos, byLine[pos]) {
			key := fmt.Sprint(m.parameter, m.Claims)
			if m.parameter == "" || !seen[key] {
				all = append(all, m)
			}
			seen[key] = true
		}
	}
	return all
}

// serverChecks are the checks whose claims are also made by the lines of a pool's servers.
var serverChecks = []plan.Check{
	plan.CheckWeights, plan.CheckAlgorithm, plan.CheckSticky, plan.CheckBackup, plan.CheckPassive, plan.CheckActive,
	plan.CheckConns, plan.CheckDrained,
}

// linesOf returns the lines that make a claim.
func linesOf(cfg model.Config, edits reading.Edits, claim plan.Claim) (lines []model.Pos) {
	if !claim.Implicit && claim.Pos.Line > 0 {
		lines = append(lines, claim.Pos)
	}
	if pool, ok := cfg.Pool(claim.Subject); ok && slices.Contains(serverChecks, claim.Check) {
		for _, s := range pool.Servers {
			if s.Pos != claim.Pos {
				lines = append(lines, s.Pos)
			}
		}
	}
	if edits.Nested {
		lines = append(lines, indentedBlock(cfg.Files, claim.Pos)...)
	}
	return lines
}

// indentedBlock returns the lines below a line that are indented deeper.
func indentedBlock(files []model.File, pos model.Pos) []model.Pos {
	var out []model.Pos
	for _, f := range files {
		lines := strings.Split(string(f.Content), "\n")
		if f.Name != pos.File || pos.Line == 0 || pos.Line > len(lines) {
			continue
		}
		depth := func(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }
		for n := pos.Line + 1; n <= len(lines) && (lines[n-1] == "" || depth(lines[n-1]) > depth(lines[pos.Line-1])); n++ {
			out = append(out, model.Pos{File: pos.File, Line: n})
		}
	}
	return out
}

// lineMutations returns the mutations of one line.
func lineMutations(cfg model.Config, edits reading.Edits, pos model.Pos, claims []plan.Claim) []Mutation {
	line, ok := lineAt(cfg.Files, pos, edits.Inner)
	if !ok {
		return nil
	}
	var all []Mutation
	for _, e := range edits.Parameters {
		var about []string
		for _, c := range claims {
			if e.Checks == nil || slices.Contains(e.Checks, c.Check) {
				about = append(about, c.ID)
			}
		}
		if changed, fits := e.Apply(line); fits && len(about) > 0 {
			all = append(all, Mutation{Pos: pos, Old: line, New: changed, Claims: about, parameter: e.Find.String()})
		}
	}
	stands := edits.Nested || slices.ContainsFunc(claims, func(c plan.Claim) bool { return c.Pos == pos })
	if len(all) > 0 || !stands {
		return all
	}
	m := Mutation{Pos: pos, Old: line}
	for _, c := range claims {
		m.Claims = append(m.Claims, c.ID)
	}
	for _, e := range slices.Concat(edits.WholeLine, numberEdits) {
		if changed, fits := e.Apply(line); fits {
			m.New = changed
			return []Mutation{m}
		}
	}
	heads := strings.HasPrefix(line, "- ") && len(indentedBlock(cfg.Files, pos)) > 0
	if heads || edits.IsRemovable == nil || !edits.IsRemovable(cfg, line) {
		return nil
	}
	return []Mutation{m}
}

// lineAt returns a line without blanks and comment; if inner matches, only that directive.
func lineAt(files []model.File, pos model.Pos, inner *regexp.Regexp) (string, bool) {
	for _, f := range files {
		lines := strings.Split(string(f.Content), "\n")
		if f.Name != pos.File || pos.Line > len(lines) {
			continue
		}
		line := lines[pos.Line-1]
		if i := strings.Index(line, " #"); i >= 0 {
			line = line[:i]
		}
		if inner != nil {
			if found := inner.FindStringSubmatch(line); found != nil {
				line = found[1]
			}
		}
		line = strings.TrimSpace(line)
		return line, line != ""
	}
	return "", false
}
