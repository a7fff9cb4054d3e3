package stack

import (
	"fmt"
	"maps"
	"path"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// ProvisionFiles generates the files that a configuration refers to and does not contain: certificates, and directories
// with a page. It returns the files, and the spec with their paths.
func (a *Authority) ProvisionFiles(spec plan.Spec, needs []model.Need) (plan.Spec, []model.File, error) {
	spec.Files = maps.Clone(spec.Files)
	if spec.Files == nil {
		spec.Files = map[string]string{}
	}
	var files []model.File
	put := func(at string, content []byte) {
		if _, there := spec.Files[at]; there {
			return
		}
		name := "made for the run: " + at
		spec.Files[at] = name
		files = append(files, model.NewFile(name, content))
	}
	for _, n := range needs {
		if n.Kind == model.NeedDirectory {
			put(path.Join(n.Path, "index.html"), []byte("<!doctype html><title>lbproof</title><p>made for the run\n"))
		}
	}
	certificates, err := a.Certificates(needs, "")
	for _, c := range certificates {
		put(c.Name, c.Content)
	}
	return spec, files, err
}

// Certificates generates the certificates among needs, with a flaw. A file's name is its path in the container.
func (a *Authority) Certificates(needs []model.Need, flaw CertificateFlaw) ([]model.File, error) {
	var files []model.File
	made := map[string]bool{}
	for _, n := range needs {
		if made[n.Path] {
			continue
		}
		made[n.Path] = true
		switch n.Kind {
		case model.NeedAuthority:
			own, err := a.PEM()
			if err != nil {
				return nil, err
			}
			files = append(files, model.NewFile(n.Path, own))
		case model.NeedCertificate:
			chain, key, err := a.issue(n.Hosts, flaw)
			if err != nil {
				return nil, fmt.Errorf("%s: create the certificate %s: %w", n.Pos, n.Path, err)
			}
			if n.KeyFile == "" {
				files = append(files, model.NewFile(n.Path, append(chain, key...)))
				continue
			}
			files = append(files, model.NewFile(n.Path, chain), model.NewFile(n.KeyFile, key))
		}
	}
	return files, nil
}
