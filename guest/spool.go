package guest

import (
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/hypercall"
)

// The runtime writes to descriptors besides 1 and 2: WriteHeapDump's and
// SetCrashOutput's. What they are only the library's door knows, and its code
// cannot run here. So what is written waits in a spool, which the library's
// door empties before it does anything else.

// spoolChunk begins a chunk of the spool; its bytes follow.
type spoolChunk struct {
	next uintptr
	fd   int32
	_    uint32
	n    uintptr // bytes in it
	done uintptr // of them, taken
}

const (
	spoolHead = unsafe.Sizeof(spoolChunk{})
	spoolSize = 256 << 10
)

// spool is owned by the vCPU, except for waiting.
var spool struct {
	head, tail uintptr
	waiting    atomic.Uint32 // not 0: there is something
	crashFD    int32         // a descriptor that is the console's, while one is known
	stream     int32
}

// Written is whether the runtime has written what [TakeWritten] shall fetch.
func Written() bool { return spool.waiting.Load() != 0 }

// TakeWritten moves what the runtime has written to one descriptor, the oldest
// first, to a heap buffer, and returns how many bytes. With 0 there is nothing
// left, and Written turns false.
func TakeWritten(buf []byte, fd *int32) int {
	n := Gate(sysTakeWritten, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), uintptr(unsafe.Pointer(fd)), 0, 0, 0)
	return int(n)
}

// SetCrashFD names a descriptor that the runtime writes to when it dies, and the
// console stream behind it: nobody empties the spool then.
func SetCrashFD(fd, stream int) { Gate(sysCrashFD, uintptr(fd), uintptr(stream), 0, 0, 0, 0) }

// OnWritten and OnCrashFD are the library's door's, if it is there: the runtime
// calls them when it has written a heap dump and when SetCrashOutput has set a
// descriptor.
var (
	OnWritten func()
	OnCrashFD func(fd uintptr)
)

func spoolWrite(fd int32, from, n uintptr) int64 {
	if fd < 0 || fd >= maxFiles {
		return -eBADF
	}
	if !readable(from, n) {
		return -eFAULT
	}
	for left := n; left > 0; {
		c := spoolRoom(fd)
		if c == nil {
			return -eNOMEM
		}
		k := min(left, spoolSize-spoolHead-c.n)
		copyBytes(c.data()+c.n, from, k)
		c.n += k
		from, left = from+k, left-k
	}
	spool.waiting.Store(1)
	return int64(n)
}

func (c *spoolChunk) data() uintptr { return uintptr(unsafe.Pointer(c)) + spoolHead }

// spoolRoom is a chunk for a descriptor with room in it.
func spoolRoom(fd int32) *spoolChunk {
	if last := (*spoolChunk)(unsafe.Pointer(spool.tail)); spool.tail != 0 && last.fd == fd && last.n < spoolSize-spoolHead {
		return last
	}
	at := kernelAlloc(spoolSize)
	if at == 0 {
		return nil
	}
	c := (*spoolChunk)(unsafe.Pointer(at))
	c.fd = fd
	if spool.tail == 0 {
		spool.head = at
	} else {
		(*spoolChunk)(unsafe.Pointer(spool.tail)).next = at
	}
	spool.tail = at
	return c
}

func takeWritten(to, n uintptr, fd *int32) int64 {
	if spool.head == 0 {
		spool.waiting.Store(0)
		return 0
	}
	c := (*spoolChunk)(unsafe.Pointer(spool.head))
	k := min(n, c.n-c.done)
	copyBytes(to, c.data()+c.done, k)
	c.done += k
	*fd = c.fd
	if c.done == c.n {
		at := spool.head
		if spool.head = c.next; spool.head == 0 {
			spool.tail = 0
		}
		munmap(at, spoolSize)
	}
	return int64(k)
}

func copyBytes(to, from, n uintptr) {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(to)), n), unsafe.Slice((*byte)(unsafe.Pointer(from)), n))
}

// runtimeWrite is a write of the runtime's own.
func runtimeWrite(fd int32, from, n uintptr) int64 {
	switch {
	case fd == 1 || fd == 2:
		return consoleWrite(fd, from, n)
	case fd != 0 && fd == spool.crashFD:
		return consoleWrite(spool.stream, from, n)
	case fd == fdEvent && !readable(from, 8):
		return -eFAULT
	case fd == fdEvent:
		return eventfdWrite(*(*uint64)(unsafe.Pointer(from)))
	}
	return spoolWrite(fd, from, n)
}

// consoleWrite is for the runtime's own messages, which are written wherever
// they come up: if the host's end is full, the whole machine waits.
func consoleWrite(fd int32, buf, n uintptr) int64 {
	for {
		r := call(hypercall.CallConsoleWrite, uintptr(fd), buf, min(n, hypercall.MaxConsole), 0)
		if r != -eAGAIN {
			return r
		}
		waitInPlace(running())
	}
}
