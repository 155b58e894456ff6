package hv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// permissions are those of a mode. A guest must not make programs that run as
// the host's user for others.
func permissions(mode uint32) (fs.FileMode, hypercall.Status) {
	switch {
	case mode&^0o7777 != 0:
		return 0, hypercall.EINVAL
	case mode&(syscall.S_ISUID|syscall.S_ISGID) != 0:
		return 0, hypercall.EPERM
	}
	perm := fs.FileMode(mode & 0o777)
	if mode&syscall.S_ISVTX != 0 {
		perm |= fs.ModeSticky
	}
	return perm, 0
}

// newPermissions are those of a file or folder to be made.
func newPermissions(mode uint32) (fs.FileMode, hypercall.Status) {
	perm, s := permissions(mode)
	if s == 0 && perm&fs.ModeSticky != 0 {
		return 0, hypercall.EINVAL
	}
	return perm, s
}

// setNewMode gives permissions to what has just been made. It stays as it is
// on a file system that has none, or the call would fail with its work done.
func setNewMode(f *os.File, mode fs.FileMode) error {
	err := f.Chmod(mode)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

// dropSetID takes the set-id bits from a program that the guest is about to
// change. Linux does so at the first write, but not for root.
func dropSetID(f *os.File, st fs.FileInfo) (fs.FileInfo, error) {
	const setID = fs.ModeSetuid | fs.ModeSetgid
	if !st.Mode().IsRegular() || st.Mode()&setID == 0 {
		return st, nil
	}
	if err := f.Chmod(st.Mode() &^ setID); err != nil {
		return nil, err
	}
	return f.Stat()
}

// maxLinks is how many links chmod follows one after the other, as Linux does.
const maxLinks = 40

// chmod sets the mode of what is at the end of a path. It is set on the file
// that was looked at and not on its name, which may be a link by then, and needs
// no right to read the file or to write it.
func chmod(root *os.Root, name string, mode uint32) error {
	for range maxLinks {
		// Of a link this opens the link, since os.Root adds O_NOFOLLOW.
		f, err := root.OpenFile(name, unix.O_PATH, 0)
		if err != nil {
			return err
		}
		target, err := chmodFile(f, mode)
		f.Close()
		switch {
		case target == "":
			return err
		case path.IsAbs(target):
			name = target // which os.Root refuses
		default:
			name = path.Dir(name) + "/" + target // not clean: a part may be a link
		}
	}
	return syscall.ELOOP
}

// chmodFile sets the mode of a file opened with O_PATH, or says where the link
// that it is leads.
func chmodFile(f *os.File, mode uint32) (target string, err error) {
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	withFD(f, func(fd int) {
		if st.Mode()&fs.ModeSymlink != 0 {
			b := make([]byte, hypercall.MaxPath)
			var n int
			n, err = unix.Readlinkat(fd, "", b)
			target = string(b[:max(n, 0)])
			return
		}
		file := fmt.Sprintf("/proc/self/fd/%d", fd)
		err = retried(func() error { return unix.Fchmodat(unix.AT_FDCWD, file, mode, 0) })
		if err == unix.ENOENT {
			err = unix.ENOTSUP // there is no /proc
		}
	})
	return target, err
}
