package sys

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/hypercall"
)

// fileRing is the ring for the host's files, nil without one.
var fileRing = sync.OnceValue(func() *ring {
	if at := guest.Info().FileRing; at != 0 {
		return newRing(at)
	}
	return nil
})

// byRing is the ring to make a call by, or nil. Only the goroutine waits then, for
// what may take long; and while the host looks at the ring by itself, it costs no
// exit.
func (c *hostCall) byRing() *ring {
	switch c.args.Op {
	case hypercall.HostFileSync:
		if r := fileRing(); r != nil && syncTime.Load() > shortSync {
			return r
		}
	case hypercall.HostFileAllocate, hypercall.HostFileTruncate:
		return fileRing()
	case hypercall.HostFileRead, hypercall.HostFileWrite, hypercall.HostFileLock,
		hypercall.HostFileStat, hypercall.HostFileSeek:
		if r := fileRing(); r != nil && c.args.PathLen == 0 && atomic.LoadUint32(&r.shared.Polling) == hypercall.PollingRequests {
			return r
		}
	}
	return nil
}

// syncTime is how long syncs take, of late, in ns. One that is shorter than shortSync
// is a call, if the host would have to be woken for the ring: that takes as long.
var syncTime atomic.Int64

const shortSync = 300_000

// noteSync notes how long a sync took. Of two that end at once one may be lost.
func noteSync(began int64) {
	took := clock(clockMonotonic) - began
	syncTime.Store(syncTime.Load()*3/4 + took/4)
}

// askRing makes the call by a ring.
func (c *hostCall) askRing(r *ring) int64 {
	q := hypercall.BlockRequest{Op: hypercall.BlockHostFile}
	q.Segments[0].Addr = gva(unsafe.Pointer(&c.args))
	return r.ask(&q, unsafe.Pointer(c))
}
