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
		switch {
		case err != nil || !d.IsDir():
			return err
		case d.Name() == "testdata":
			return fs.SkipDir
		}
		dir, err := fs.Sub(tree, name)
		if err != nil {
			return err
		}
		files, err := packageSources(dir, name)
		list = append(list, files...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the guest's sources: %w", err)
	}
	return list, nil
}

// packageSources returns the files of the package in dir, with name in front of
// theirs.
func packageSources(dir fs.FS, name string) (list []source, err error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		ext := path.Ext(e.Name())
		if e.IsDir() || ext != ".go" && ext != ".s" && ext != ".h" || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		text, err := fs.ReadFile(dir, e.Name())
		if err != nil {
			return nil, err
		}
		if ext == ".go" {
			text = []byte(guestImports.Replace(string(text)))
		}
		list = append(list, source{path.Join(name, e.Name()), text})
	}
	return list, nil
}

// guestImports puts the imports' paths in the guest right.
var guestImports = func() *strings.Replacer {
	pairs := []string{`"github.com/pvrun/pvrun/`, `"pvrun/`}
	for _, p := range ownCopies {
		pairs = append(pairs, `"`+p+`"`, `"pvrun/std/`+p+`"`)
	}
	for _, m := range guestModules {
		pairs = append(pairs, `"`+m+`/`, `"pvrun/mod/`+m+`/`, `"`+m+`"`, `"pvrun/mod/`+m+`"`)
	}
	return strings.NewReplacer(pairs...)
}()

// copyStd makes the guest's own copies of packages of the Go in installed, below
// tree/src.
func copyStd(tree, installed string) error {
	for _, p := range ownCopies {
		files, err := packageSources(os.DirFS(filepath.Join(installed, "src", p)), p)
		if err == nil {
			err = writeSources(filepath.Join(tree, "src", "pvrun", "std"), files)
		}
		if err != nil {
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
