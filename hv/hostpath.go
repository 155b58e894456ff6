package hv

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// guestPath copies a path and makes it relative to the folder.
func (vm *VM) guestPath(a hypercall.GVA, n uint64) (string, hypercall.Status) {
	text, s := vm.guestText(a, n)
	if s != 0 {
		return "", s
	}
	p := path.Clean("/" + text)[1:]
	if p == "" {
		p = "."
	}
	return p, 0
}

// guestText copies 1 to MaxPath bytes without NUL.
func (vm *VM) guestText(a hypercall.GVA, n uint64) (string, hypercall.Status) {
	if n == 0 || n > hypercall.MaxPath {
		return "", hypercall.ENAMETOOLONG
	}
	b := make([]byte, n)
	if s := vm.space.copyIn(b, uint64(a)); s != 0 {
		return "", s
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return "", hypercall.EINVAL
	}
	return string(b), 0
}

// hostPath does the operations on a path.
func (vm *VM) hostPath(root *os.Root, a *hypercall.HostFileArgs) int64 {
	name, s := vm.guestPath(a.Path, a.PathLen)
	if s != 0 {
		return failed(s)
	}
	switch a.Op {
	case hypercall.HostFileOpen:
		return vm.hostOpen(root, name, a)
	case hypercall.HostFileMkdir:
		perm, s := newPermissions(a.Mode)
		if s != 0 {
			return failed(s)
		}
		return fileStatus(makeDir(root, name, perm))
	case hypercall.HostFileRemove:
		return fileStatus(root.Remove(name))
	case hypercall.HostFileReadlink:
		target, err := root.Readlink(name)
		if err != nil {
			return fileStatus(err)
		}
		return vm.reply(a, []byte(target))
	case hypercall.HostFileRename, hypercall.HostFileLink, hypercall.HostFileSymlink:
		return vm.hostName(root, name, a)
	case hypercall.HostFileChmod:
		if _, s := permissions(a.Mode); s != 0 {
			return failed(s)
		}
		return fileStatus(chmod(root, name, a.Mode))
	case hypercall.HostFileSetTimes:
		t, s := vm.guestTimes(a)
		if s != 0 {
			return failed(s)
		}
		if a.Flags&hypercall.HostFileNOFOLLOW != 0 {
			return fileStatus(setLinkTimes(root, name, t))
		}
		return fileStatus(root.Chtimes(name, fileTime(t.ATime), fileTime(t.MTime)))
	case hypercall.HostFileStatfs:
		return vm.statfsPath(root, name, a)
	}
	st, err := root.Lstat(name)
	if err != nil {
		return fileStatus(err)
	}
	return vm.reply(a, attr(st))
}

// hostName does the operations that have a second name.
func (vm *VM) hostName(root *os.Root, name string, a *hypercall.HostFileArgs) int64 {
	if a.Op == hypercall.HostFileSymlink {
		target, s := vm.guestText(a.Buf, a.BufLen)
		if s != 0 {
			return failed(s)
		}
		return fileStatus(root.Symlink(target, name))
	}
	to, s := vm.guestPath(a.Buf, a.BufLen)
	switch {
	case s != 0:
		return failed(s)
	case a.Op == hypercall.HostFileLink:
		return fileStatus(root.Link(name, to))
	}
	return fileStatus(rename(root, name, to))
}

