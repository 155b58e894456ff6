package hv

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"github.com/pvrun/pvrun/hypercall"
)

// hostFiles are the files that the guest has open in the shared folder. All
// paths go through os.Root, which never leaves it.
type hostFiles struct {
	open map[uint64]*hostHandle
	next uint64
}

type hostHandle struct {
	f       *os.File
	entries []fs.DirEntry // of a directory, read and not yet told
	appends bool          // opened with HostFileAPPEND: writes go to the end
}

// maxHostFiles bounds what one guest may have open.
const maxHostFiles = 1024

func (h *hostFiles) close() error {
	var all []error
	for _, f := range h.open {
		all = append(all, f.f.Close())
	}
	h.open = nil
	return errors.Join(all...)
}

// hostFile does one operation on the shared folder.
func (vm *VM) hostFile(a callArgs) int64 {
	var args hypercall.HostFileArgs
	if s := vm.tables.copyIn(bytesOf(&args), a[0]); s != 0 {
		return failed(s)
	}
	if vm.cfg.HostShare == nil {
		return failed(hypercall.ENOSYS)
	}
	if args.Op == 0 || args.Op >= hypercall.HostFileEnd || args.Share != 0 || args.BufLen > hypercall.MaxConsole || args.Offset < 0 {
		return failed(hypercall.EINVAL)
	}
	if !vm.cfg.HostShareWritable && changesFiles(&args) {
		return failed(hypercall.EROFS)
	}
	if takesPath(&args) {
		return vm.hostPath(&args)
	}
	h := vm.files.open[args.Handle]
	if h == nil {
		return failed(hypercall.EBADF)
	}
	return vm.hostHandle(h, &args)
}

func changesFiles(a *hypercall.HostFileArgs) bool {
	switch a.Op {
	case hypercall.HostFileOpen:
		return a.Flags&(hypercall.HostFileWRONLY|hypercall.HostFileRDWR|hypercall.HostFileCREATE|hypercall.HostFileTRUNC) != 0
	case hypercall.HostFileWrite, hypercall.HostFileTruncate, hypercall.HostFileMkdir,
		hypercall.HostFileRemove, hypercall.HostFileRename:
		return true
	}
	return false
}

func takesPath(a *hypercall.HostFileArgs) bool {
	switch a.Op {
	case hypercall.HostFileOpen, hypercall.HostFileMkdir, hypercall.HostFileRemove,
		hypercall.HostFileRename, hypercall.HostFileReadlink:
		return true
	case hypercall.HostFileStat:
		return a.PathLen != 0
	}
	return false
}

// guestPath copies a path and makes it relative to the folder.
func (vm *VM) guestPath(a hypercall.GVA, n uint64) (string, hypercall.Status) {
	if n == 0 || n > hypercall.MaxPath {
		return "", hypercall.ENAMETOOLONG
	}
	b := make([]byte, n)
	if s := vm.tables.copyIn(b, uint64(a)); s != 0 {
		return "", s
	}
	for _, c := range b {
		if c == 0 {
			return "", hypercall.EINVAL
		}
	}
	p := path.Clean("/" + string(b))[1:]
	if p == "" {
		p = "."
	}
	return p, 0
}

func (vm *VM) hostPath(a *hypercall.HostFileArgs) int64 {
	name, s := vm.guestPath(a.Path, a.PathLen)
	if s != 0 {
		return failed(s)
	}
	root := vm.cfg.HostShare
	switch a.Op {
	case hypercall.HostFileOpen:
		return vm.hostOpen(name, a)
	case hypercall.HostFileMkdir:
		return fileStatus(root.Mkdir(name, os.FileMode(a.Mode&0o777)))
	case hypercall.HostFileRemove:
		return fileStatus(root.Remove(name))
	case hypercall.HostFileReadlink:
		target, err := root.Readlink(name)
		if err != nil {
			return fileStatus(err)
		}
		return vm.reply(a, []byte(target))
	case hypercall.HostFileRename:
		to, s := vm.guestPath(a.Buf, a.BufLen)
		if s != 0 {
			return failed(s)
		}
		return fileStatus(root.Rename(name, to))
	}
	st, err := root.Lstat(name)
	if err != nil {
		return fileStatus(err)
	}
	return vm.reply(a, attr(st))
}

// reply copies an answer to the guest's buffer, cut to its size.
func (vm *VM) reply(a *hypercall.HostFileArgs, b []byte) int64 {
	b = b[:min(uint64(len(b)), a.BufLen)]
	if s := vm.tables.copyOut(uint64(a.Buf), b); s != 0 {
		return failed(s)
	}
	return int64(len(b))
}

const openFlagsKnown = hypercall.HostFileWRONLY | hypercall.HostFileRDWR | hypercall.HostFileCREATE |
	hypercall.HostFileEXCL | hypercall.HostFileTRUNC | hypercall.HostFileAPPEND | hypercall.HostFileNOFOLLOW

