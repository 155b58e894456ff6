package sys

import (
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
)

// Protections and flags of mmap. Linux's include/uapi/asm-generic/mman-common.h.
const (
	protRead  = 1
	protWrite = 2
	protExec  = 4

	mapShared         = 1
	mapPrivate        = 2
	mapSharedValidate = 3
	mapType           = 0xf
	mapFixed          = 0x10
	mapAnonymous      = 0x20
	mapFixedNoreplace = 0x100000
)

// memoryCall does the calls on the address space.
func memoryCall(trap uintptr, a *args) (int, fs.Errno, bool) {
	switch trap {
	case sys_mmap:
		return gave(mmap(a))
	case sys_munmap:
		files().Unmap(a.v[0], uint64(a.v[1]))
		return gave(gate(trap, a))
	case sys_mprotect:
		return gave(mprotect(a))
	case sys_madvise:
		if files().Shared(a.v[0], uint64(a.v[1])) {
			return done(0) // what a mapping shows is the file's to keep
		}
		return gave(gate(trap, a))
	case sys_msync:
		return done(files().Msync(a.v[0], uint64(a.v[1]), a.int(2)))
	case sys_mincore:
		return gave(gatePointers(trap, a))
	case sys_mremap, sys_brk:
		return done(fs.ENOSYS)
	case sys_mlock, sys_munlock, sys_mlockall, sys_munlockall:
		return done(0) // there is no swap
	}
	return 0, 0, false
}

func mmap(a *args) (int, fs.Errno) {
	flags := a.int(3)
	switch {
	case a.v[2]&protExec != 0:
		return 0, fs.EACCES
	case flags&mapFixed != 0:
		files().Unmap(a.v[0], uint64(a.v[1]))
	}
	if flags&mapAnonymous != 0 {
		return gate(sys_mmap, a)
	}
	if a.v[1] == 0 || a.v[5]%hypercall.PageSize != 0 || a.i64(5) < 0 {
		return 0, fs.EINVAL
	}
	switch flags & mapType {
	case mapPrivate:
		return mapCopy(a)
	case mapShared, mapSharedValidate:
		addr, e := mapFile(a)
		if e == fs.ENODEV && files().CopyMapped(a.int(4), int(a.v[2])) {
			return mapCopy(a)
		}
		return addr, e
	}
	return 0, fs.EINVAL
}

// reserve is anonymous memory where the call wants it.
func reserve(a *args, prot uintptr) (int, fs.Errno) {
	flags := a.v[3]&(mapFixed|mapFixedNoreplace) | mapPrivate | mapAnonymous
	return linux(guest.Gate(sys_mmap, a.v[0], a.v[1], prot, flags, ^uintptr(0), 0))
}

// unreserve gives it back.
func unreserve(addr int, a *args) {
	guest.Gate(sys_munmap, uintptr(addr), a.v[1], 0, 0, 0, 0)
}

// mapCopy is a private mapping: a copy of the file, made at once.
func mapCopy(a *args) (int, fs.Errno) {
	fd, off := a.int(4), a.i64(5)
	if e := files().MayMap(fd); e != 0 {
		return 0, e
	}
	addr, e := reserve(a, protRead|protWrite)
	if e != 0 {
		return 0, e
	}
	// Safe because the range was just mapped and nobody else knows it.
	b := unsafe.Slice((*byte)(pointer(uintptr(addr))), a.v[1])
	for len(b) > 0 {
		n, e := files().Pread(fd, b, off)
		if e != 0 {
			unreserve(addr, a)
			return 0, e
		}
		if n == 0 {
			break
		}
		b, off = b[n:], off+int64(n)
	}
	if a.v[2] != protRead|protWrite {
		if _, e := linux(guest.Gate(sys_mprotect, uintptr(addr), a.v[1], a.v[2], 0, 0, 0)); e != 0 {
			unreserve(addr, a)
			return 0, e
		}
	}
	if _, e := linux(guest.MarkPrivateFile(uintptr(addr), a.v[1], a.v[2])); e != 0 {
		unreserve(addr, a)
		return 0, e
	}
	return addr, 0
}

// mapFile is a shared mapping: a reserved range in which the file system shows
// the file's own pages, or the host the file.
func mapFile(a *args) (int, fs.Errno) {
	addr, e := reserve(a, 0)
	if e != 0 {
		return 0, e
	}
	_, e = linux(guest.MarkSharedFile(uintptr(addr), a.v[1], a.v[2]))
	if e == 0 {
		e = files().Map(a.int(4), uintptr(addr), uint64(a.v[1]), a.i64(5), int(a.v[2]))
	}
	if e != 0 {
		unreserve(addr, a)
		return 0, e
	}
	return addr, 0
}

// mprotect on shared mappings is the file system's business first: the gate only
// notes it.
func mprotect(a *args) (int, fs.Errno) {
	if a.v[2]&protExec != 0 {
		return 0, fs.EACCES
	}
	if _, e := files().Protect(a.v[0], uint64(a.v[1]), int(a.v[2])); e != 0 {
		return 0, e
	}
	return gate(sys_mprotect, a)
}

// sharedPages gives the file system page memory by way of gate and host.
type sharedPages struct{}

// Alloc places its memory, since the gate takes only what is placed at once:
// memory that comes at first touch has nothing yet to alias.
func (sharedPages) Alloc(n int) uintptr {
	size := uintptr(n) * hypercall.PageSize
	addr, e := linux(guest.Gate(sys_mmap, 0, size, 0, mapPrivate|mapAnonymous, ^uintptr(0), 0))
	if e != 0 {
		return 0
	}
	_, e = linux(guest.Gate(sys_mmap, uintptr(addr), size, protRead|protWrite, mapPrivate|mapAnonymous|mapFixed, ^uintptr(0), 0))
	if e != 0 {
		guest.Gate(sys_munmap, uintptr(addr), size, 0, 0, 0, 0)
		return 0
	}
	return uintptr(addr)
}

func (sharedPages) Free(addr uintptr, n int) {
	guest.Gate(sys_munmap, addr, uintptr(n)*hypercall.PageSize, 0, 0, 0, 0)
}

func (sharedPages) Alias(dst, src uintptr, n, prot int) fs.Errno {
	_, e := linux(guest.Call(hypercall.CallAlias, dst, uintptr(n)*hypercall.PageSize, mapFlags(prot), src))
	return e
}

func (sharedPages) Protect(dst uintptr, n, prot int) fs.Errno {
	_, e := linux(guest.Call(hypercall.CallProtect, dst, uintptr(n)*hypercall.PageSize, mapFlags(prot), 0))
	return e
}

func (sharedPages) Hide(dst uintptr, n int) fs.Errno {
	_, e := linux(guest.Call(hypercall.CallUnmap, dst, uintptr(n)*hypercall.PageSize, 0, 0))
	return e
}

// mapFlags are the host's permissions for Linux's.
func mapFlags(prot int) uintptr {
	flags := hypercall.MapFlag(0)
	if prot&protRead != 0 {
		flags |= hypercall.MapRead
	}
	if prot&protWrite != 0 {
		flags |= hypercall.MapRead | hypercall.MapWrite
	}
	return uintptr(flags)
}
