package build

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// source is one file of the guest, named as below src/pvrun.
type source struct {
	name string
	text []byte
}

// guestSources returns the files of tree that images are built from, in
// order, with the import paths that they have below GOROOT/src.
func guestSources(tree fs.FS) ([]source, error) {
	var list []source
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "testdata" {
			return fs.SkipDir
		}
		ext := path.Ext(name)
		if d.IsDir() || ext != ".go" && ext != ".s" && ext != ".h" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if ext == ".go" {
			text = []byte(strings.ReplaceAll(string(text), `"github.com/pvrun/pvrun/`, `"pvrun/`))
		}
		list = append(list, source{name, text})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the guest's sources: %w", err)
	}
	return list, nil
}

func writeSources(dir string, sources []source) error {
	for _, s := range sources {
		name := filepath.Join(dir, s.name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, s.text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
