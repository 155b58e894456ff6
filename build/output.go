package build

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// checkOutput refuses a file that is certainly no image of before, as go
// build does: somebody's source, named by mistake, must not be lost.
func checkOutput(name string) error {
	if name == "" || name == os.DevNull {
		return nil
	}
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return nil // writing tells what is wrong, if anything is
	}
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, cause(err))
	}
	defer f.Close()
	magic := make([]byte, len(elf.ELFMAG))
	io.ReadFull(f, magic)
	if string(magic) != elf.ELFMAG {
		return fmt.Errorf("write %s: already exists and is not an image or object file", name)
	}
	return nil
}

// outputs are the files in a root file system that a build itself makes: the
// image of before, if there is one, and the new one under its passing name.
// They stay out of the archive, which would differ from build to build.
type outputs struct {
	image, written fs.FileInfo
}

func newOutputs(image string, written *os.File) (o outputs, err error) {
	o.image, err = os.Lstat(image)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return o, err
	}
	o.written, err = written.Stat()
	return o, err
}

// has reports whether a file is one of them. Another name of the image of
// before is a file of its own.
func (o outputs) has(file fs.FileInfo) bool {
	return o.image != nil && os.SameFile(o.image, file) && o.image.Name() == filepath.Base(file.Name()) ||
		o.written != nil && os.SameFile(o.written, file)
}

// notMainMessage is what go build says about a package that is not main. It
// speaks of a flag that the user has not given.
const notMainMessage = "-buildmode=exe requires exactly one main package"

// without is w but for a message, which comes alone.
type without struct {
	w       io.Writer
	message string
}

func (w without) Write(p []byte) (int, error) {
	if string(bytes.TrimSpace(p)) == w.message {
		return len(p), nil
	}
	return w.w.Write(p)
}
