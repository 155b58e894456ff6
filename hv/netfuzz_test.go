package hv

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pvrun/pvrun/hv/nic"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

func (in *fuzzInput) word() uint32 {
	return uint32(in.byte()) | uint32(in.byte())<<8 | uint32(in.byte())<<16 | uint32(in.byte())<<24
}

// frameLength is one at which something begins or ends.
func (in *fuzzInput) frameLength() uint32 {
	lengths := [...]uint32{0, 1, 13, 14, 59, 60, 1513, 1514, 1515, 65535, 65549, 65550, 1<<31 - 1, 1<<32 - 1, 1<<32 - 2, 4000}
	if k := in.byte(); k < 64 {
		return lengths[k%uint8(len(lengths))]
	}
	return uint32(in.byte())<<3 + 14
}

// packetHeader is one that often makes sense.
func (in *fuzzInput) packetHeader() (p hypercall.PacketHeader) {
	p.Length = in.frameLength()
	kind := in.byte()
	if kind&1 != 0 {
		p.Flags, p.ChecksumStart, p.ChecksumOffset = 1, uint16(in.byte()%80), uint16(in.byte()%32)
	}
	if kind&2 != 0 {
		p.Flags, p.ChecksumStart, p.ChecksumOffset = 1, 34, 16
		p.GSO, p.HeaderLen, p.SegmentSize = in.byte()%6, 34+uint16(in.byte()%80), uint16(in.byte())<<3
	}
	if kind > 240 {
		p.Flags, p.Pad = in.byte(), uint16(in.byte())
	}
	if kind > 250 {
		p.HeaderLen, p.SegmentSize, p.ChecksumStart, p.ChecksumOffset = uint16(in.word()), uint16(in.word()), uint16(in.word()), uint16(in.word())
	}
	return p
}

// makesSense is what a packet from the guest has to keep to, written from the contract.
func makesSense(p hypercall.PacketHeader, offload bool) bool {
	partial, n := p.Flags == 1, int(p.Length)
	switch {
	case p.Length < 14 || p.Length > 65549, p.Flags > 1, p.Pad != 0, partial && !offload,
		partial && (p.ChecksumStart < 14 || int(p.ChecksumStart)+int(p.ChecksumOffset)+2 > n):
		return false
	case p.GSO == 0:
		return n <= 1514
	}
	ip := map[uint8]int{1: 20, 4: 40}[p.GSO]
	tcp := int(p.HeaderLen) - int(p.ChecksumStart)
	return ip != 0 && partial && int(p.ChecksumStart) >= 14+ip && p.ChecksumOffset == 16 && tcp >= 20 && tcp <= 60 &&
		int(p.HeaderLen) <= n && p.SegmentSize >= 48 && int(p.HeaderLen)+int(p.SegmentSize) <= 1514
}

func seeds(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
}

// FuzzTransmitRing: anything in the ring. What makes sense arrives, in order and as it
// is, and what the contract calls the machine's end is that.
func FuzzTransmitRing(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) { fuzzTransmit(t, data) })
}

