package main

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// programFolders are the folders of $GOROOT/test that Go's own runner looks in.
var programFolders = []string{".", "abi", "chan", "dwarf", "fixedbugs", "interface", "ken", "typeparam", "typeparam/mdempsky"}

// program is a file of $GOROOT/test that is to be built and run.
type program struct {
	root string // $GOROOT/test
	file string // fixedbugs/bug1.go
	recipe
}

// programUnits are the programs of $GOROOT/test that are run, but for those that
// start the compiler or another program themselves.
func programUnits(_ context.Context, l *lab) (units []unit, err error) {
	root := filepath.Join(l.goroot, "test")
	for _, folder := range programFolders {
		names, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			p, ok, err := readProgram(root, path.Join(folder, filepath.Base(name)))
			if err != nil {
				return nil, err
			}
			if ok {
				units = append(units, l.programUnit(p))
			}
		}
	}
	return units, nil
}

func readProgram(root, file string) (p program, ok bool, err error) {
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return p, false, err
	}
	r, ok := parseRecipe(string(text))
	ok = ok && slices.Contains(runnable, r.action) && !strings.Contains(string(text), `"os/exec"`)
	return program{root, file, r}, ok, nil
}

// programUnit is the unit of a program: a package of one test.
func (l *lab) programUnit(p program) unit {
	folder := path.Join("test", path.Dir(p.file))
	u := unit{section: "goroot", name: p.file, group: folder, pkg: folder}
	u.run = func(ctx context.Context, s side, b budget) (*result, error) {
		trial := &trial{lab: l, program: p, side: s, limit: b.limit(choice{})}
		return trial.run(ctx)
	}
	return u
}

// wanted is what a program shall write.
func (p *program) wanted() (string, error) {
	text, err := os.ReadFile(filepath.Join(p.root, strings.TrimSuffix(p.file, ".go")+".out"))
	if os.IsNotExist(err) {
		return "", nil
	}
	return string(text), err
}

// folder is the folder of a program that is more than its file.
func (p *program) folder() string {
	return filepath.Join(p.root, strings.TrimSuffix(p.file, ".go")+".dir")
}
