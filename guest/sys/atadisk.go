package sys

import (
	"sync"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
)

// ataDisk is a bare machine's disk. Each channel does one thing at a time.
type ataDisk struct {
	diskFacts
	number int
	bounce []byte // guarded by the channel's lock
}

var ataChannels [guest.MaxATA / 2]sync.Mutex

// ataMost is how much one command moves, in bytes.
const ataMost = guest.DiskMost * guest.SectorSize

func (d *ataDisk) lock() *sync.Mutex {
	mu := &ataChannels[d.number/2]
	mu.Lock()
	return mu
}

func (d *ataDisk) ReadAt(b []byte, off int64) (int, fs.Errno) {
	return d.transfer(guest.DiskRead, b, off, false)
}

func (d *ataDisk) WriteAt(b []byte, off int64) (int, fs.Errno) {
	return d.transfer(guest.DiskWrite, b, off, true)
}

// transfer moves b, by way of another buffer when it is on the goroutine's stack,
// which can move.
func (d *ataDisk) transfer(move func(int, []byte, uint64) bool, b []byte, off int64, write bool) (done int, e fs.Errno) {
	defer d.lock().Unlock()
	for done < len(b) {
		part := b[done:min(len(b), done+ataMost)]
		to := part
		if stacked(part) {
			to = d.copyOf(part, write)
		}
		if !move(d.number, to, uint64(off+int64(done))/guest.SectorSize) {
			return done, fs.EIO
		}
		if !write && stacked(part) {
			copy(part, to)
		}
		done += len(part)
	}
	return done, 0
}

// copyOf is memory off the stack for b, with its bytes if they are to be written.
func (d *ataDisk) copyOf(b []byte, write bool) []byte {
	if d.bounce == nil {
		d.bounce = make([]byte, ataMost)
	}
	if write {
		copy(d.bounce, b)
	}
	return d.bounce[:len(b)]
}

func (d *ataDisk) Flush() fs.Errno {
	defer d.lock().Unlock()
	if !guest.DiskFlush(d.number) {
		return fs.EIO
	}
	return 0
}

func (d *ataDisk) Discard(off, n int64) fs.Errno     { return fs.ENOTSUP }
func (d *ataDisk) WriteZeroes(off, n int64) fs.Errno { return fs.ENOTSUP }
