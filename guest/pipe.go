package guest

import (
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// The few pipes that come by the runtime's door: Go's runtime makes some in its
// tests, and its signal handlers may write to them, where code of the library's
// door cannot run. Their descriptors are nothing to the library's door, nor are
// its pipes to the runtime's.

// fdPipe is the first pipe's reading end; its writing end follows, then the next
// pipe's.
const (
	fdPipe   = fdEpoll + kernelFDs
	maxPipes = 4
	pipeSize = 4096 // bytes, Linux's PIPE_BUF
)

// pipe holds bytes [from, from+n) of data. Owned by the vCPU.
type pipe struct {
	ends    [2]uint32 // reading, writing: their flags while they are open
	readers uintptr   // waiting threads, oldest first
	from, n uintptr
	data    [pipeSize]byte
}

var pipes [maxPipes]pipe

// Flags of an end: Linux's of open(2) and one of ours.
const (
	oWronly   = 0x1
	oNonblock = 0x800
	oCloexec  = 0x80000
	pipeOpen  = 1 << 31
)

// Operations of fcntl(2).
const (
	fGetfd = 1
	fSetfd = 2
	fGetfl = 3
	fSetfl = 4
)

// pipeOf is the pipe of an open descriptor and which end that is, or nil.
func pipeOf(fd int32) (*pipe, int) {
	i := int(fd) - int(fdPipe)
	if i < 0 || i >= 2*maxPipes || pipes[i/2].ends[i%2] == 0 {
		return nil, 0
	}
	return &pipes[i/2], i % 2
}

func pipe2(to uintptr, flags uint32) int64 {
	switch {
	case flags&^(oNonblock|oCloexec) != 0:
		return -eINVAL
	case !writable(to, 8):
		return -eFAULT
	}
	for i := range pipes {
		p := &pipes[i]
		if p.ends[0]|p.ends[1] != 0 {
			continue
		}
		p.ends = [2]uint32{pipeOpen | flags, pipeOpen | flags | oWronly}
		p.from, p.n = 0, 0
		fd := fdPipe + 2*int32(i)
		*(*[2]int32)(unsafe.Pointer(to)) = [2]int32{fd, fd + 1}
		return 0
	}
	return -eMFILE
}

// dispatchPipe does what there is to do with the end of a pipe.
func dispatchPipe(t *thread, p *pipe, end int, nr uintptr, f *frame) int64 {
	switch {
	case nr == sysRead && end == 0:
		return p.read(t, f.rsi, f.rdx)
	case nr == sysWrite && end == 1:
		return p.write(t, f.rsi, f.rdx)
	case nr == sysClose:
		p.ends[end] = 0
		for end == 1 && p.readers != 0 {
			wake(threadAt(p.readers), 0)
		}
		return 0
	case nr == sysFcntl:
		return fcntl(&p.ends[end], f.rsi, uint32(f.rdx))
	}
	return -eBADF
}

func (p *pipe) read(t *thread, to, n uintptr) int64 {
	n = min(n, pipeSize)
	switch {
	case !writable(to, n):
		return -eFAULT
	case n == 0 || p.n == 0 && p.ends[1] == 0:
		return 0
	case p.n == 0 && p.ends[0]&oNonblock != 0:
		return -eAGAIN
	case p.n == 0:
		at := &p.readers
		for *at != 0 {
			at = &threadAt(*at).next
		}
		*at, t.next = t.addrOf(), 0
		t.addr, t.max, t.events = to, int32(n), uintptr(unsafe.Pointer(p))
		block(t, waitPipe, hypercall.Forever)
		return 0
	}
	n = min(n, p.n)
	copyBytes(to, uintptr(unsafe.Pointer(&p.data))+p.from, n)
	p.from, p.n = p.from+n, p.n-n
	return int64(n)
}

// write never waits: where there is no room, even a blocking end is told so.
func (p *pipe) write(t *thread, from, n uintptr) int64 {
	switch {
	case !readable(from, n):
		return -eFAULT
	case p.ends[0] == 0:
		raiseThread(t, sigPIPE)
		return -ePIPE
	case n > 0 && p.n == pipeSize, n <= pipeSize && n > pipeSize-p.n:
		return -eAGAIN
	}
	data := uintptr(unsafe.Pointer(&p.data))
	copyBytes(data, data+p.from, p.n)
	n = min(n, pipeSize-p.n)
	copyBytes(data+p.n, from, n)
	p.from, p.n = 0, p.n+n
	for p.readers != 0 && p.n > 0 {
		r := threadAt(p.readers)
		wake(r, p.read(r, r.addr, uintptr(r.max)))
	}
	return int64(n)
}

// pipeForget takes a thread out of its pipe's readers.
func pipeForget(t *thread) {
	for at := &(*pipe)(unsafe.Pointer(t.events)).readers; *at != 0; at = &threadAt(*at).next {
		if *at == t.addrOf() {
			*at, t.next = t.next, 0
			return
		}
	}
}

func fcntl(flags *uint32, op uintptr, arg uint32) int64 {
	switch op {
	case fGetfd:
		return int64(*flags & oCloexec / oCloexec)
	case fSetfd:
		*flags = *flags&^oCloexec | arg&1*oCloexec
	case fGetfl:
		return int64(*flags & (oWronly | oNonblock))
	case fSetfl:
		*flags = *flags&^oNonblock | arg&oNonblock
	default:
		return -eINVAL
	}
	return 0
}
