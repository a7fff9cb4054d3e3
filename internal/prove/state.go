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

// state is what is known so far, in mutations.json.
type state struct {
	Config         string           `json:"config_sha256"`   // of the files as they are
	Refuted        []string         `json:"refuted"`         // promises that the file as it is breaks
	BaselineJudged bool             `json:"baseline_judged"` // the file as it is was run
	Mutations      []report.Mutation `json:"mutations"`
}

// Open reads what an earlier call has found out of the same configuration, or lists the mutations of another. Its error is a *HarnessError.
func (m *Mutator) Open() error {
	if err := os.MkdirAll(m.Dir, 0o755); err != nil {
		return &HarnessError{fmt.Errorf("make the folder of mutations: %w", err)}
	}
	text, err := source.ReadFile(m.statePath(), plan.MaxPlanSize)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &HarnessError{fmt.Errorf("read what is known of mutations: %w", err)}
	}
	if err == nil {
		if err := json.Unmarshal(text, &m.state); err != nil {
			return &HarnessError{fmt.Errorf("read %s: %w; without the file lbproof begins anew", m.statePath(), err)}
		}
	}
	if digest := m.digest(); m.state.Config != digest {
		m.state = state{Config: digest, Mutations: m.listMutations()}
	}
	return nil
}

// digest is of all that the results depend on.
func (m *Mutator) digest() string {
	var all []byte
	for _, f := range m.Config.Files {
		all = append(append(all, f.SHA256...), f.Name...)
	}
	return model.Digest(append(all, m.CacheKey...))
}

// listMutations are the mutations that change what the configuration promises. Nothing is known of them.
func (m *Mutator) listMutations() (all []report.Mutation) {
	for _, change := range mutations.Of(m.Config, m.decidableClaims()) {
		if claims := m.affectedClaims(change); len(claims) > 0 {
			all = append(all, report.Mutation{Pos: change.Pos, Old: change.Old, New: change.New, Claims: claims})
		}
	}
	return all
}

// affectedClaims are the promises that somebody wrote and the changed file does not make at all, and those that it makes otherwise: of these the
// ones that the line makes, if there are some.
func (m *Mutator) affectedClaims(change mutations.Mutation) []string {
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
	for _, c := range m.decidableClaims() {
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

// decidableClaims are the promises that there are experiments for.
func (m *Mutator) decidableClaims() []plan.Claim {
	return slices.DeleteFunc(checks.Claims(m.Config), func(c plan.Claim) bool {
		check, err := checks.Find(c.Check)
		return err != nil || !check.CanJudge()
	})
}

func (m *Mutator) statePath() string { return filepath.Join(m.Dir, "mutations.json") }

// record keeps what came of mutation number i, and tells of it.
func (m *Mutator) record(i int, found report.Mutation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Mutations[i] = found
	m.Progress.Decided(i, len(m.state.Mutations), found)
	return m.save()
}

// save keeps what is known, in one step. Its error is a *HarnessError.
func (m *Mutator) save() error {
	text, err := json.MarshalIndent(m.state, "", "  ")
	if err == nil {
		err = folder.WriteFile(m.statePath(), func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
	}
	if err != nil {
		return &HarnessError{fmt.Errorf("write what is known of mutations: %w", err)}
	}
	return nil
}
