package hv

import (
	"fmt"
	"sync/atomic"

	"github.com/pvrun/pvrun/hypercall"
)

// netRingError is a guest's misuse of a NIC's ring that ends its machine.
type netRingError struct {
	number     int
	ring       string
	prod, cons uint32
	what       string
}

func (e *netRingError) Error() string {
	return fmt.Sprintf("NIC %d, %s ring: %s (Prod is %#x, Cons %#x)", e.number, e.ring, e.what, e.prod, e.cons)
}

const packetAhead = hypercall.PacketAlign // of a frame: its header

// packetSize is the room that a frame of n bytes takes in a ring.
func packetSize(n uint64) uint64 {
	return (packetAhead + n + hypercall.PacketAlign - 1) &^ (hypercall.PacketAlign - 1)
}

// passed says whether an index that went from old to now has passed event.
func passed(event, old, now uint32) bool { return now-event < now-old }

// publish stores an index, and no load that follows overtakes that. An atomic store is as
// good, but under the race detector: in memory that is not Go's that is a plain one.
func publish(index *uint32, v uint32) { atomic.SwapUint32(index, v) }

// consumer is the host's side of the ring that the guest fills. Of what is in the
// guest's memory each index and each header is read once and believed within bounds.
type consumer struct {
	number int
	ring   *hypercall.PacketRing
	cons   uint32
}

// ready is how many bytes wait.
func (r *consumer) ready() (uint32, error) {
	prod := atomic.LoadUint32(&r.ring.Prod)
	n := prod - r.cons
	if prod%hypercall.PacketAlign != 0 || n > hypercall.PacketRingBytes {
		return 0, r.wrong(prod, "its index is out of bounds")
	}
	return n, nil
}

func (r *consumer) wrong(prod uint32, what string) error {
	return &netRingError{r.number, "transmit", prod, r.cons, what}
}

// look is the next packet of the n bytes that wait, and how much of them it is. One that
// leaves out the rest of the ring has no frame.
func (r *consumer) look(n uint32) (p hypercall.PacketHeader, frame []byte, size uint32, err error) {
	at := r.cons % hypercall.PacketRingBytes
	left := uint64(min(n, hypercall.PacketRingBytes-at))
	p = loadWords(packetHeader(r.ring, at))
	need := packetSize(uint64(p.Length))
	if p.Length == hypercall.PacketSkip {
		need = hypercall.PacketRingBytes - uint64(at)
	}
	switch {
	case need > left:
		return p, nil, 0, r.wrong(r.cons+n, fmt.Sprintf("a packet of %#x bytes is longer than what was put", p.Length))
	case p.Length != hypercall.PacketSkip:
		from := at + packetAhead
		frame = r.ring.Data[from : from+p.Length : from+p.Length]
	}
	return p, frame, uint32(need), nil
}

// done gives the guest back what was taken since old, and says whether it wants to be
// told.
func (r *consumer) done(old uint32) (tell bool) {
	if old == r.cons {
		return false
	}
	publish(&r.ring.Cons, r.cons) // orders what was read before, and the look after
	return passed(atomic.LoadUint32(&r.ring.ConsEvent), old, r.cons)
}

// arm has the guest ring for its next packet.
func (r *consumer) arm() { publish(&r.ring.ProdEvent, r.cons+1) }

// producer is the host's side of the ring that the guest empties.
type producer struct {
	number int
	ring   *hypercall.PacketRing
	cons   uint32 // what it was seen to have taken
	prod   uint32 // what the guest has been given
	next   uint32 // what it is about to be given
	need   uint32 // the room that any packet has to find
}

// used is how many bytes the guest has not taken.
func (r *producer) used() (uint32, error) {
	cons := atomic.LoadUint32(&r.ring.Cons)
	if cons%hypercall.PacketAlign != 0 || cons-r.cons > r.prod-r.cons {
		return 0, &netRingError{r.number, "receive", r.prod, cons, "its index is out of bounds"}
	}
	r.cons = cons
	return r.next - cons, nil
}

// room is where the next packet has its place, when used bytes are not free: behind
// skip bytes that are left out.
func (r *producer) room(used uint32) (at, skip uint32, ok bool) {
	at = r.next % hypercall.PacketRingBytes
	if end := hypercall.PacketRingBytes - at; end < r.need {
		at, skip = 0, end
	}
	return at, skip, used+skip+r.need <= hypercall.PacketRingBytes
}

// buffer is where a frame is put whose header is at at.
func (r *producer) buffer(at uint32) []byte {
	return r.ring.Data[at+packetAhead : at+r.need]
}

// put adds the packet whose frame is in the buffer.
func (r *producer) put(p hypercall.PacketHeader, at, skip uint32) {
	if skip > 0 {
		storeWords(packetHeader(r.ring, r.next%hypercall.PacketRingBytes), hypercall.PacketHeader{Length: hypercall.PacketSkip})
	}
	storeWords(packetHeader(r.ring, at), p)
	r.next += skip + uint32(packetSize(uint64(p.Length)))
}

// done gives the guest what was put, and says whether it wants to be told.
func (r *producer) done() (tell bool) {
	old := r.prod
	if old == r.next {
		return false
	}
	r.prod = r.next
	publish(&r.ring.Prod, r.prod) // orders the packets before, and the look after
	return passed(atomic.LoadUint32(&r.ring.ProdEvent), old, r.prod)
}

// arm has the guest ring when half of the ring is free, which is room enough. It may be
// already.
func (r *producer) arm() {
	publish(&r.ring.ConsEvent, r.prod-hypercall.PacketRingBytes/2)
}
