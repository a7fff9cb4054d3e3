package prove

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/lbproof/lbproof/internal/folder"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/source"
	"github.com/lbproof/lbproof/lbconfigs/mutations"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// known is what is known so far, in mutations.json.
type known struct {
	Config    string           `json:"config_sha256"` // of the files as they are
	Refuted   []string         `json:"refuted"`       // promises that the file as it is breaks
	Judged    bool             `json:"judged"`        // the file as it is was run
	Mutations []report.Mutated `json:"mutations"`
}

// Open reads what an earlier call has found out of the same configuration, or lists the mutations of another. Its error is a *HarnessError.
func (m *Mutator) Open() error {
	if err := os.MkdirAll(m.Dir, 0o755); err != nil {
		return &HarnessError{fmt.Errorf("make the folder of mutations: %w", err)}
	}
	text, err := source.ReadFile(m.file(), plan.PlanSize)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &HarnessError{fmt.Errorf("read what is known of mutations: %w", err)}
	}
	if err == nil {
		if err := json.Unmarshal(text, &m.known); err != nil {
			return &HarnessError{fmt.Errorf("read %s: %w; without the file lbproof begins anew", m.file(), err)}
		}
	}
	if digest := m.digest(); m.known.Config != digest {
		m.known = known{Config: digest, Mutations: m.list()}
	}
	return nil
}

// digest is of all that the results depend on.
func (m *Mutator) digest() string {
	var all []byte
	for _, f := range m.Config.Files {
		all = append(append(all, f.SHA256...), f.Name...)
	}
	return model.Digest(append(all, m.Basis...))
}

// list are the mutations that change what the configuration promises. Nothing is known of them.
func (m *Mutator) list() (all []report.Mutated) {
	for _, change := range mutations.Of(m.Config, m.decided()) {
		if claims := m.dependents(change); len(claims) > 0 {
			all = append(all, report.Mutated{Pos: change.Pos, Old: change.Old, New: change.New, Claims: claims})
		}
	}
	return all
}

// dependents are the promises that somebody wrote and the changed file does not make at all, and those that it makes otherwise: of these the
// ones that the line makes, if there are some.
func (m *Mutator) dependents(change mutations.Mutation) []string {
	cfg, err := m.Read(change.Apply(m.Config.Files))
	rejected := func(p model.Problem) bool { return p.Effect == model.Rejected }
	if err != nil || slices.ContainsFunc(cfg.Problems, rejected) {
		return change.Claims
	}
	now := map[string]plan.Claim{}
	for _, c := range checks.Claims(cfg) {
		now[c.ID] = c
	}
	var gone, mine, others []string
	for _, c := range m.decided() {
		other, made := now[c.ID]
		switch {
		case !made && !c.Implicit: // defaults go with what they are of
			gone = append(gone, c.ID)
		case made && other.Text == c.Text && maps.Equal(other.Params, c.Params):
		case slices.Contains(change.Claims, c.ID):
			mine = append(mine, c.ID)
		default:
			others = append(others, c.ID)
		}
	}
	if all := append(gone, mine...); len(all) > 0 {
		return all
	}
	return others
}

// decided are the promises that there are experiments for.
func (m *Mutator) decided() []plan.Claim {
	return slices.DeleteFunc(checks.Claims(m.Config), func(c plan.Claim) bool {
		check, err := checks.Find(c.Check)
		return err != nil || !check.Decides()
	})
}

func (m *Mutator) file() string { return filepath.Join(m.Dir, "mutations.json") }

// write keeps what came of mutation number i, and tells of it.
func (m *Mutator) write(i int, found report.Mutated) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known.Mutations[i] = found
	m.Progress.Decided(i, len(m.known.Mutations), found)
	return m.save()
}

// save keeps what is known, in one step. Its error is a *HarnessError.
func (m *Mutator) save() error {
	text, err := json.MarshalIndent(m.known, "", "  ")
	if err == nil {
		err = folder.WriteFile(m.file(), func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
	}
	if err != nil {
		return &HarnessError{fmt.Errorf("write what is known of mutations: %w", err)}
	}
	return nil
}
