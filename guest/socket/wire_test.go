package socket

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hypercall"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// wire is a host that carries what one machine sends to the other.
type wire struct {
	t    *testing.T
	ends [2]*wireEnd
	cut  bool // long segments are cut and checksums made, as a real network does it
	slow time.Duration
	stop chan struct{}
	done chan struct{}
}

// wireEnd is one machine's side, and what its kernel does.
type wireEnd struct {
	rings *hypercall.NetRings
	bells chan struct{} // the host's
	news  chan struct{} // the guest's FDNet

	taken    uint32       // of Transmit
	given    uint32       // of Receive
	segments int          // that were to be cut
	asked    atomic.Int32 // times that the guest waited for room in Transmit
}

func (e *wireEnd) Reset() {
	select {
	case <-e.news:
	default:
	}
}

func (e *wireEnd) Wait() { <-e.news }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// newWire joins two machines, 10.0.0.1 and 10.0.0.2.
func newWire(t *testing.T, cut bool, slow time.Duration) (w *wire, a, b *network) {
	w = &wire{t: t, cut: cut, slow: slow, stop: make(chan struct{}), done: make(chan struct{})}
	bells := make(chan struct{}, 1)
	for i := range w.ends {
		w.ends[i] = &wireEnd{rings: new(hypercall.NetRings), bells: bells, news: make(chan struct{}, 1)}
		w.ends[i].rings.Link = 1
	}
	machine := func(e *wireEnd, mac byte, addrs ...string) *network {
		a := adapter{dev: newRingDevice(e.rings, func() { poke(bells) }), mac: tcpip.LinkAddress([]byte{2, 0, 0, 0, 0, mac}), mtu: 1500, segments: true}
		for _, addr := range addrs {
			a.addresses = append(a.addresses, netip.MustParsePrefix(addr))
		}
		return newNetwork([]adapter{a}, e)
	}
	a, b = machine(w.ends[0], 1, "10.0.0.1/24", "fd00::1/64"), machine(w.ends[1], 2, "10.0.0.2/24", "fd00::2/64")
	go w.run()
	t.Cleanup(func() {
		close(w.stop)
		<-w.done
		a.stack.Destroy()
		b.stack.Destroy()
	})
	return w, a, b
}

func (w *wire) run() {
	defer close(w.done)
	for {
		moved := false
		for i, from := range w.ends {
			moved = w.move(from, w.ends[1-i]) || moved
		}
		select {
		case <-w.stop:
			return
		default:
		}
		if moved {
			continue
		}
		ready := false
		for _, e := range w.ends {
			atomic.StoreUint32(&e.rings.Transmit.ProdEvent, e.taken+1)
			ready = ready || atomic.LoadUint32(&e.rings.Transmit.Prod) != e.taken
		}
		if !ready {
			select {
			case <-w.stop:
			case <-w.ends[0].bells:
			case <-time.After(time.Millisecond): // Receive may have room again
			}
		}
		for _, e := range w.ends {
			atomic.StoreUint32(&e.rings.Transmit.ProdEvent, never(e.taken))
		}
	}
}

// move carries one packet.
func (w *wire) move(from, to *wireEnd) bool {
	r := &from.rings.Transmit
	prod := atomic.LoadUint32(&r.Prod)
	if prod == from.taken {
		return false
	}
	time.Sleep(w.slow)
	at := from.taken % hypercall.PacketRingBytes
	h := *headerAt(r, at)
	if h.Length == hypercall.PacketSkip {
		from.take(hypercall.PacketRingBytes - at)
		return true
	}
	if h.Length > prod-from.taken || h.Length > hypercall.MaxFrame || h.GSO == 0 && h.Length > 1514 {
		w.t.Errorf("a packet of %d bytes, GSO %d", h.Length, h.GSO)
		from.take(prod - from.taken)
		return true
	}
	frame := append([]byte(nil), r.Data[at+packetHeader:][:h.Length]...)
	frames := []hypercall.PacketHeader{h}
	pieces := [][]byte{frame}
	if h.GSO != 0 {
		from.segments++
	}
	if w.cut && h.Flags != 0 {
		frames, pieces = cutFrames(h, frame)
	}
	for i, p := range pieces {
		for !to.give(frames[i], p) {
			poke(to.news)
			time.Sleep(50 * time.Microsecond)
		}
	}
	poke(to.news)
	if from.take(alignPacket(packetHeader + h.Length)) {
		from.asked.Add(1)
		poke(from.news)
	}
	return true
}

// take gives room back and says whether the guest wants to know.
func (e *wireEnd) take(n uint32) bool {
	old := e.taken
	e.taken += n
	atomic.StoreUint32(&e.rings.Transmit.Cons, e.taken)
	return passed(atomic.LoadUint32(&e.rings.Transmit.ConsEvent), old, e.taken)
}

func (e *wireEnd) give(h hypercall.PacketHeader, frame []byte) bool {
	r := &e.rings.Receive
	h.Length = uint32(len(frame))
	at, need, skip := e.given%hypercall.PacketRingBytes, alignPacket(packetHeader+h.Length), uint32(0)
	if at+need > hypercall.PacketRingBytes {
		skip = hypercall.PacketRingBytes - at
	}
	if e.given-atomic.LoadUint32(&r.Cons)+skip+need > hypercall.PacketRingBytes {
		return false
	}
	if skip > 0 {
		headerAt(r, at).Length = hypercall.PacketSkip
		at = 0
	}
	*headerAt(r, at) = h
	copy(r.Data[at+packetHeader:], frame)
	e.given += skip + need
	atomic.StoreUint32(&r.Prod, e.given)
	return true
}

// cutFrames does what the sender left to do.
func cutFrames(h hypercall.PacketHeader, frame []byte) (hs []hypercall.PacketHeader, frames [][]byte) {
	start := int(h.ChecksumStart)
	if h.GSO == 0 {
		finish(frame, start, int(h.ChecksumOffset))
		return []hypercall.PacketHeader{{}}, [][]byte{frame}
	}
	head, data := frame[:h.HeaderLen], frame[h.HeaderLen:]
	for off := 0; off < len(data); off += int(h.SegmentSize) {
		piece := data[off:min(off+int(h.SegmentSize), len(data))]
		f := append(append([]byte(nil), head...), piece...)
		tcp := header.TCP(f[start:])
		tcp.SetSequenceNumber(tcp.SequenceNumber() + uint32(off))
		if off+len(piece) < len(data) {
			tcp.SetFlags(uint8(tcp.Flags() &^ (header.TCPFlagFin | header.TCPFlagPsh)))
		}
		long, short := uint16(len(frame)-start), uint16(len(f)-start)
		if h.GSO == hypercall.PacketTCP4 {
			ip := header.IPv4(f[14:])
			ip.SetTotalLength(uint16(len(f) - 14))
			ip.SetChecksum(0)
			ip.SetChecksum(^ip.CalculateChecksum())
		} else {
			header.IPv6(f[14:]).SetPayloadLength(short)
		}
		tcp.SetChecksum(checksum.Combine(checksum.Combine(tcp.Checksum(), ^long), short))
		finish(f, start, int(h.ChecksumOffset))
		hs, frames = append(hs, hypercall.PacketHeader{}), append(frames, f)
	}
	return hs, frames
}

// finish adds the rest to a checksum that has the sum of the pseudo header.
func finish(frame []byte, start, offset int) {
	sum := checksum.Checksum(frame[start:], 0)
	binary.BigEndian.PutUint16(frame[start+offset:], ^sum)
}
