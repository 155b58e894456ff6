package sys

import (
	"unsafe"

	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
)

// Allocate's modes are Linux's on both sides.
func (s hostFiles) Allocate(handle uint64, mode int, off, n int64) fs.Errno {
	c := s.begin(hypercall.HostFileAllocate).ref(fs.TreeRef{Handle: handle})
	c.args.Flags, c.args.Offset, c.args.Length = uint32(mode), off, uint64(n)
	return c.end()
}

func (s hostFiles) Seek(handle uint64, off int64, hole bool) (int64, fs.Errno) {
	c := s.begin(hypercall.HostFileSeek).ref(fs.TreeRef{Handle: handle})
	if c.args.Offset = off; hole {
		c.args.Flags = hypercall.HostFileHole
	}
	at, e := c.ask()
	c.done()
	return int64(at), e
}

func (s hostFiles) Lock(handle uint64, l fs.TreeLock) fs.Errno {
	c := s.begin(hypercall.HostFileLock).ref(fs.TreeRef{Handle: handle})
	c.args.Offset, c.args.Length = l.Off, uint64(l.N)
	switch l.Type {
	case fs.F_RDLCK:
		c.args.Flags = hypercall.HostFileLockShared
	case fs.F_WRLCK:
		c.args.Flags = hypercall.HostFileLockExclusive
	default:
		c.args.Flags = hypercall.HostFileUnlock
	}
	if l.Whole {
		c.args.Flags |= hypercall.HostFileLockWhole
	}
	return c.end()
}

func (s hostFiles) Map(handle uint64, addr uintptr, n uint64, off int64, prot int) fs.Errno {
	c := s.begin(hypercall.HostFileMap).ref(fs.TreeRef{Handle: handle})
	c.args.Buf, c.args.Length, c.args.Offset = hypercall.GVA(addr), n, off
	c.args.Flags = uint32(mapFlags(prot))
	return c.end()
}

func (s hostFiles) Statfs(r fs.TreeRef) (fs.Statfs, fs.Errno) {
	c := s.begin(hypercall.HostFileStatfs).ref(r)
	defer c.done()
	c.args.Buf, c.args.BufLen = gva(unsafe.Pointer(&c.room)), uint64(unsafe.Sizeof(c.room))
	if _, e := c.ask(); e != 0 {
		return fs.Statfs{}, e
	}
	f := &c.room
	return fs.Statfs{
		Bsize: int64(f.BlockSize), Frsize: int64(f.BlockSize), Namelen: int64(f.NameMax),
		Blocks: f.Blocks, Bfree: f.BlocksFree, Bavail: f.BlocksAvail, Files: f.Files, Ffree: f.FilesFree,
	}, 0
}
