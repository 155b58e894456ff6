package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// place puts a program of several files into dir, as a module, and returns what
// to build there; a program of one file stays where it is.
func (p *program) place(dir string) (target []string, err error) {
	switch p.action {
	case "run", "buildrun":
		target = []string{filepath.Join(p.root, p.file)}
		for _, name := range p.files {
			target = append(target, filepath.Join(filepath.Dir(target[0]), name))
		}
		return target, nil
	case "rundir":
		main, err := p.placePackages(dir)
		return []string{main}, err
	}
	if err := os.CopyFS(dir, os.DirFS(p.folder())); err != nil {
		return nil, err
	}
	return []string{"."}, writeModule(dir, filepath.Base(p.folder()), cmp.Or(p.goMod, "1.14"))
}

func writeModule(dir, name, version string) error {
	text := fmt.Sprintf("module %s\n\ngo %s\n", name, version)
	return os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o666)
}

var (
	packageClause  = regexp.MustCompile(`(?m)^package ([\p{Lu}\p{Ll}\w]+)`)
	relativeImport = regexp.MustCompile(`"\./([\w]+)"`)
)

// placePackages gives each package of rundir's flat folder one of its own,
// named after its first file, as importers name it. The last is the program.
func (p *program) placePackages(dir string) (target string, err error) {
	files, err := filepath.Glob(filepath.Join(p.folder(), "*.go"))
	if err != nil {
		return "", err
	}
	folders := map[string]string{} // by name of the package
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		clause := packageClause.FindSubmatch(text)
		if clause == nil {
			return "", fmt.Errorf("read %s: no package clause", name)
		}
		folder, ok := folders[string(clause[1])]
		if !ok || p.single {
			folder = strings.TrimSuffix(filepath.Base(name), ".go")
			folders[string(clause[1])], target = folder, folder
		}
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o777); err != nil {
			return "", err
		}
		text = relativeImport.ReplaceAll(text, []byte(`"test/$1"`))
		// What ends in _test.go would be no part of the package.
		base := strings.Replace(filepath.Base(name), "_test.go", "_test_.go", 1)
		if err := os.WriteFile(filepath.Join(dir, folder, base), text, 0o666); err != nil {
			return "", err
		}
	}
	return "./" + target, writeModule(dir, "test", "1.26")
}
