package hv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// hostFiles are the files that the guest has open in the shared folders. All
// paths go through os.Root, which never leaves its folder.
type hostFiles struct {
	open map[uint64]*hostHandle
	next uint64
	win  *window // where the guest sees files that it maps; nil before the first
}

type hostHandle struct {
	f       *os.File
	share   uint32
	entries []byte // of a directory, read and not yet told
	access  uint32 // HostFileRDONLY, HostFileWRONLY or HostFileRDWR
}

// maxHostFiles bounds what one guest may have open.
const maxHostFiles = 4096

func (h *hostFiles) close() error {
	var all []error
	for _, f := range h.open {
		all = append(all, f.f.Close())
	}
	h.open = nil
	all = append(all, h.win.close())
	h.win = nil
	return errors.Join(all...)
}

// hostFile does one operation on a shared folder.
func (vm *VM) hostFile(a callArgs) int64 {
	var args hypercall.HostFileArgs
	if s := vm.space.copyIn(bytesOf(&args), a[0]); s != 0 {
		return failed(s)
	}
	shares := vm.cfg.Shares
	if len(shares) == 0 {
		return failed(hypercall.ENOSYS)
	}
	if s := checkFile(shares, &args); s != 0 {
		return failed(s)
	}
	if takesPath(&args) {
		return vm.hostPath(shares[args.Share].Root, &args)
	}
	h := vm.files.open[args.Handle]
	if h == nil || h.share != args.Share {
		return failed(hypercall.EBADF)
	}
	return vm.hostHandle(h, &args)
}

// checkFile looks at what is the same for all operations, by the call or the ring.
func checkFile(shares []Share, a *hypercall.HostFileArgs) hypercall.Status {
	switch {
	case a.Op == 0 || a.Op >= hypercall.HostFileEnd || a.BufLen > hypercall.MaxConsole || a.Offset < 0,
		uint64(a.Share) >= uint64(len(shares)), a.Flags&^flagsKnown(a.Op) != 0, a.Length != 0 && !takesLength(a.Op):
		return hypercall.EINVAL
	case !shares[a.Share].Writable && changesFiles(a):
		return hypercall.EROFS
	}
	return 0
}

// changesFiles names what leaves a folder as it is; all else changes it.
func changesFiles(a *hypercall.HostFileArgs) bool {
	switch a.Op {
	case hypercall.HostFileOpen:
		return a.Flags&(hypercall.HostFileWRONLY|hypercall.HostFileRDWR|hypercall.HostFileCREATE|hypercall.HostFileTRUNC) != 0
	case hypercall.HostFileClose, hypercall.HostFileRead, hypercall.HostFileStat,
		hypercall.HostFileReaddir, hypercall.HostFileSync, hypercall.HostFileReadlink,
		hypercall.HostFileStatfs, hypercall.HostFileSeek, hypercall.HostFileLock, hypercall.HostFileMap:
		return false // of a map, the handle says whether it may be written
	}
	return true
}

// takesPath names what works on handles; all else takes a path.
func takesPath(a *hypercall.HostFileArgs) bool {
	switch a.Op {
	case hypercall.HostFileClose, hypercall.HostFileRead, hypercall.HostFileWrite,
		hypercall.HostFileReaddir, hypercall.HostFileTruncate, hypercall.HostFileSync,
		hypercall.HostFileAllocate, hypercall.HostFileSeek, hypercall.HostFileMap, hypercall.HostFileLock:
		return false
	case hypercall.HostFileStat, hypercall.HostFileChmod, hypercall.HostFileSetTimes, hypercall.HostFileStatfs:
		return a.PathLen != 0
	}
	return true
}

// reply copies an answer to the guest's buffer, cut to its size.
func (vm *VM) reply(a *hypercall.HostFileArgs, b []byte) int64 {
	b = b[:min(uint64(len(b)), a.BufLen)]
	if s := vm.space.copyOut(uint64(a.Buf), b); s != 0 {
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
		defer vm.block.hush()()
		return h.sync(a)
	case hypercall.HostFileAllocate:
		return h.allocate(a)
	case hypercall.HostFileSeek:
		return h.seek(a)
	case hypercall.HostFileLock:
		return h.lock(a)
	case hypercall.HostFileMap:
		return failed(vm.hostMap(h, a))
	case hypercall.HostFileStatfs:
		return vm.statfs(h.f, a)
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
		withFD(h.f, func(fd int) {
			err = retried(func() error { return setFileTimes(fd, t.ATime, t.MTime) })
		})
		return fileStatus(err)
	}
	st, err := h.f.Stat()
	if err != nil {
		return fileStatus(err)
	}
	return vm.reply(a, attr(st))
}

