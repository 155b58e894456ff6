package volume

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/guest/fs/vol"
)

// pieceSize is how many bytes are copied at once.
const pieceSize = 1 << 20

// inside is a path as package vol spells it.
func inside(p string) string {
	if p = path.Clean("/" + p); p == "/" {
		return "."
	}
	return p[1:]
}

// CopyIn copies a file or folder of the host's into a volume: into dst when that
// is a folder, else as dst.
func CopyIn(src, s, dst string) error {
	v, err := Open(s, false)
	if err != nil {
		return err
	}
	to := inside(dst)
	if a, e := v.Stat(fs.TreeRef{Path: to}); e == 0 && a.Mode&fs.S_IFMT == fs.S_IFDIR {
		if base := baseOf(src); base != "" {
			to = inside(to + "/" + base)
		}
	}
	err = v.copyIn(src, to)
	if err = errors.Join(err, v.Close()); err != nil {
		return wrap(s, err)
	}
	return nil
}

// baseOf is the last name of a host's path, "" for what means the contents of a
// folder: . and whatever ends in it.
func baseOf(src string) string {
	if strings.HasSuffix(src, "/.") || src == "." {
		return ""
	}
	abs, err := filepath.Abs(src)
	if err != nil || abs == "/" {
		return ""
	}
	return filepath.Base(abs)
}

// copyIn copies src, as to, and what is in it; folders that are there are gone
// into. A link at src itself is followed.
func (v *Volume) copyIn(src, to string) error {
	info, err := os.Stat(src)
	if err != nil {
		info, err = os.Lstat(src)
	}
	if err != nil {
		return err
	}
	return v.enter(src, to, info)
}

