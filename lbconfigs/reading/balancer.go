package reading

import (
	"io/fs"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Balancer is everything lbproof knows about one kind of load balancer.
type Balancer struct {
	Name string
	Doc  string
	// MainFiles are patterns for the main file in a directory, the likeliest first; all files that match one are read.
	MainFiles []string
	// Recognizes reports whether a text looks like a configuration of this balancer.
	Recognizes func(text string) bool
	// Parse reads the main files called names, and what they include, from fsys. Errors start with file:line. What the
	// balancer would reject but the reader can skip becomes a Problem, not an error.
	Parse func(fsys fs.FS, names ...string) (model.Config, error)
	// InvalidHostEffect is the effect of a server whose host name cannot be resolved.
	InvalidHostEffect model.Effect
	// Spec returns the node that runs the configuration; lbconfigs.Specs adds its ports and needs.
	Spec func(model.Config) plan.Spec
	// Edits change its lines so that they make other claims.
	Edits Edits
	// BuiltIn holds its configurations that come with lbproof, one per folder.
	BuiltIn fs.FS
}
