package boot

import (
	"errors"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Stamp tells a file, or the sources of a package, from what they are later.
type Stamp struct {
	size, time int64
	inode      uint64
	sources    uint64
}

// Stamp is of the file that the program is booted from, or of the sources of its module:
// Go's, assembly's, and go.mod. It is zero if there is nothing, or more than can be looked
// at each second, and for a package by its import path.
func (p Program) Stamp() (s Stamp) {
	info, err := os.Stat(p.From)
	switch {
	case err != nil:
		return s
	case info.IsDir():
		s.sources = sources(p.From)
		return s
	case !info.Mode().IsRegular():
		return s
	case strings.HasSuffix(p.From, ".go"):
		s.sources = sources(filepath.Dir(p.From))
		return s
	}
	s = Stamp{size: info.Size(), time: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.inode = st.Ino
	}
	return s
}

// mostEntries bounds how many files and folders of a module are looked at.
const mostEntries = 10_000

var errTooMany = errors.New("too many files")

// sources is a hash of the names, sizes and times of the sources of the module that a
// folder is in; 0 for none.
func sources(dir string) uint64 {
	root, err := moduleRoot(dir)
	if err != nil {
		return 0
	}
	h, n := fnv.New64a(), 0
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if n++; n > mostEntries {
			return errTooMany
		}
		switch {
		case err != nil: // it goes just now, or is nobody's business
			return nil
		case e.IsDir() && path != root && (strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata"):
			return fs.SkipDir
		case !isSource(e.Name()):
			return nil
		}
		if info, err := e.Info(); err == nil {
			size, time := uint64(info.Size()), uint64(info.ModTime().UnixNano())
			h.Write([]byte(path))
			for range 8 {
				h.Write([]byte{byte(size), byte(time)})
				size, time = size>>8, time>>8
			}
		}
		return nil
	})
	if err != nil {
		return 0
	}
	return h.Sum64()
}

func isSource(name string) bool {
	switch filepath.Ext(name) {
	case ".go":
		return !strings.HasSuffix(name, "_test.go")
	case ".s", ".h":
		return true
	}
	return name == "go.mod" || name == "go.sum"
}

// moduleRoot is the folder above, or dir itself, that has a go.mod.
func moduleRoot(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", fs.ErrNotExist
		}
		dir = above
	}
}
