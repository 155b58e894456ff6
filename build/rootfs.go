package build

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
)

// PackRootFS returns the folder dir as a newc archive, the form in which a
// root file system travels.
func PackRootFS(dir string) ([]byte, error) {
	if err := checkRootFS(dir); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if _, err := writeRootFS(&buf, dir, outputs{}); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// PackFolders returns an archive of empty folders, in the form in which a root
// file system travels.
func PackFolders(names []string) ([]byte, error) {
	var buf bytes.Buffer
	out := cpio.Newc.Writer(&buf)
	for i, name := range names {
		info := cpio.Info{Ino: uint64(i + 1), Mode: cpio.S_IFDIR | 0o755, NLink: 2, Name: strings.TrimPrefix(filepath.Clean(name), "/")}
		if err := out.WriteRecord(cpio.Record{Info: info}); err != nil {
			return nil, err
		}
	}
	err := cpio.WriteTrailer(out)
	return buf.Bytes(), err
}

// checkRootFS tells early that dir cannot be packed.
func checkRootFS(dir string) error {
	if dir == "" {
		return nil
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return fmt.Errorf("root file system %s: %w", dir, cause(err))
	}
	return nil
}

// writeRootFS writes dir as an archive that depends on names, contents and
// permissions alone: in order, without times, owners and the disk's numbers.
// Files in own are left out.
func writeRootFS(w io.Writer, dir string, own outputs) (*RootFS, error) {
	sum := sha256.New()
	count := &countWriter{w: io.MultiWriter(w, sum)}
	a := archive{out: cpio.Newc.Writer(count), own: own}
	dir, err := filepath.EvalSymlinks(dir) // WalkDir does not enter a link
	if err != nil {
		return nil, fmt.Errorf("root file system: %w", err)
	}
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		return a.add(dir, name, d)
	})
	if err == nil {
		err = cpio.WriteTrailer(a.out)
	}
	if err != nil {
		return nil, fmt.Errorf("root file system %s: %w", dir, err)
	}
	return &RootFS{Files: a.files, Bytes: count.n, SHA256: fmt.Sprintf("%x", sum.Sum(nil))}, nil
}

type archive struct {
	out   cpio.RecordWriter
	files int
	own   outputs
}

// add appends the file name, which lies below dir.
func (a *archive) add(dir, name string, d fs.DirEntry) error {
	rel, err := filepath.Rel(dir, name)
	if err != nil {
		return err
	}
	fi, err := d.Info()
	if err != nil {
		return err
	}
	if a.own.has(fi) {
		return nil
	}
	st := fi.Sys().(*syscall.Stat_t)
	a.files++
	info := cpio.Info{Ino: uint64(a.files), Mode: uint64(st.Mode), NLink: 1, Name: filepath.ToSlash(rel)}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		return a.addFile(name, st.Size, info)
	case syscall.S_IFLNK:
		to, err := os.Readlink(name)
		if err != nil {
			return err
		}
		return a.out.WriteRecord(cpio.StaticRecord([]byte(to), info))
	case syscall.S_IFCHR, syscall.S_IFBLK:
		info.Rmajor, info.Rminor = uint64(unix.Major(st.Rdev)), uint64(unix.Minor(st.Rdev))
	case syscall.S_IFSOCK:
		return fmt.Errorf("%s: a socket cannot be packed", rel)
	}
	return a.out.WriteRecord(cpio.Record{Info: info})
}

// addFile appends a regular file. One that shrinks meanwhile is an error, of
// one that grows the archive has the first size bytes.
func (a *archive) addFile(name string, size int64, info cpio.Info) error {
	if size > math.MaxUint32 {
		return fmt.Errorf("%s: larger than 4 GiB, which the archive format cannot hold", info.Name)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info.FileSize = uint64(size)
	return a.out.WriteRecord(cpio.Record{ReaderAt: io.NewSectionReader(f, 0, size), Info: info})
}

// countWriter counts what passes through.
type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