// hostTransfer reads or writes at an offset, or writes at the end of a file
// opened to append, straight to or from guest memory, with one system call.
func (vm *VM) hostTransfer(h *hostHandle, a *hypercall.HostFileArgs) (n int64) {
	reads := a.Op == hypercall.HostFileRead
	pieces, s := vm.space.slices(uint64(a.Buf), a.BufLen, reads)
	if s != 0 {
		return failed(s)
	}
	if len(pieces) == 0 {
		return 0
	}
	// Linux appends whatever the offset is (pwrite(2), "BUGS"). Less than all is told
	// as it is: what stopped it is the next call's error.
	err := h.call(func(fd int) (e error) {
		var done int
		if reads {
			done, e = unix.Preadv(fd, pieces, a.Offset)
		} else {
			done, e = unix.Pwritev(fd, pieces, a.Offset)
		}
		n = int64(done)
		return e
	})
	if err != nil {
		return fileStatus(err)
	}
	return n
}

// readdirStep is how much of a folder is held for one handle, in bytes: a
// folder may have millions of entries, and a guest a thousand handles.
const readdirStep = 8 << 10

// hostReaddir fills the buffer with whole records.
func (vm *VM) hostReaddir(h *hostHandle, a *hypercall.HostFileArgs) int64 {
	var out []byte
	for {
		if len(h.entries) == 0 {
			if err := h.readEntries(); err != nil && len(out) == 0 {
				return fileStatus(err)
			}
			if len(h.entries) == 0 {
				break
			}
		}
		r, rest := h.record()
		if uint64(len(out)+len(r)) > a.BufLen {
			break
		}
		out, h.entries = append(out, r...), rest
	}
	if len(out) == 0 && len(h.entries) > 0 {
		return failed(hypercall.EINVAL)
	}
	return vm.reply(a, out)
}

// readEntries reads some entries as the kernel has them: package os would ask
// for the inode number of each.
func (h *hostHandle) readEntries() (err error) {
	b := make([]byte, readdirStep)
	withFD(h.f, func(fd int) {
		var n int
		err = retried(func() (e error) { n, e = unix.Getdents(fd, b); return e })
		if err == nil {
			h.entries = b[:n]
		}
	})
	return err
}

// record is the first entry as the guest gets it, none for "." and "..", and the
// entries after it. Entries are struct linux_dirent64 (getdents(2)).
func (h *hostHandle) record() (record, rest []byte) {
	le := binary.LittleEndian
	n := int(le.Uint16(h.entries[16:]))
	e, rest := h.entries[:n], h.entries[n:]
	name := e[19:]
	name = name[:bytes.IndexByte(name, 0)]
	if string(name) == "." || string(name) == ".." {
		return nil, rest
	}
	head := hypercall.HostFileDirent{Ino: le.Uint64(e), Type: uint32(e[18]) << 12, NameLen: uint32(len(name))}
	if head.Type == 0 {
		head.Type = h.typeOf(string(name))
	}
	record = append(record, bytesOf(&head)...)
	record = append(record, name...)
	return append(record, make([]byte, -len(record)&7)...), rest
}

// typeOf asks for what a file system does not say with the name.
func (h *hostHandle) typeOf(name string) uint32 {
	var st unix.Stat_t
	withFD(h.f, func(fd int) {
		_ = retried(func() error { return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	})
	return st.Mode & unix.S_IFMT
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

// fileStatus turns an error of package os into a call's result.
func fileStatus(err error) int64 {
	if err == nil {
		return 0 // errno below is on the heap
	}
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return -int64(errno)
	case errors.Is(err, fs.ErrNotExist):
		return failed(hypercall.ENOENT)
	case errors.Is(err, fs.ErrExist):
		return failed(hypercall.EEXIST)
	}
	return failed(hypercall.EACCES) // os.Root: the path leaves the folder
}

// retried makes a system call until no signal gets in its way: one comes to the
// vCPU's thread every 10 ms.
func retried(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
