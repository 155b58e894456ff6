package vmtest

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/pvrun/pvrun/build"
)

// images are the builds of this process, by what was asked for.
var images sync.Map

type source struct{ pkg, rootfs, tags string }

// Image builds the image of a package, a folder or an import path, once in
// the life of the test binary. It stays in pvrun's cache.
func Image(t testing.TB, pkg string) string {
	t.Helper()
	return ImageWith(t, pkg, "", "")
}

// ImageWith is Image with a root file system and build tags.
func ImageWith(t testing.TB, pkg, rootfs, tags string) string {
	t.Helper()
	key := source{pkg, rootfs, tags}
	once, _ := images.LoadOrStore(key, sync.OnceValues(key.build))
	file, err := once.(func() (string, error))()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// buildError is a failed build with the go command's messages.
type buildError struct {
	error
	messages string
}

func (e buildError) Error() string { return e.error.Error() + "\n" + e.messages }
func (e buildError) Unwrap() error { return e.error }

func (s source) build() (string, error) {
	var messages bytes.Buffer
	res, err := build.Build(context.Background(), build.Config{
		Package: []string{s.pkg}, RootFS: s.rootfs, Tags: s.tags,
		Stdout: &messages, Stderr: &messages,
	})
	if err != nil {
		return "", buildError{err, messages.String()}
	}
	return res.Image, nil
}
