package fs

import (
	"os"
	"sync"
	"syscall"
	"testing"
	"unsafe"
)

// folder is a share over a folder of the machine that tests run on. It counts
// what it is asked.
type folder struct {
	t   testing.TB
	top string

	mu    sync.Mutex
	calls map[string]int
	fds   map[uint64]*os.File
	last  uint64
	room  int // handles it gives out at once; 0 for no limit

	unmapped bool // it maps no files
	data     int  // syncs of the data only
}

func newFolder(t testing.TB, top string) *folder {
	return &folder{t: t, top: top, calls: map[string]int{}, fds: map[uint64]*os.File{}}
}

func (h *folder) count(call string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls[call]++
}

// asked is the calls made since the last look.
func (h *folder) asked() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	calls := h.calls
	h.calls = map[string]int{}
	return calls
}

func (h *folder) at(path string) string { return h.top + "/" + path }

func (h *folder) file(handle uint64) *os.File {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.fds[handle]
	if f == nil {
		h.t.Errorf("handle %d is not open", handle)
	}
	return f
}

func errno(err error) Errno {
	for {
		switch e := err.(type) {
		case nil:
			return 0
		case syscall.Errno:
			return Errno(e)
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		default:
			return EIO
		}
	}
}

func hostAttr(st *syscall.Stat_t) TreeAttr {
	return TreeAttr{
		Size: st.Size, Blocks: st.Blocks, Atime: st.Atim.Nano(), Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
		Ino: st.Ino, Dev: st.Dev, Rdev: st.Rdev, Mode: st.Mode, Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid,
	}
}

