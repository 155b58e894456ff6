package build

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// ownCopies are the packages of the standard library that the guest has copies
// of, below src/pvrun/std: tests within such a package import fmt, and with it
// the guest, which would be a cycle if the guest imported the package itself.
var ownCopies = []string{"hash/crc32"}

// source is one file of the guest, named as below src/pvrun.
type source struct {
	name string
	text []byte
}

// guestSources returns the files of tree that images are built from (no tests),
// in order, with the import paths that they have below GOROOT/src.
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
			text = []byte(guestImports.Replace(string(text)))
		}
		list = append(list, source{name, text})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the guest's sources: %w", err)
	}
	return list, nil
}

// guestImports puts the imports' paths in the guest right.
var guestImports = func() *strings.Replacer {
	pairs := []string{`"github.com/pvrun/pvrun/`, `"pvrun/`}
	for _, p := range ownCopies {
		pairs = append(pairs, `"`+p+`"`, `"pvrun/std/`+p+`"`)
	}
	return strings.NewReplacer(pairs...)
}()

// copyStd makes the guest's own copies of packages of the Go in installed, below
// tree/src.
func copyStd(tree, installed string) error {
	for _, p := range ownCopies {
		files, err := guestSources(os.DirFS(filepath.Join(installed, "src", p)))
		if err != nil {
			return err
		}
		if err := writeSources(filepath.Join(tree, "src", "pvrun", "std", p), files); err != nil {
			return err
		}
	}
	return nil
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
