package sys

import (
	"sync"

	"github.com/pvrun/pvrun/guest"
)

// hearRuntime has the runtime's own writes come here. It is called with the first
// file system call, before which there is no descriptor to write to.
func hearRuntime() {
	guest.OnWritten = drainAll
	guest.OnCrashFD = func(fd uintptr) {
		stream := 0
		if fd < 1<<31 {
			stream = files().Console(int(fd))
		}
		if stream == 0 {
			fd = 0
		}
		guest.SetCrashFD(int(fd), stream)
	}
}

var draining sync.Mutex

// drain writes what the runtime has written, unless someone is about it.
// Whoever comes meanwhile goes on: a write to a pipe may wait for them.
func drain() {
	if draining.TryLock() {
		defer draining.Unlock()
		writeWritten()
	}
}

// drainAll is for the end of a heap dump, which is then written. It may wait for
// another dump's reader, for which on Linux all of the program would wait.
func drainAll() {
	draining.Lock()
	defer draining.Unlock()
	writeWritten()
}

// writeWritten writes what the runtime has written to descriptors of its own to
// the files behind them. Errors are nobody's: the runtime has been told that all
// is well.
func writeWritten() {
	buf, fd := make([]byte, 256<<10), new(int32)
	for {
		n := guest.TakeWritten(buf, fd)
		if n == 0 {
			return
		}
		for b := buf[:n]; len(b) > 0; {
			n, e := files().Write(int(*fd), b)
			if e != 0 || n == 0 {
				break
			}
			b = b[n:]
		}
	}
}