func (h *folder) Open(path string, flags int, perm uint32) (uint64, TreeAttr, Errno) {
	h.count("open")
	h.mu.Lock()
	full := h.room != 0 && len(h.fds) >= h.room
	h.mu.Unlock()
	if full {
		return 0, TreeAttr{}, EMFILE
	}
	var st syscall.Stat_t
	err := syscall.Lstat(h.at(path), &st)
	const exclusive = O_CREAT | O_EXCL
	if err == nil && st.Mode&S_IFMT == S_IFLNK && flags&exclusive != exclusive {
		return 0, TreeAttr{}, ELOOP
	}
	fd, err := syscall.Open(h.at(path), flags|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC, perm)
	if err != nil {
		return 0, TreeAttr{}, errno(err)
	}
	if syscall.Fstat(fd, &st); st.Mode&S_IFMT != S_IFREG && st.Mode&S_IFMT != S_IFDIR {
		syscall.Close(fd)
		return 0, TreeAttr{}, EACCES
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	h.fds[h.last] = os.NewFile(uintptr(fd), h.at(path))
	return h.last, hostAttr(&st), 0
}

func (h *folder) Close(handle uint64) Errno {
	h.count("close")
	f := h.file(handle)
	h.mu.Lock()
	delete(h.fds, handle)
	h.mu.Unlock()
	return errno(f.Close())
}

func (h *folder) Read(handle uint64, b []byte, off int64) (int, Errno) {
	h.count("read")
	n, err := syscall.Pread(int(h.file(handle).Fd()), b, off)
	return max(n, 0), errno(err)
}

func (h *folder) Write(handle uint64, b []byte, off int64) (int, Errno) {
	h.count("write")
	n, err := syscall.Pwrite(int(h.file(handle).Fd()), b, off)
	return max(n, 0), errno(err)
}

func (h *folder) Truncate(handle uint64, size int64) Errno {
	h.count("truncate")
	return errno(syscall.Ftruncate(int(h.file(handle).Fd()), size))
}

func (h *folder) Sync(handle uint64, dataOnly bool) Errno {
	h.count("sync")
	if dataOnly {
		h.mu.Lock()
		h.data++
		h.mu.Unlock()
	}
	return errno(h.file(handle).Sync())
}

func (h *folder) List(handle uint64) ([]TreeEntry, Errno) {
	h.count("list")
	list, err := h.file(handle).ReadDir(-1)
	var all []TreeEntry
	for _, d := range list {
		if info, err := d.Info(); err == nil {
			st := info.Sys().(*syscall.Stat_t)
			all = append(all, TreeEntry{d.Name(), st.Ino, st.Mode & S_IFMT})
		}
	}
	return all, errno(err)
}

func (h *folder) Stat(r TreeRef) (TreeAttr, Errno) {
	h.count("stat")
	var st syscall.Stat_t
	if r.Handle != 0 {
		err := syscall.Fstat(int(h.file(r.Handle).Fd()), &st)
		return hostAttr(&st), errno(err)
	}
	err := syscall.Lstat(h.at(r.Path), &st)
	return hostAttr(&st), errno(err)
}

func (h *folder) Chmod(r TreeRef, perm uint32) Errno {
	h.count("chmod")
	if r.Handle != 0 {
		return errno(syscall.Fchmod(int(h.file(r.Handle).Fd()), perm))
	}
	return errno(syscall.Chmod(h.at(r.Path), perm))
}

func (h *folder) SetTimes(r TreeRef, ns [2]int64, set [2]bool) Errno {
	h.count("times")
	var ts [2]syscall.Timespec
	for i := range ts {
		if ts[i] = syscall.NsecToTimespec(ns[i]); !set[i] {
			ts[i] = syscall.Timespec{Nsec: UTIME_OMIT}
		}
	}
	fd, path, flags := AT_FDCWD, uintptr(0), uintptr(0)
	if r.Handle != 0 {
		fd = int(h.file(r.Handle).Fd())
	} else {
		flags = AT_SYMLINK_NOFOLLOW
		p, _ := syscall.BytePtrFromString(h.at(r.Path))
		path = uintptr(unsafe.Pointer(p))
	}
	_, _, e := syscall.Syscall6(syscall.SYS_UTIMENSAT, uintptr(fd), path, uintptr(unsafe.Pointer(&ts)), flags, 0, 0)
	return Errno(e)
}

func (h *folder) Mkdir(path string, perm uint32) Errno {
	h.count("mkdir")
	return errno(syscall.Mkdir(h.at(path), perm))
}

func (h *folder) Remove(path string) Errno {
	h.count("remove")
	return errno(os.Remove(h.at(path)))
}

func (h *folder) Rename(old, new string) Errno {
	h.count("rename")
	return errno(syscall.Rename(h.at(old), h.at(new)))
}

func (h *folder) Link(old, new string) Errno {
	h.count("link")
	return errno(syscall.Link(h.at(old), h.at(new)))
}

func (h *folder) Symlink(target, path string) Errno {
	h.count("symlink")
	return errno(syscall.Symlink(target, h.at(path)))
}

func (h *folder) Readlink(path string) (string, Errno) {
	h.count("readlink")
	s, err := os.Readlink(h.at(path))
	return s, errno(err)
}

func (h *folder) Allocate(handle uint64, mode int, off, n int64) Errno {
	h.count("allocate")
	return errno(syscall.Fallocate(int(h.file(handle).Fd()), uint32(mode), off, n))
}

func (h *folder) Seek(handle uint64, off int64, hole bool) (int64, Errno) {
	h.count("seek")
	whence := SEEK_DATA
	if hole {
		whence = SEEK_HOLE
	}
	to, err := syscall.Seek(int(h.file(handle).Fd()), off, whence)
	return to, errno(err)
}

func (h *folder) Lock(handle uint64, l TreeLock) Errno {
	h.count("lock")
	fd := int(h.file(handle).Fd())
	if l.Whole {
		how := map[int]int{F_RDLCK: LOCK_SH, F_WRLCK: LOCK_EX, F_UNLCK: LOCK_UN}[l.Type]
		return errno(syscall.Flock(fd, how|LOCK_NB))
	}
	fl := syscall.Flock_t{Type: int16(l.Type), Start: l.Off, Len: l.N}
	return errno(syscall.FcntlFlock(uintptr(fd), F_OFD_SETLK, &fl))
}

// Map is a real mapping of Linux's, or ENODEV for a tree that has none.
func (h *folder) Map(handle uint64, addr uintptr, n uint64, off int64, prot int) Errno {
	h.count("map")
	if h.unmapped {
		return ENODEV
	}
	_, _, e := syscall.Syscall6(syscall.SYS_MMAP, addr, uintptr(n), uintptr(prot),
		syscall.MAP_SHARED|syscall.MAP_FIXED, h.file(handle).Fd(), uintptr(off))
	return Errno(e)
}

func (h *folder) Statfs(r TreeRef) (Statfs, Errno) {
	h.count("statfs")
	path := h.at(r.Path)
	if r.Handle != 0 {
		path = h.file(r.Handle).Name()
	}
	var st syscall.Statfs_t
	err := syscall.Statfs(path, &st)
	return Statfs{Bsize: st.Bsize, Frsize: st.Frsize, Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail,
		Files: st.Files, Ffree: st.Ffree, Namelen: st.Namelen}, errno(err)
}

func (h *folder) Chown(TreeRef, uint32, uint32) Errno { h.count("chown"); return EPERM }