func fuzzTransmit(t *testing.T, data []byte) {
	in := fuzzInput(data)
	offload := in.byte()&1 != 0
	g := newNetGuest(t, offload)
	r := &g.ring.Transmit
	for i := range r.Data {
		r.Data[i] = byte(i * 7)
	}
	start := in.word() &^ 15
	g.prod, g.a.tx.cons = start, start
	atomic.StoreUint32(&r.Prod, start)
	atomic.StoreUint32(&r.Cons, start)
	for n := 0; len(in) > 0 && n < 40; n++ {
		var want []sent
		broken := false
		cons := g.prod
		for range 1 + in.byte()%8 {
			p := in.packetHeader()
			at := g.prod % hypercall.PacketRingBytes
			size := (uint64(p.Length) + 31) &^ 15
			if p.Length == hypercall.PacketSkip {
				size = uint64(hypercall.PacketRingBytes - at)
			}
			short := in.byte() == 0 // less is put than it says
			if uint64(g.prod-cons)+size > hypercall.PacketRingBytes || uint64(at)+size > hypercall.PacketRingBytes {
				short = true
			}
			if g.prod-cons == hypercall.PacketRingBytes {
				break // it is full
			}
			storeWords(packetHeader(r, at), p)
			if short {
				g.prod += 16
				broken = size > 16
				break
			}
			if p.Length != hypercall.PacketSkip && makesSense(p, offload) {
				want = append(want, sent{nic.Header{Flags: p.Flags, GSO: p.GSO, HeaderLen: p.HeaderLen, SegmentSize: p.SegmentSize,
					ChecksumStart: p.ChecksumStart, ChecksumOffset: p.ChecksumOffset}, bytes.Clone(r.Data[at+16 : at+16+p.Length])})
			}
			g.prod += uint32(size)
		}
		if wrong := in.byte(); wrong < 4 {
			g.prod += []uint32{1, 8, hypercall.PacketRingBytes + 16, 1 << 31}[wrong]
			want, broken = nil, true
		}
		atomic.StoreUint32(&r.Prod, g.prod)
		var got []sent
		for more := true; more; { // also what was sent before the end
			more = g.a.turn()
			got = append(got, g.arrived()...)
		}
		if broken != (g.vm.failure() != nil) {
			t.Fatalf("broken: %v, but %v", broken, g.vm.failure())
		}
		if len(got) != len(want) {
			t.Fatalf("%d arrived, want %d", len(got), len(want))
		}
		for i := range want {
			if p := want[i].Header; p.Flags == 0 && p.GSO == 0 || p.GSO == 0 {
				want[i].Header.HeaderLen, want[i].Header.SegmentSize = 0, 0
				if p.Flags == 0 {
					want[i].Header = nic.Header{}
				}
			}
			if got[i].Header != want[i].Header || !bytes.Equal(got[i].frame, want[i].frame) {
				t.Fatalf("frame %d: %+v of %d bytes, want %+v of %d", i, got[i].Header, len(got[i].frame), want[i].Header, len(want[i].frame))
			}
		}
		if broken {
			return
		}
		if c := atomic.LoadUint32(&r.Cons); c != g.prod {
			t.Fatalf("Cons is %#x, Prod %#x", c, g.prod)
		}
	}
}

// FuzzReceiveRing: anything on the link, and a guest that takes what it likes. What
// makes sense comes in order and as it was, and no byte changes that the guest has not
// given back.
func FuzzReceiveRing(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) { fuzzReceive(t, data) })
}

func fuzzReceive(t *testing.T, data []byte) {
	in := fuzzInput(data)
	offload := in.byte()&1 != 0
	g := newNetGuest(t, offload)
	r := &g.ring.Receive
	start := in.word() &^ 15
	g.cons, g.a.rx.prod, g.a.rx.next, g.a.rx.cons = start, start, start, start
	atomic.StoreUint32(&r.Prod, start)
	atomic.StoreUint32(&r.Cons, start)
	var want []packet
	for n := 0; len(in) > 0 && n < 40; n++ {
		p := in.packetHeader()
		p.Length %= 1 << 17
		h := nic.Header{Flags: p.Flags, GSO: p.GSO, HeaderLen: p.HeaderLen, SegmentSize: p.SegmentSize, ChecksumStart: p.ChecksumStart, ChecksumOffset: p.ChecksumOffset}
		frame := frameOf(int(p.Length), in.byte())
		if _, err := g.peer.Send(&h, frame); err != nil && err != unix.EAGAIN && err != unix.EMSGSIZE {
			t.Fatal(err)
		} else if err == nil {
			if p, ok := comesAs(h, frame, offload); ok {
				want = append(want, p)
			}
		}
		waits := g.waiting(r)
		g.a.turn()
		if !bytes.Equal(waits, g.waiting(r)[:len(waits)]) {
			t.Fatal("what the guest has not taken has changed")
		}
		if used := atomic.LoadUint32(&r.Prod) - g.cons; used > hypercall.PacketRingBytes || used%16 != 0 {
			t.Fatalf("%#x bytes wait", used)
		}
		if in.byte()%4 == 0 {
			want = g.match(want)
		}
	}
	for want = g.match(want); g.a.turn(); want = g.match(want) {
	}
	if len(want) != 0 || g.vm.failure() != nil {
		t.Fatalf("%d did not come, %v", len(want), g.vm.failure())
	}
}

