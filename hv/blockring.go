package hv

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/pvrun/pvrun/hv/disk"
	"github.com/pvrun/pvrun/hypercall"
)

// blockRing is the host's side of one ring. Of what is in the guest's memory only
// ReqProd, RspEvent and RspCons are read, once each time, and believed within
// bounds; the host's own indexes are here.
type blockRing struct {
	number int
	shared *hypercall.BlockRing
	back   disk.Backend // nil for StartInfo.FileRing
	limits limits
	kernel bool // the backend leaves the pieces to the kernel

	mu     sync.Mutex
	cons   uint32 // requests taken
	prod   uint32 // responses given
	broken bool   // the guest has overrun it; nothing is taken any more
	spare  []*blockJob

	// late is not 0 while the guest, which runs, has to be told of the responses
	// before upTo: since when, in ticks.
	late atomic.Uint64
	upTo uint32

	pace pace // of writes
}

func newBlockRing(number int, shared *hypercall.BlockRing, b disk.Backend) *blockRing {
	r := &blockRing{number: number, shared: shared}
	if b != nil {
		r.back, r.limits, r.kernel = b, limitsOf(b), disk.InKernel(b)
	}
	r.arm()
	return r
}

// ringError is a guest's misuse of a ring that ends its machine.
type ringError struct {
	ring                int
	reqProd, taken, rsp uint32
}

func (e *ringError) Error() string {
	return fmt.Sprintf("block ring %d: ReqProd is %#x with %#x requests taken and %#x answered", e.ring, e.reqProd, e.taken, e.rsp)
}

// take takes one request, nil when there is none. Its memory is read once.
func (r *blockRing) take() (*blockJob, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ready, err := r.ready()
	if ready == 0 || err != nil {
		return nil, err
	}
	j := r.job()
	j.req = loadWords(&r.shared.Requests[r.cons%hypercall.BlockRingSize])
	r.cons++
	return j, nil
}

// ready is how many requests wait. An index that went back, or is further ahead
// than the ring is long, breaks it for good.
func (r *blockRing) ready() (uint32, error) {
	if r.broken {
		return 0, nil
	}
	prod := atomic.LoadUint32(&r.shared.ReqProd)
	n, underWay := prod-r.cons, r.cons-r.prod
	if n > hypercall.BlockRingSize-underWay {
		r.broken = true
		return 0, &ringError{r.number, prod, r.cons, r.prod}
	}
	return n, nil
}

// job is a job to be filled in; a ring has at most BlockRingSize.
func (r *blockRing) job() *blockJob {
	if n := len(r.spare); n > 0 {
		j := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return j
	}
	return &blockJob{ring: r}
}

// busy says whether requests are under way.
func (r *blockRing) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cons != r.prod
}

// arm has the guest ring for its next request, and says whether there is one
// already: it may have been raised before the guest could know.
func (r *blockRing) arm() (ready bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	atomic.StoreUint32(&r.shared.ReqEvent, r.cons+1)
	n, err := r.ready()
	if err != nil {
		r.broken = false // take will say it
		return true
	}
	return n > 0
}

// put gives one response and says whether the guest wants to be told of it. The
// job is not used any more.
func (r *blockRing) put(j *blockJob, result int64) (tell bool) {
	storeWords(&r.shared.Responses[r.prod%hypercall.BlockRingSize], hypercall.BlockResponse{ID: j.req.ID, Result: result})
	r.prod++
	atomic.StoreUint32(&r.shared.RspProd, r.prod) // orders the response before, and the look after
	r.spare = append(r.spare, j)
	return atomic.LoadUint32(&r.shared.RspEvent) == r.prod
}

// taken says whether the guest has taken the responses that it was to be told of.
func (r *blockRing) taken() bool {
	return int32(atomic.LoadUint32(&r.shared.RspCons)-r.upTo) >= 0
}
