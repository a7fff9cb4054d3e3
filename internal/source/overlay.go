package source

import (
	"io/fs"
	"testing/fstest"

	"github.com/lbproof/lbproof/internal/model"
)

// Overlay has files instead of those that lie at the same place.
type Overlay struct {
	Base  fs.FS
	Files []model.File
}

// Open is fs.FS's.
func (o Overlay) Open(name string) (fs.File, error) {
	for _, f := range o.Files {
		if f.Name == name {
			return fstest.MapFS{"file": {Data: f.Content}}.Open("file")
		}
	}
	return o.Base.Open(name)
}
