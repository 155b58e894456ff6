package sys

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
)

// waiter parks goroutines until the host signals one direction of the console.
// A poll descriptor takes one waiter at a time, so mu is held while parked.
type waiter struct {
	mu   sync.Mutex
	mode int
	fd   uintptr
	pd   uintptr

	// watching is whether a goroutine waits on behalf of those who must not
	// block, to tell the file system.
	watching atomic.Bool
}

var (
	inWaiter  = waiter{mode: 'r', fd: uintptr(guest.FDConsoleIn)}
	outWaiter = waiter{mode: 'w', fd: uintptr(guest.FDConsoleOut)}
	errWaiter = waiter{mode: 'w', fd: uintptr(guest.FDConsoleErr)}
)

// writeWaiter is the waiter of stdout or stderr: one that is full must not hold
// the other.
func writeWaiter(fd int) *waiter {
	if fd == 2 {
		return &errWaiter
	}
	return &outWaiter
}

// until calls try until the host takes the call. The caller holds mu. The
// first try comes before the poll descriptor is touched: most need no more.
func (w *waiter) until(try func() int64) int64 {
	for {
		if n := try(); n != -int64(hypercall.EAGAIN) {
			return n
		}
		if !w.reset() {
			return -int64(hypercall.EIO)
		}
		if n := try(); n != -int64(hypercall.EAGAIN) {
			return n
		}
		if pollWait(w.pd, w.mode) != 0 {
			return -int64(hypercall.EIO)
		}
	}
}

// reset makes the poll descriptor wait for a signal after now.
func (w *waiter) reset() bool {
	if w.pd == 0 {
		pd, errno := pollOpen(w.fd)
		if errno != 0 {
			return false
		}
		w.pd = pd
	}
	return pollReset(w.pd, w.mode) == 0
}

// watch sees to it that the file system learns when try becomes possible.
func (w *waiter) watch(try func() int64) {
	if w.watching.Swap(true) {
		return
	}
	go func() {
		w.mu.Lock()
		w.until(try)
		w.mu.Unlock()
		w.watching.Store(false)
		files().ConsoleChanged()
	}()
}

// input is standard input with its read-ahead.
type input struct {
	mu   sync.Mutex // guards what follows
	buf  []byte     // what is still to be read
	page []byte     // the memory that buf lies in
	eof  bool
}

var stdin input

// readAhead is how much one call takes from the host, in bytes.
const readAhead = 64 << 10

// read takes what was read ahead, or waits for more.
func (in *input) read(b []byte, nonblock bool) (int, fs.Errno) {
	for {
		if n, ok := in.take(b); ok {
			return n, 0
		}
		if nonblock {
			if n := in.fill(); n == -int64(hypercall.EAGAIN) {
				inWaiter.watch(in.fill)
				return 0, fs.EAGAIN
			} else if n < 0 {
				return 0, fs.Errno(-n)
			}
			continue
		}
		inWaiter.mu.Lock()
		n := inWaiter.until(in.fill)
		inWaiter.mu.Unlock()
		if n < 0 {
			return 0, fs.Errno(-n)
		}
	}
}

// take moves bytes out of the read-ahead; at the end of input it has none but
// is true once.
func (in *input) take(b []byte) (int, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.buf) == 0 && !in.eof {
		return 0, false
	}
	n := copy(b, in.buf)
	in.buf = in.buf[n:]
	if n == 0 {
		in.eof = false // a terminal may go on after its end
	}
	return n, true
}

// fill reads ahead unless something is there already.
func (in *input) fill() int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.buf) > 0 || in.eof {
		return 0
	}
	if in.page == nil {
		in.page = make([]byte, readAhead)
	}
	n := guest.Call(hypercall.CallConsoleRead, uintptr(unsafe.Pointer(&in.page[0])), readAhead, 0, 0)
	if n > readAhead {
		return -int64(hypercall.EIO)
	}
	if n >= 0 {
		in.buf = in.page[:n]
		in.eof = n == 0
	}
	return n
}

// buffered is how much can be read at once.
func (in *input) buffered() int {
	in.fill()
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.buf)
}

// consoleWrite writes all of b to stream fd, or what fits when nonblock.
func consoleWrite(fd int, b []byte, nonblock bool) (int, fs.Errno) {
	b = offStack(b)
	done := 0
	for done < len(b) {
		n := consolePut(fd, b[done:min(len(b), done+hypercall.MaxConsole)], nonblock)
		if n < 0 {
			if done > 0 {
				break
			}
			return 0, fs.Errno(-n)
		}
		done += int(n)
	}
	return done, 0
}

// consolePut is one CallConsoleWrite, waiting until the host takes some.
func consolePut(fd int, b []byte, nonblock bool) int64 {
	try := func() int64 { return hostWrite(fd, b) }
	n := try()
	if n != -int64(hypercall.EAGAIN) {
		return n
	}
	w := writeWaiter(fd)
	if nonblock {
		w.watch(func() int64 { return hostWrite(fd, nil) })
		return n
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.until(try)
}

func hostWrite(fd int, b []byte) int64 {
	p := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	n := guest.Call(hypercall.CallConsoleWrite, uintptr(fd), p, uintptr(len(b)), 0)
	if n > int64(len(b)) {
		return -int64(hypercall.EIO)
	}
	return n
}

// offStack copies a buffer that lies on the goroutine's stack to the heap: a
// closure or the host must not hold it while the stack can move.
func offStack(b []byte) []byte {
	lo, hi := guest.StackBounds()
	if p := uintptr(unsafe.Pointer(unsafe.SliceData(b))); p >= lo && p < hi {
		return append([]byte(nil), b...)
	}
	return b
}

// consoleReady is the readiness of a standard stream. Output always counts as
// ready: a write that finds the host busy says so.
func consoleReady(fd int) uint32 {
	if fd != 0 {
		return fs.EPOLLOUT
	}
	n := stdin.fill()
	if n == -int64(hypercall.EAGAIN) {
		inWaiter.watch(stdin.fill)
		return 0
	}
	return fs.EPOLLIN
}
