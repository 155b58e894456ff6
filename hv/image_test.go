package hv

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/pvrun/pvrun/build"
	"github.com/pvrun/pvrun/internal/need"
)

// builtOnce is the image of the program in folder dir, which stays in pvrun's cache.
func builtOnce(dir string) (string, error) {
	if img := need.Built(dir, ".img"); img != "" {
		return img, nil
	}
	r, err := build.Build(context.Background(), build.Config{Package: []string{dir}})
	return r.Image, err
}

// guestImage is the image of the program in folder dir, which belongs to module.
func guestImage(t testing.TB, module, dir string) string {
	t.Helper()
	if img := need.Built(filepath.Join(module, dir), ".img"); img != "" {
		return img
	}
	img := filepath.Join(t.TempDir(), filepath.Base(dir)+".img")
	if _, err := build.Build(t.Context(), build.Config{Package: []string{"./" + dir}, Dir: module, Output: img}); err != nil {
		t.Fatal(err)
	}
	return img
}
