package sys

import (
	"sync"
	"unsafe"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/guest/fs"
	"github.com/pvrun/pvrun/hypercall"
)

// pool holds random bytes of the host's. Each is wiped as it is served, and
// none is served after the machine has come to rest: two clones must never
// serve the same.
var pool struct {
	mu    sync.Mutex
	left  []byte
	page  *[hypercall.MaxEntropy]byte
	rests uint64
}

// entropy fills b with random bytes. A request during which the machine comes to rest
// is done again.
func entropy(b []byte) {
	pool.mu.Lock()
	defer pool.mu.Unlock()
	for {
		now := guest.Rests()
		if now != pool.rests {
			clear(pool.left)
			pool.left, pool.rests = nil, now
		}
		drawAll(b)
		if guest.Rests() == now {
			return
		}
	}
}

// drawAll fills b from the pool. The caller holds the lock.
func drawAll(b []byte) {
	for len(b) > 0 {
		if len(pool.left) == 0 {
			refill()
		}
		n := copy(b, pool.left)
		clear(pool.left[:n])
		pool.left, b = pool.left[n:], b[n:]
	}
}

// refill fetches a pool of bytes. A machine without randomness must not go on.
func refill() {
	if pool.page == nil {
		pool.page = new([hypercall.MaxEntropy]byte)
	}
	n := guest.Call(hypercall.CallEntropy, uintptr(unsafe.Pointer(pool.page)), hypercall.MaxEntropy, 0, 0)
	if n <= 0 || n > hypercall.MaxEntropy {
		panic("pvrun: the host gives no random bytes")
	}
	pool.left = pool.page[:n]
}

// Flags of getrandom: GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE.
const grndKnown = 7

func getrandom(a *args) (int, fs.Errno) {
	if a.v[2]&^grndKnown != 0 {
		return 0, fs.EINVAL
	}
	b, e := a.bytes(0)
	if e != 0 {
		return 0, e
	}
	entropy(b)
	return len(b), 0
}
