package hv

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/pvrun/pvrun/hypercall"
)

// hostFiles are the files that the guest has open in the shared folders. All
// paths go through os.Root, which never leaves its folder.
type hostFiles struct {
	open map[uint64]*hostHandle
	next uint64
}

type hostHandle struct {
	f       *os.File
	share   uint32
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

// hostFile does one operation on a shared folder.
func (vm *VM) hostFile(a callArgs) int64 {
	var args hypercall.HostFileArgs
	if s := vm.tables.copyIn(bytesOf(&args), a[0]); s != 0 {
		return failed(s)
	}
	shares := vm.cfg.Shares
	switch {
	case len(shares) == 0:
		return failed(hypercall.ENOSYS)
	case args.Op == 0 || args.Op >= hypercall.HostFileEnd || args.BufLen > hypercall.MaxConsole || args.Offset < 0,
		uint64(args.Share) >= uint64(len(shares)):
		return failed(hypercall.EINVAL)
	case !shares[args.Share].Writable && changesFiles(&args):
		return failed(hypercall.EROFS)
	case takesPath(&args):
		return vm.hostPath(shares[args.Share].Root, &args)
	}
	h := vm.files.open[args.Handle]
	if h == nil || h.share != args.Share {
		return failed(hypercall.EBADF)
	}
	return vm.hostHandle(h, &args)
}

// changesFiles names what leaves a folder as it is; all else changes it.
func changesFiles(a *hypercall.HostFileArgs) bool {
	switch a.Op {
	case hypercall.HostFileOpen:
		return a.Flags&(hypercall.HostFileWRONLY|hypercall.HostFileRDWR|hypercall.HostFileCREATE|hypercall.HostFileTRUNC) != 0
	case hypercall.HostFileClose, hypercall.HostFileRead, hypercall.HostFileStat,
		hypercall.HostFileReaddir, hypercall.HostFileSync, hypercall.HostFileReadlink:
		return false
	}
	return true
}

// takesPath names what works on handles; all else takes a path.
func takesPath(a *hypercall.HostFileArgs) bool {
	switch a.Op {
	case hypercall.HostFileClose, hypercall.HostFileRead, hypercall.HostFileWrite,
		hypercall.HostFileReaddir, hypercall.HostFileTruncate, hypercall.HostFileSync:
		return false
	case hypercall.HostFileStat, hypercall.HostFileChmod, hypercall.HostFileSetTimes:
		return a.PathLen != 0
	}
	return true
}

// reply copies an answer to the guest's buffer, cut to its size.
func (vm *VM) reply(a *hypercall.HostFileArgs, b []byte) int64 {
	b = b[:min(uint64(len(b)), a.BufLen)]
	if s := vm.tables.copyOut(uint64(a.Buf), b); s != 0 {
		return failed(s)
	}
	return int64(len(b))
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
	case hypercall.HostFileChmod:
		mode, s := permissions(a.Mode)
		if s != 0 {
			return failed(s)
		}
		return fileStatus(h.f.Chmod(mode))
	case hypercall.HostFileSetTimes:
		t, s := vm.guestTimes(a)
		if s != 0 {
			return failed(s)
		}
		var err error
		withFD(h.f, func(fd int) { err = setFileTimes(fd, t.ATime, t.MTime) })
		return fileStatus(err)
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
