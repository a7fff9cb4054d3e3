package lbconfigs

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Mutation is a configuration with one line changed, so that it promises something else.
type Mutation struct {
	Pos    model.Pos
	Old    string   // the line, without blanks around it
	New    string   // empty: the line is left out
	Claims []string // ids of the promises that the line makes

	parameter string // that is changed, where the line has several
}

// Apply gives the files with the mutation in them.
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

// String is the change as a diff would show it.
func (m Mutation) String() string {
	if m.New == "" {
		return fmt.Sprintf("%s: without %q", m.Pos, m.Old)
	}
	return fmt.Sprintf("%s: %q instead of %q", m.Pos, m.New, m.Old)
}

// edit changes one parameter of a line.
type edit struct {
	find *regexp.Regexp // its first group is replaced
	by   func(old string) string
	// checks are the kinds of promises that the parameter makes; none: all that the line makes.
	checks []string
}

// edits are tried in order; each that fits makes a mutation of its own.
var edits = []edit{
	{regexp.MustCompile(`\bweight[= :]+(\d+)`), unlike, []string{"weights", "algorithm", "sticky", "split"}},
	{regexp.MustCompile(`\bmax_fails=(\d+)`), next, []string{"passive"}},
	{regexp.MustCompile(`\bfail_timeout=(\d+m?s?)`), half, []string{"passive"}},
	{regexp.MustCompile(`\bmax_conns=(\d+)`), tight, []string{"conns"}},
	{regexp.MustCompile(`\bmaxconn (\d+)`), unlike, []string{"conns"}},
	{regexp.MustCompile(`\bfall (\d+)`), next, []string{"active"}},
	{regexp.MustCompile(`\brise (\d+)`), next, []string{"active"}},
	{regexp.MustCompile(`\binter (\d+m?s?)`), twice, []string{"active"}},
	{regexp.MustCompile(`^interval: (\d+m?s?)`), twice, []string{"active"}},
	{regexp.MustCompile(`( backup)\b`), none, []string{"backup"}},
	{regexp.MustCompile(`( down)\b`), none, []string{"drained"}},
	{regexp.MustCompile(`( nodelay)\b`), none, nil},
	{regexp.MustCompile(`\bdelay=(\d+)`), unlike, nil},
	{regexp.MustCompile(`\bburst[=:] ?(\d+)`), fewer, nil},
	{regexp.MustCompile(`\brate=(\d+)r`), fewer, nil},
	{regexp.MustCompile(`\b(?:average|amount): (\d+)`), fewer, nil},
	{regexp.MustCompile(`\b(?:gt|ge) (\d+)`), fewer, nil},
	{regexp.MustCompile(`^limit_conn \w+ (\d+)`), fewer, nil},
	{regexp.MustCompile(`( always)\b`), none, []string{"response"}},
}

// whole changes a line that no edit fits: the first that fits does.
var whole = []edit{
	{find: regexp.MustCompile(`^return (30[1278])`), by: func(old string) string {
		return map[string]string{"301": "302", "302": "301", "307": "308", "308": "307"}[old]
	}},
	{find: regexp.MustCompile(`^return \d+ "(.*)"`), by: func(string) string { return "lbproof" }},
	{find: regexp.MustCompile(`\bssl_protocols (TLSv1\.2) TLSv1\.3`), by: none},
	{find: regexp.MustCompile(`\bssl-min-ver (TLSv1\.2)`), by: func(string) string { return "TLSv1.3" }},
	{find: regexp.MustCompile(`\b(no-tlsv11|no-tlsv10|no-sslv3)`), by: none},
	{find: regexp.MustCompile(`^ssl_ciphers .*?([A-Z0-9-]+);$`), by: func(string) string { return "ECDHE-RSA-AES128-SHA" }},
	{find: regexp.MustCompile(`^ssl-default-bind-ciphers .*?([A-Z0-9-]+)$`), by: func(string) string { return "ECDHE-RSA-AES128-SHA" }},
	{find: regexp.MustCompile(`\b(http2|h2,http/1\.1)\b`), by: none},
	{find: regexp.MustCompile(`^(?:proxy_set_header|add_header|http-response set-header|http-request set-header) [\w-]+ +(.+?);?$`), by: func(string) string { return "lbproof" }},
	{find: regexp.MustCompile(`^(least_conn|ip_hash|random|hash|balance)\b`), by: nil},
	{find: regexp.MustCompile(`^(ssl_session_cache)\b`), by: nil},
	{find: regexp.MustCompile(`^(keepalive|option|stub_status|proxy_next_upstream|allow|deny)\b`), by: nil},
	{find: regexp.MustCompile(`\b(\d+(?:ms|s|m|h|d))\b`), by: shorter},
	{find: regexp.MustCompile(`\b(\d+[kKmMgG])\b`), by: half},
	{find: regexp.MustCompile(`(?:^| |: )(\d+);?$`), by: half},
}

func none(string) string { return "" }

// unlike is another number near it.
func unlike(old string) string {
	return change(old, func(n float64) float64 {
		switch {
		case n >= 8:
			return math.Floor(0.6 * n)
		case n >= 2:
			return n - 1
		}
		return n + 1
	})
}

func next(old string) string { return change(old, func(n float64) float64 { return n + 1 }) }

func fewer(old string) string {
	return change(old, func(n float64) float64 { return math.Max(1, math.Floor(n*0.65)) })
}

// tight is so little that two workers together do not reach the old number.
func tight(old string) string {
	return change(old, func(n float64) float64 { return math.Max(1, math.Floor(n*0.4)) })
}

