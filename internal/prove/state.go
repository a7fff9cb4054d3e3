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

// state is the progress of a configuration, stored in mutations.json.
type state struct {
	Config         string            `json:"config_sha256"`   // digest of the original configuration
	Refuted        []string          `json:"refuted"`         // claims that the original file violates
	BaselineJudged bool              `json:"baseline_judged"` // the original file was run and judged
	Mutations      []report.Mutation `json:"mutations"`
}

// Open resumes from the state of an earlier call for the same configuration, or lists the mutations. Its error is a
// *HarnessError.
func (m *Mutator) Open() error {
	if err := os.MkdirAll(m.Dir, 0o755); err != nil {
		return &HarnessError{fmt.Errorf("create the folder of mutations: %w", err)}
	}
	text, err := source.ReadFile(m.statePath(), plan.MaxPlanSize)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &HarnessError{fmt.Errorf("read the state of mutations: %w", err)}
	}
	if err == nil {
		if err := json.Unmarshal(text, &m.state); err != nil {
			return &HarnessError{fmt.Errorf("read %s: %w; delete the file to start over", m.statePath(), err)}
		}
	}
	if digest := m.digest(); m.state.Config != digest {
		m.state = state{Config: digest, Mutations: m.listMutations()}
	}
	return nil
}

// digest hashes everything that the results depend on.
func (m *Mutator) digest() string {
	var all []byte
	for _, f := range m.Config.Files {
		all = append(append(all, f.SHA256...), f.Name...)
	}
	return model.Digest(append(all, m.CacheKey...))
}

// listMutations returns the undecided mutations that change a claim.
func (m *Mutator) listMutations() (all []report.Mutation) {
	for _, change := range mutations.Of(m.Config, m.decidableClaims()) {
		if claims := m.affectedClaims(change); len(claims) > 0 {
			all = append(all, report.Mutation{Pos: change.Pos, Old: change.Old, New: change.New, Claims: claims})
		}
	}
	return all
}

// affectedClaims returns the claims that should refute a mutation: explicit claims that the changed file no longer
// makes, and claims of the changed line that it makes differently. If there are none, it returns the claims of other
// lines that it makes differently.
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
	var removed, mine, others []string
	for _, c := range m.decidableClaims() {
		other, made := now[c.ID]
		switch {
		case !made && !c.Implicit: // defaults disappear with their object
			removed = append(removed, c.ID)
		case made && other.Text == c.Text && maps.Equal(other.Params, c.Params):
		case slices.Contains(change.Claims, c.ID):
			mine = append(mine, c.ID)
		default:
			others = append(others, c.ID)
		}
	}
	if all := append(removed, mine...); len(all) > 0 {
		return all
	}
	return others
}

// decidableClaims returns the claims with a check that can decide them.
func (m *Mutator) decidableClaims() []plan.Claim {
	return slices.DeleteFunc(checks.Claims(m.Config), func(c plan.Claim) bool {
		check, err := checks.Find(c.Check)
		return err != nil || !check.CanJudge()
	})
}

func (m *Mutator) statePath() string { return filepath.Join(m.Dir, "mutations.json") }

// record stores and reports the result of mutation number i.
func (m *Mutator) record(i int, found report.Mutation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Mutations[i] = found
	m.Progress.Decided(i, len(m.state.Mutations), found)
	return m.save()
}

// save stores the state atomically. Its error is a *HarnessError.
func (m *Mutator) save() error {
	text, err := json.MarshalIndent(m.state, "", "  ")
	if err == nil {
		err = folder.WriteFile(m.statePath(), func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
	}
	if err != nil {
		return &HarnessError{fmt.Errorf("write the state of mutations: %w", err)}
	}
	return nil
}