// comesAs is how a frame from the link comes to the guest, written from the contract.
func comesAs(h nic.Header, frame []byte, offload bool) (p packet, ok bool) {
	n := len(frame)
	if n < 14 || n > 65549 || h.GSO == 0 && n > 1514 || !offload && (n > 1514 || h != nic.Header{}) {
		return p, false
	}
	p = packet{hypercall.PacketHeader{Length: uint32(n), Flags: h.Flags & 3}, frame}
	partial := h.Flags&1 != 0
	if partial {
		p.ChecksumStart, p.ChecksumOffset = h.ChecksumStart, h.ChecksumOffset
		if h.ChecksumStart < 14 || int(h.ChecksumStart)+int(h.ChecksumOffset)+2 > n {
			return p, false
		}
	}
	if h.GSO == 0 {
		return p, true
	}
	ip := map[uint8]int{1: 20, 4: 40}[h.GSO]
	start := int(h.ChecksumStart)
	if ip == 0 || !partial || start < 14+ip || h.ChecksumOffset != 16 || h.SegmentSize == 0 || start+20 > n {
		return p, false
	}
	tcp := int(frame[start+12]>>4) * 4
	p.GSO, p.SegmentSize, p.HeaderLen = h.GSO, h.SegmentSize, uint16(start+tcp)
	return p, tcp >= 20 && start+tcp <= n
}

// waiting is what the guest has not taken, with its indexes in order.
func (g *netGuest) waiting(r *hypercall.PacketRing) (b []byte) {
	for at := g.cons; at != atomic.LoadUint32(&r.Prod); at += 16 {
		place := at % hypercall.PacketRingBytes
		b = append(b, r.Data[place:place+16]...)
	}
	return b
}

// match takes what has come, which must be the first of what is wanted.
func (g *netGuest) match(want []packet) []packet {
	g.Helper()
	for _, p := range g.get() {
		if len(want) == 0 || p.PacketHeader != want[0].PacketHeader || !bytes.Equal(p.frame, want[0].frame) {
			g.Fatalf("%+v came, %d are wanted", p.PacketHeader, len(want))
		}
		want = want[1:]
	}
	return want
}

// TestNetFlips: headers and indexes that change while the host looks at them. What is
// sent is what was checked, or the machine ends; nothing else happens.
func TestNetFlips(t *testing.T) {
	for round := range 20 {
		g := newNetGuest(t, true)
		stop := make(chan bool)
		var flipping sync.WaitGroup
		flipping.Go(func() {
			r := rand.New(rand.NewPCG(uint64(round), 7))
			for {
				select {
				case <-stop:
					return
				default:
				}
				b := make([]byte, 16)
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				in := fuzzInput(b)
				p := in.packetHeader()
				p.Length %= 2000
				from, to := words(&p), words(packetHeader(&g.ring.Transmit, uint32(r.IntN(64))*16))
				atomic.StoreUint64(&to[r.IntN(2)], from[r.IntN(2)])
				if round%2 == 1 && r.IntN(10_000) == 0 {
					atomic.StoreUint32(&g.ring.Receive.Cons, r.Uint32())
				}
			}
		})
		for turns := 0; turns < 500 && g.vm.failure() == nil; turns++ {
			g.prod += 1024
			atomic.StoreUint32(&g.ring.Transmit.Prod, g.prod)
			g.a.turn()
			for _, f := range g.arrived() {
				p := hypercall.PacketHeader{Length: uint32(len(f.frame)), Flags: f.Flags, GSO: f.GSO, HeaderLen: f.HeaderLen,
					SegmentSize: f.SegmentSize, ChecksumStart: f.ChecksumStart, ChecksumOffset: f.ChecksumOffset}
				if !makesSense(p, true) {
					t.Fatalf("%+v was sent", p)
				}
			}
		}
		close(stop)
		flipping.Wait()
		if _, ok := g.vm.failure().(*netRingError); !ok && g.vm.failure() != nil {
			t.Fatal(g.vm.failure())
		}
	}
}
