package compare

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pvrun/pvrun/build"
)

// programs are the sources of the built-in workloads' programs, so that a
// pvrun binary needs nothing beside it. They are of images/, which go:embed
// does not reach because it is another module: `make golden` copies them.
//
//go:embed programs.txt
var programs string

// fileMark begins the line before a file's text in programs.
const fileMark = "-- "

// files splits programs into texts by their names.
func files(archive string) map[string]string {
	list := map[string]string{}
	name := ""
	for line := range strings.Lines(archive) {
		if rest, ok := strings.CutPrefix(line, fileMark); ok {
			name, _, _ = strings.Cut(rest, " ")
			continue
		}
		list[name] += line
	}
	delete(list, "") // what is said before the first file
	return list
}

// Build builds the programs of the built-in workloads in list. It returns the
// images by the names of the programs; they are in dir. messages gets what the
// go command says when a build fails.
func Build(ctx context.Context, list []Workload, dir string, messages io.Writer) (map[string]string, error) {
	cache, err := build.CacheDir()
	if err != nil {
		return nil, err
	}
	// The go command links anew what it finds in a new place, so this one stays.
	src := filepath.Join(cache, "compare")
	if err := unpack(src); err != nil {
		return nil, fmt.Errorf("unpack the workloads: %w", err)
	}
	images := map[string]string{}
	for _, w := range list {
		if w.Program == "" || images[w.Program] != "" {
			continue
		}
		var said bytes.Buffer
		image := filepath.Join(dir, w.Program+".img")
		_, err := build.Build(ctx, build.Config{
			Package: []string{"./" + w.Program}, Dir: src, Output: image, Stdout: &said, Stderr: &said,
			Env: append(os.Environ(), "GOWORK=off", "GOFLAGS="),
		})
		if err != nil {
			messages.Write(said.Bytes())
			return nil, err
		}
		images[w.Program] = image
	}
	return images, nil
}

// unpack writes the programs below dir, but for files that are there already.
func unpack(dir string) error {
	for name, text := range files(programs) {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if old, err := os.ReadFile(name); err == nil && slices.Equal(old, []byte(text)) {
			continue
		}
		if err := replaceFile(name, text); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile writes a file as a whole: another pvrun may be reading it.
func replaceFile(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
