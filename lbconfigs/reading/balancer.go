package reading

import (
	"io/fs"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Balancer is a kind of load balancer.
type Balancer struct {
	Name string
	Doc  string
	// the names that its main file has in a directory, the likeliest first; all that fit *.cfg belong together
	MainFiles []string
	// Recognizes says whether a text reads like one of its configurations.
	Recognizes func(text string) bool
	// Parse reads the configuration of the main files called names, and what they include, from fsys. Its errors begin
	// with file:line. What the balancer would refuse, but can be read past, is a Problem and no error.
	Parse func(fsys fs.FS, names ...string) (model.Config, error)
	// InvalidHostEffect is what becomes of a server whose host no name server can know.
	InvalidHostEffect model.Effect
	// Spec is the node that runs the configuration; its ports and its needs are filled in by Specs.
	Spec func(model.Config) plan.Spec
	// Edits are how its lines are changed so that they promise something else.
	Edits Edits
	// BuiltIn holds the configurations that come with lbproof, each in a folder of its name.
	BuiltIn fs.FS
}
