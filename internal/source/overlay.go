package source

import (
	"io/fs"
	"testing/fstest"

	"github.com/lbproof/lbproof/internal/model"
)

// Overlay replaces files of Base by those of the same name.
type Overlay struct {
	Base  fs.FS
	Files []model.File
}

// Open implements fs.FS.
func (o Overlay) Open(name string) (fs.File, error) {
	for _, f := range o.Files {
		if f.Name == name {
			return fstest.MapFS{"file": {Data: f.Content}}.Open("file")
		}
	}
	return o.Base.Open(name)
}