func half(old string) string {
	return change(old, func(n float64) float64 { return math.Max(1, math.Floor(n/2)) + math.Max(0, 2-n) })
}

// shorter is no part of it: what waits for it several times does not come to the same.
func shorter(old string) string {
	return change(old, func(n float64) float64 {
		if n < 2 {
			return n + 1
		}
		return math.Floor(0.6 * n)
	})
}

func twice(old string) string { return change(old, func(n float64) float64 { return 2 * n }) }

// change puts another number before a unit.
func change(old string, by func(float64) float64) string {
	digits := strings.TrimRight(old, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return old
	}
	return strconv.FormatFloat(by(n), 'f', -1, 64) + old[len(digits):]
}

// Mutations changes each line that makes one of the promises: a number to another, a word left out, or the line itself. The
// lines of servers make those of their pool too.
func Mutations(cfg model.Config, claims []plan.Claim) []Mutation {
	byLine := map[model.Pos][]plan.Claim{}
	for _, claim := range claims {
		for _, pos := range linesOf(cfg, claim) {
			byLine[pos] = append(byLine[pos], claim)
		}
	}
	order := slices.SortedFunc(maps.Keys(byLine), func(a, b model.Pos) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line)
	})
	var all []Mutation
	seen := map[string]bool{} // servers of a pool have the same parameters: the first shows what they do
	for _, pos := range order {
		for _, m := range mutations(cfg, pos, byLine[pos]) {
			key := fmt.Sprint(m.parameter, m.Claims)
			if m.parameter == "" || !seen[key] {
				all = append(all, m)
			}
			seen[key] = true
		}
	}
	return all
}

// byServers are the kinds of promises that the lines of a pool's servers make too.
var byServers = []string{"weights", "algorithm", "sticky", "backup", "passive", "active", "conns", "drained"}

// linesOf are the lines that make a promise.
func linesOf(cfg model.Config, claim plan.Claim) (lines []model.Pos) {
	if !claim.Implicit && claim.Pos.Line > 0 {
		lines = append(lines, claim.Pos)
	}
	if pool, ok := cfg.Pool(claim.Subject); ok && slices.Contains(byServers, claim.Check) {
		for _, s := range pool.Servers {
			if s.Pos != claim.Pos {
				lines = append(lines, s.Pos)
			}
		}
	}
	if cfg.Balancer == "traefik" {
		lines = append(lines, block(cfg.Files, claim.Pos)...)
	}
	return lines
}

// block are the lines of a YAML mapping below the line that begins it.
func block(files []model.File, pos model.Pos) []model.Pos {
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

// mutations are those of one line.
func mutations(cfg model.Config, pos model.Pos, claims []plan.Claim) []Mutation {
	line, ok := lineAt(cfg.Files, pos)
	if !ok {
		return nil
	}
	var all []Mutation
	for _, e := range edits {
		var about []string
		for _, c := range claims {
			if e.checks == nil || slices.Contains(e.checks, c.Check) {
				about = append(about, c.ID)
			}
		}
		if changed, fits := e.apply(line); fits && len(about) > 0 {
			all = append(all, Mutation{Pos: pos, Old: line, New: changed, Claims: about, parameter: e.find.String()})
		}
	}
	stands := cfg.Balancer == "traefik" || slices.ContainsFunc(claims, func(c plan.Claim) bool { return c.Pos == pos })
	if len(all) > 0 || !stands {
		return all
	}
	m := Mutation{Pos: pos, Old: line}
	for _, c := range claims {
		m.Claims = append(m.Claims, c.ID)
	}
	for _, e := range whole {
		if changed, fits := e.apply(line); fits {
			m.New = changed
			return []Mutation{m}
		}
	}
	everywhere := strings.HasPrefix(line, "entryPoints:") && len(cfg.Listeners) < 2 // which is where a router is without it
	if everywhere || !removable(cfg.Balancer, line) || strings.HasPrefix(line, "- ") && len(block(cfg.Files, pos)) > 0 {
		return nil
	}
	return []Mutation{m}
}

// removable says whether a file without the line is still one.
func removable(balancer, line string) bool {
	switch balancer {
	case "nginx":
		return strings.HasSuffix(line, ";") && !strings.ContainsAny(line, "{}")
	case "haproxy":
		first, _, _ := strings.Cut(line, " ")
		return !slices.Contains([]string{"global", "defaults", "frontend", "backend", "listen", "bind", "server"}, first)
	}
	return strings.HasPrefix(line, "- ") || strings.Contains(line, ": ") && !strings.HasSuffix(line, ":")
}

func (e edit) apply(line string) (changed string, ok bool) {
	at := e.find.FindStringSubmatchIndex(line)
	if at == nil {
		return "", false
	}
	if e.by == nil {
		return "", true // without it
	}
	changed = line[:at[2]] + e.by(line[at[2]:at[3]]) + line[at[3]:]
	return changed, changed != line
}

// oneDirective is a block of nginx with one directive, all in one line.
var oneDirective = regexp.MustCompile(`\{\s*([^{};]+;)\s*\}\s*$`)

// lineAt is a line without the blanks and the comment around it.
func lineAt(files []model.File, pos model.Pos) (string, bool) {
	for _, f := range files {
		lines := strings.Split(string(f.Content), "\n")
		if f.Name != pos.File || pos.Line > len(lines) {
			continue
		}
		line := lines[pos.Line-1]
		if i := strings.Index(line, " #"); i >= 0 {
			line = line[:i]
		}
		if inner := oneDirective.FindStringSubmatch(line); inner != nil {
			line = inner[1]
		}
		line = strings.TrimSpace(line)
		return line, line != ""
	}
	return "", false
}
