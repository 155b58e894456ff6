package socket

import (
	"sync"

	"github.com/pvrun/pvrun/guest"
	"github.com/pvrun/pvrun/hypercall"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// ne2000 is the driver of a bare machine's interface. The adapter holds one frame to
// send, and does one thing at a time.
type ne2000 struct {
	number  int
	mu      sync.Mutex // of the adapter's registers and the buffers
	in, out *guest.NICBuffer
}

// newNE2000 begins with an adapter, or returns nil if it is not there.
func newNE2000(number int, mac [6]byte) nicDevice {
	if !guest.NICStart(number, mac) {
		return nil
	}
	return &ne2000{number: number, in: new(guest.NICBuffer), out: new(guest.NICBuffer)}
}

// put drops, as sent, a frame that no cable carries.
func (d *ne2000) put(pkt *stack.PacketBuffer) bool {
	n := pkt.Size()
	if n < hypercall.MinFrame || n > guest.NICMaxFrame {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	copyPacket(d.out[guest.NICHeader:guest.NICHeader+n], pkt)
	return guest.NICSend(d.number, d.out, n)
}

// kick has nothing to do: put sends.
func (d *ne2000) kick() {}

func (d *ne2000) wantRoom() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return guest.NICWantRoom(d.number)
}

func (d *ne2000) take() (pkt *stack.PacketBuffer, checked bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := guest.NICReceive(d.number, d.in)
	if n == 0 {
		return nil, false
	}
	v := buffer.NewView(n)
	v.Write(d.in[guest.NICHeader : guest.NICHeader+n])
	return stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(v)}), false
}

// linkUp: a cable is always plugged in.
func (d *ne2000) linkUp() bool { return true }

func (d *ne2000) renew(uint64) {} // no bare machine is snapshotted