// enter copies one file, link or folder. A folder gets its mode and times when all
// is in it.
func (v *Volume) enter(host, to string, info os.FileInfo) (err error) {
	switch info.Mode().Type() {
	case os.ModeDir:
		err = v.enterFolder(host, to)
	case os.ModeSymlink:
		var target string
		if target, err = os.Readlink(host); err == nil {
			v.unlink(to)
			err = failed("symlink", "/"+to, v.Symlink(target, to))
		}
	case 0:
		err = v.enterFile(host, to)
	default:
		err = &os.PathError{Op: "copy", Path: host, Err: errors.New("it is neither a file, a folder nor a symbolic link")}
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSymlink {
		if e := v.Chmod(fs.TreeRef{Path: to}, modeBits(info.Mode())); e != 0 {
			return failed("chmod", "/"+to, e)
		}
	}
	return failed("set times", "/"+to, v.setTimes(to, info.ModTime()))
}

func (v *Volume) enterFolder(host, to string) error {
	e := v.Mkdir(to, 0o700)
	if a, e2 := v.Stat(fs.TreeRef{Path: to}); e == fs.EEXIST && e2 == 0 && a.Mode&fs.S_IFMT == fs.S_IFDIR {
		e = 0
	}
	if e != 0 {
		return failed("mkdir", "/"+to, e)
	}
	list, err := os.ReadDir(host)
	if err != nil {
		return err
	}
	for _, entry := range list {
		info, err := entry.Info()
		if err == nil {
			err = v.enter(filepath.Join(host, entry.Name()), inside(to+"/"+entry.Name()), info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *Volume) setTimes(to string, t time.Time) fs.Errno {
	ns := t.UnixNano()
	return v.SetTimes(fs.TreeRef{Path: to}, [2]int64{ns, ns}, [2]bool{true, true})
}

// unlink removes what is not a folder.
func (v *Volume) unlink(to string) {
	if a, e := v.Stat(fs.TreeRef{Path: to}); e == 0 && a.Mode&fs.S_IFMT != fs.S_IFDIR {
		v.Remove(to)
	}
}

// modeBits are the permissions in Linux's form.
func modeBits(m os.FileMode) uint32 {
	bits := uint32(m.Perm())
	for flag, bit := range map[os.FileMode]uint32{os.ModeSetuid: 0o4000, os.ModeSetgid: 0o2000, os.ModeSticky: 0o1000} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

// enterFile copies a file's contents; blocks of zeros become holes.
func (v *Volume) enterFile(host, to string) error {
	in, err := os.Open(host)
	if err != nil {
		return err
	}
	defer in.Close()
	h, _, e := v.FS.Open(to, fs.O_WRONLY|fs.O_CREAT|fs.O_TRUNC, 0o600)
	if e == fs.ELOOP { // a link stands there: it is replaced
		v.unlink(to)
		h, _, e = v.FS.Open(to, fs.O_WRONLY|fs.O_CREAT|fs.O_TRUNC, 0o600)
	}
	if e != 0 {
		return failed("create", "/"+to, e)
	}
	defer v.FS.Close(h)
	b, off := make([]byte, pieceSize), int64(0)
	for {
		n, err := io.ReadFull(in, b)
		if e := v.writeSparse(h, b[:n], off); e != 0 {
			return failed("write", "/"+to, e)
		}
		off += int64(n)
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return failed("write", "/"+to, v.Truncate(h, off))
		default:
			return err
		}
	}
}

// writeSparse writes all blocks that are not zero.
func (v *Volume) writeSparse(h uint64, b []byte, off int64) fs.Errno {
	for start := 0; start < len(b); {
		end := start
		for end < len(b) && !zeros(b[end:min(end+vol.BlockSize, len(b))]) {
			end += vol.BlockSize
		}
		end = min(end, len(b))
		if end > start {
			if n, e := v.Write(h, b[start:end], off+int64(start)); e != 0 || n < end-start {
				return cmp.Or(e, fs.ENOSPC)
			}
		}
		start = end + vol.BlockSize // the one that is zeros
	}
	return 0
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// CopyOut copies a file or folder out of a volume: into dst when that is a folder,
// else as dst.
func CopyOut(s, src, dst string) error {
	v, err := Open(s, true)
	if err != nil {
		return err
	}
	defer v.backend.Close()
	from := inside(src)
	if info, err := os.Stat(dst); err == nil && info.IsDir() {
		if from != "." && !strings.HasSuffix(src, "/.") {
			dst = filepath.Join(dst, path.Base(from))
		}
	}
	if err := v.copyOut(from, dst); err != nil {
		return wrap(s, err)
	}
	return nil
}

// copyOut opens the folder that all goes into: what a volume says leads nowhere
// else.
func (v *Volume) copyOut(from, dst string) error {
	dir, base := filepath.Dir(filepath.Clean(dst)), filepath.Base(filepath.Clean(dst))
	if base == ".." || base == "/" || base == "." {
		dir, base = dst, "."
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return (&leaving{v, root, map[uint64]bool{}, map[uint64]string{}, v.Facts().Size}).leave(from, base)
}

// leaving is a copy out of a volume.
type leaving struct {
	v     *Volume
	root  *os.Root
	seen  map[uint64]bool   // folders: a damaged volume may have one in itself
	names map[uint64]string // of files that have several: the first that was copied
	left  int64             // bytes that the volume's files can have yet
}

// leave copies one file, folder or link, and what is in it.
func (l *leaving) leave(from, to string) error {
	a, e := l.v.Stat(fs.TreeRef{Path: from})
	if e != 0 {
		return failed("stat", "/"+strings.TrimPrefix(from, "."), e)
	}
	var err error
	switch a.Mode & fs.S_IFMT {
	case fs.S_IFLNK:
		target, e := l.v.Readlink(from)
		if e != 0 {
			return failed("readlink", "/"+from, e)
		}
		if info, err := l.root.Lstat(to); err == nil && !info.IsDir() {
			l.root.Remove(to)
		}
		return l.root.Symlink(target, to)
	case fs.S_IFDIR:
		if l.seen[a.Ino] {
			return fmt.Errorf("/%s: a folder that is in two places; fsck can repair it", from)
		}
		l.seen[a.Ino] = true
		err = l.folder(from, to)
	default:
		err = l.file(from, to)
	}
	if err != nil {
		return err
	}
	if err := l.root.Chmod(to, os.FileMode(a.Mode&0o777)); err != nil {
		return err
	}
	return l.root.Chtimes(to, time.Unix(0, a.Atime), time.Unix(0, a.Mtime))
}

func (l *leaving) folder(from, to string) error {
	if err := l.root.Mkdir(to, 0o700); err != nil {
		if info, err2 := l.root.Lstat(to); err2 != nil || !info.IsDir() {
			return err
		}
	}
	h, _, e := l.v.FS.Open(from, fs.O_RDONLY|fs.O_DIRECTORY, 0)
	if e != 0 {
		return failed("open", "/"+from, e)
	}
	list, e := l.v.FS.List(h)
	l.v.FS.Close(h)
	if e != 0 {
		return failed("read", "/"+from, e)
	}
	for _, entry := range list {
		if err := l.leave(inside(from+"/"+entry.Name), path.Join(to, entry.Name)); err != nil {
			return err
		}
	}
	return nil
}

// link gives a file that was copied another name, in place of a file or link there.
func (l *leaving) link(ino uint64, to string) bool {
	first := l.names[ino]
	if first == "" {
		return false
	}
	if info, err := l.root.Lstat(to); err == nil && !info.IsDir() {
		l.root.Remove(to)
	}
	return l.root.Link(first, to) == nil
}

// file copies a file's contents; holes stay holes where they are long, and names of
// one file stay that where the host can link.
func (l *leaving) file(from, to string) (err error) {
	h, a, e := l.v.FS.Open(from, fs.O_RDONLY, 0)
	if e != 0 {
		return failed("open", "/"+from, e)
	}
	defer l.v.FS.Close(h)
	if a.Nlink > 1 {
		if l.link(a.Ino, to) {
			return nil
		}
		l.names[a.Ino] = to
	}
	if info, err := l.root.Lstat(to); err == nil && info.Mode().Type() == os.ModeSymlink {
		l.root.Remove(to)
	}
	out, err := l.root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	b := make([]byte, pieceSize)
	for off := int64(0); ; {
		if off, e = l.v.Seek(h, off, false); e == fs.ENXIO {
			return out.Truncate(a.Size)
		} else if e != 0 {
			return failed("read", "/"+from, e)
		}
		n, e := l.v.Read(h, b, off)
		if e != 0 {
			return failed("read", "/"+from, e)
		}
		if l.left -= int64(n); l.left < 0 {
			return fmt.Errorf("/%s: more data than the volume has room for; fsck can repair it", from)
		}
		if _, err := out.WriteAt(b[:n], off); err != nil {
			return err
		}
		off += int64(n)
	}
}