func (vm *VM) hostOpen(name string, a *hypercall.HostFileArgs) int64 {
	if a.Flags&^openFlagsKnown != 0 || a.Flags&3 == 3 {
		return failed(hypercall.EINVAL)
	}
	if len(vm.files.open) >= maxHostFiles {
		return failed(hypercall.EMFILE)
	}
	// os.Root follows links itself, so that O_NOFOLLOW has no effect with it.
	if a.Flags&hypercall.HostFileNOFOLLOW != 0 {
		if st, err := vm.cfg.HostShare.Lstat(name); err == nil && st.Mode()&fs.ModeSymlink != 0 {
			return failed(hypercall.ELOOP)
		}
	}
	// O_NONBLOCK keeps a FIFO in the folder from holding the machine up.
	f, err := vm.cfg.HostShare.OpenFile(name, int(a.Flags)|syscall.O_NONBLOCK, os.FileMode(a.Mode&0o777))
	if err != nil {
		return fileStatus(err)
	}
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() && !st.IsDir() {
		f.Close()
		return failed(hypercall.EACCES) // devices and pipes of the host are not for the guest
	}
	if vm.files.open == nil {
		vm.files.open = map[uint64]*hostHandle{}
	}
	vm.files.next++
	vm.files.open[vm.files.next] = &hostHandle{f: f, appends: a.Flags&hypercall.HostFileAPPEND != 0}
	return int64(vm.files.next)
}

func (vm *VM) hostHandle(h *hostHandle, a *hypercall.HostFileArgs) int64 {
	switch a.Op {
	case hypercall.HostFileClose:
		delete(vm.files.open, a.Handle)
		return fileStatus(h.f.Close())
	case hypercall.HostFileRead, hypercall.HostFileWrite:
		return vm.hostTransfer(h, a)
	case hypercall.HostFileTruncate:
		return fileStatus(h.f.Truncate(a.Offset))
	case hypercall.HostFileSync:
		return fileStatus(h.f.Sync())
	case hypercall.HostFileReaddir:
		return vm.hostReaddir(h, a)
	}
	st, err := h.f.Stat()
	if err != nil {
		return fileStatus(err)
	}
	return vm.reply(a, attr(st))
}

// hostTransfer reads or writes at an offset, or writes at the end of a file
// opened to append, straight to or from guest memory.
func (vm *VM) hostTransfer(h *hostHandle, a *hypercall.HostFileArgs) (n int64) {
	reads := a.Op == hypercall.HostFileRead
	pieces, s := vm.tables.slices(uint64(a.Buf), a.BufLen, reads)
	if s != 0 {
		return failed(s)
	}
	do := h.f.WriteAt
	switch {
	case reads:
		do = h.f.ReadAt
	case h.appends:
		do = func(b []byte, _ int64) (int, error) { return h.f.Write(b) }
	}
	for _, p := range pieces {
		m, err := do(p, a.Offset+n)
		n += int64(m)
		if err == io.EOF || m < len(p) && n > 0 {
			return n
		}
		if err != nil {
			return fileStatus(err)
		}
	}
	return n
}

// readdirStep is how many entries are held for one handle: a folder may have
// millions, and a guest a thousand handles.
const readdirStep = 128

// hostReaddir fills the buffer with whole records.
func (vm *VM) hostReaddir(h *hostHandle, a *hypercall.HostFileArgs) int64 {
	var out []byte
	for {
		if len(h.entries) == 0 {
			list, err := h.f.ReadDir(readdirStep)
			if err != nil && err != io.EOF && len(out) == 0 {
				return fileStatus(err)
			}
			if h.entries = list; len(list) == 0 {
				break
			}
		}
		r := direntRecord(h.entries[0])
		if uint64(len(out)+len(r)) > a.BufLen {
			break
		}
		out = append(out, r...)
		h.entries = h.entries[1:]
	}
	if len(out) == 0 && len(h.entries) > 0 {
		return failed(hypercall.EINVAL)
	}
	return vm.reply(a, out)
}

func direntRecord(d fs.DirEntry) []byte {
	head := hypercall.HostFileDirent{Type: linuxMode(d.Type()) & syscall.S_IFMT, NameLen: uint32(len(d.Name()))}
	if info, err := d.Info(); err == nil {
		head.Ino = info.Sys().(*syscall.Stat_t).Ino
	}
	b := append([]byte(nil), bytesOf(&head)...)
	b = append(b, d.Name()...)
	return append(b, make([]byte, -len(b)&7)...)
}

func attr(st fs.FileInfo) []byte {
	sys := st.Sys().(*syscall.Stat_t)
	a := hypercall.HostFileAttr{
		Size: sys.Size, Blocks: sys.Blocks,
		ATime: sys.Atim.Nano(), MTime: sys.Mtim.Nano(), CTime: sys.Ctim.Nano(),
		Ino: sys.Ino, Dev: sys.Dev, Rdev: sys.Rdev,
		Mode: sys.Mode, NLink: uint32(sys.Nlink), UID: sys.Uid, GID: sys.Gid,
	}
	return append([]byte(nil), bytesOf(&a)...)
}

func linuxMode(m fs.FileMode) uint32 {
	switch {
	case m&fs.ModeDir != 0:
		return syscall.S_IFDIR
	case m&fs.ModeSymlink != 0:
		return syscall.S_IFLNK
	case m&fs.ModeNamedPipe != 0:
		return syscall.S_IFIFO
	case m&fs.ModeSocket != 0:
		return syscall.S_IFSOCK
	case m&fs.ModeCharDevice != 0:
		return syscall.S_IFCHR
	case m&fs.ModeDevice != 0:
		return syscall.S_IFBLK
	}
	return syscall.S_IFREG
}

// fileStatus turns an error of package os into a call's result.
func fileStatus(err error) int64 {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return -int64(errno)
	case errors.Is(err, fs.ErrNotExist):
		return failed(hypercall.ENOENT)
	case errors.Is(err, fs.ErrExist):
		return failed(hypercall.EEXIST)
	}
	return failed(hypercall.EACCES) // os.Root: the path leaves the folder
}