// inFolder calls f with the folder of a name, found by os.Root, and what the
// name is in it.
func inFolder(root *os.Root, name string, f func(dir int, base string) error) error {
	folder, err := root.OpenFile(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer folder.Close()
	withFD(folder, func(dir int) { err = f(dir, path.Base(name)) })
	return err
}

// setLinkTimes sets the times of what a name is, of a link its own: os.Root has
// nothing for that.
func setLinkTimes(root *os.Root, name string, t hypercall.HostFileTimes) error {
	return inFolder(root, name, func(dir int, base string) error {
		return unix.UtimesNanoAt(dir, base, timespecs(t.ATime, t.MTime), unix.AT_SYMLINK_NOFOLLOW)
	})
}

// rename is renameat(2) between folders that os.Root has found: its own Rename
// refuses to put a folder in an empty one's place.
func rename(root *os.Root, from, to string) error {
	return inFolder(root, from, func(old int, base string) error {
		return inFolder(root, to, func(dir int, name string) error { return unix.Renameat(old, base, dir, name) })
	})
}

// makeDir makes a folder with the permissions wanted, whatever the mask of this
// process is. They are set on the folder and not on its name: by then that may
// be a program's, which would inherit the folder's set-group-id bit.
func makeDir(root *os.Root, name string, perm fs.FileMode) error {
	if err := root.Mkdir(name, perm|0o400); err != nil {
		return err
	}
	f, err := root.OpenFile(name, unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Mode().Perm() == perm {
		return err
	}
	return setNewMode(f, st.Mode()&(fs.ModeSetgid|fs.ModeSticky)|perm)
}

// guestTimes copies the times of HostFileSetTimes.
func (vm *VM) guestTimes(a *hypercall.HostFileArgs) (t hypercall.HostFileTimes, s hypercall.Status) {
	if a.BufLen != uint64(len(bytesOf(&t))) {
		return t, hypercall.EINVAL
	}
	return t, vm.space.copyIn(bytesOf(&t), uint64(a.Buf))
}

// fileTime is a time as os.Root.Chtimes has it: the zero time is left alone.
func fileTime(ns int64) time.Time {
	if ns == hypercall.HostFileOmit {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

const openFlagsKnown = hypercall.HostFileWRONLY | hypercall.HostFileRDWR | hypercall.HostFileCREATE |
	hypercall.HostFileEXCL | hypercall.HostFileTRUNC | hypercall.HostFileAPPEND |
	hypercall.HostFileDIRECTORY | hypercall.HostFileNOFOLLOW

func (vm *VM) hostOpen(root *os.Root, name string, a *hypercall.HostFileArgs) int64 {
	if a.Flags&3 == 3 {
		return failed(hypercall.EINVAL)
	}
	if len(vm.files.open) >= maxHostFiles {
		return failed(hypercall.EMFILE)
	}
	perm, s := newPermissions(a.Mode)
	if s != 0 {
		return failed(s)
	}
	f, st, err := openFile(root, name, a.Flags, perm)
	if err != nil {
		return fileStatus(err)
	}
	if r := vm.reply(a, attr(st)); r < 0 {
		f.Close()
		return r
	}
	if vm.files.open == nil {
		vm.files.open = map[uint64]*hostHandle{}
	}
	vm.files.next++
	vm.files.open[vm.files.next] = &hostHandle{f: f, share: a.Share, access: a.Flags & 3}
	return int64(vm.files.next)
}

// openFile opens a regular file or a folder. A new file gets the permissions
// wanted, whatever the mask of this process is.
func openFile(root *os.Root, name string, flags uint32, perm fs.FileMode) (*os.File, fs.FileInfo, error) {
	const exclusive = hypercall.HostFileCREATE | hypercall.HostFileEXCL
	made := flags&exclusive == exclusive
	// os.Root follows links itself, so that O_NOFOLLOW has no effect with it.
	if !made && flags&(hypercall.HostFileNOFOLLOW|hypercall.HostFileCREATE) != 0 {
		st, err := root.Lstat(name)
		if err == nil && st.Mode()&fs.ModeSymlink != 0 && flags&hypercall.HostFileNOFOLLOW != 0 {
			return nil, nil, syscall.ELOOP
		}
		made = flags&hypercall.HostFileCREATE != 0 && errors.Is(err, fs.ErrNotExist)
	}
	// O_NONBLOCK keeps a FIFO in the folder from holding the machine up.
	f, err := root.OpenFile(name, int(flags)|syscall.O_NONBLOCK, perm)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() && !st.IsDir() {
		err = syscall.EACCES // devices and pipes of the host are not for the guest
	}
	if err == nil && made && st.Mode().Perm() != perm {
		if err = setNewMode(f, perm); err == nil {
			st, err = f.Stat()
		}
	}
	if err == nil && flags&(hypercall.HostFileWRONLY|hypercall.HostFileRDWR|hypercall.HostFileTRUNC) != 0 {
		st, err = dropSetID(f, st)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, st, nil
}
