package hv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/nic"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// netGuest is the guest's side of a NIC, and the other end of its link, in a machine
// without a processor.
type netGuest struct {
	testing.TB
	vm   *VM
	a    *adapter
	ring *hypercall.NetRings
	peer nic.Link
	prod uint32 // of what it sends
	cons uint32 // of what it gets
}

// linkPair is a link and its other end.
func linkPair(t testing.TB, offload bool) (l, peer nic.Link) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	for _, fd := range fds {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 1<<20) != nil { // net.core.wmem_max is less on many hosts
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
		}
	}
	return nic.Link{FD: fds[0], Offload: offload}, nic.Link{FD: fds[1], Offload: offload}
}

func newNetGuest(t testing.TB, offload bool, more ...func(*NIC)) *netGuest {
	t.Helper()
	vm := newTestVM(t, 600)
	link, peer := linkPair(t, offload)
	vm.cfg.NICs = []NIC{{Link: link}}
	for _, f := range more {
		f(&vm.cfg.NICs[0])
	}
	if err := vm.cfg.checkNICs(); err != nil {
		t.Fatal(err)
	}
	if err := vm.kick.open(); err != nil {
		t.Fatal(err)
	}
	if err := vm.loadNet(); err != nil {
		t.Fatal(err)
	}
	vm.kick.state.Store(parked)
	t.Cleanup(func() {
		if err := errors.Join(vm.net.close(), vm.kick.close()); err != nil {
			t.Error(err)
		}
	})
	a := vm.net.nics[0]
	return &netGuest{TB: t, vm: vm, a: a, ring: a.shared, peer: peer}
}

func (g *netGuest) stats() NetStats { return g.vm.net.stats() }

// packet is what a guest sends or gets.
type packet struct {
	hypercall.PacketHeader
	frame []byte
}

func frameOf(n int, tag byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = tag + byte(i%251)
	}
	return b
}

func whole(n int, tag byte) packet {
	return packet{hypercall.PacketHeader{Length: uint32(n)}, frameOf(n, tag)}
}

// put puts packets as the contract says; they must fit. Prod is raised once.
func (g *netGuest) put(list ...packet) {
	r := &g.ring.Transmit
	for _, p := range list {
		size := uint32(16+len(p.frame)+15) &^ 15
		if end := hypercall.PacketRingBytes - g.prod%hypercall.PacketRingBytes; end < size {
			storeWords(packetHeader(r, g.prod%hypercall.PacketRingBytes), hypercall.PacketHeader{Length: hypercall.PacketSkip})
			g.prod += end
		}
		at := g.prod % hypercall.PacketRingBytes
		storeWords(packetHeader(r, at), p.PacketHeader)
		copy(r.Data[at+16:], p.frame)
		g.prod += size
	}
	publish(&r.Prod, g.prod)
}

// get takes packets as the contract says.
func (g *netGuest) get() (list []packet) {
	r := &g.ring.Receive
	for prod := atomic.LoadUint32(&r.Prod); g.cons != prod; {
		at := g.cons % hypercall.PacketRingBytes
		p := packet{PacketHeader: loadWords(packetHeader(r, at))}
		if p.Length == hypercall.PacketSkip {
			g.cons += hypercall.PacketRingBytes - at
			continue
		}
		p.frame = bytes.Clone(r.Data[at+16 : at+16+p.Length])
		list = append(list, p)
		g.cons += (16 + p.Length + 15) &^ 15
	}
	publish(&r.Cons, g.cons)
	return list
}

// arrived is what has come out of the link, with its headers.
func (g *netGuest) arrived() (list []sent) {
	g.Helper()
	buf := make([]byte, hypercall.MaxFrame+1)
	for {
		var h nic.Header
		n, err := g.peer.Receive(&h, buf)
		if err != nil {
			return list
		}
		list = append(list, sent{h, bytes.Clone(buf[:n])})
	}
}

type sent struct {
	nic.Header
	frame []byte
}

func (g *netGuest) failed(text string) {
	g.Helper()
	var e *netRingError
	if err := g.vm.failure(); !errors.As(err, &e) || !g.vm.stop.Load() || !strings.Contains(err.Error(), text) {
		g.Errorf("%v, want %q", err, text)
	}
}

// TestNetBothWays: frames go by as they are, in order, round the ring some times.
func TestNetBothWays(t *testing.T) {
	for _, offload := range []bool{false, true} {
		g := newNetGuest(t, offload)
		for i := range 3000 {
			n := 14 + i%1501
			g.put(whole(n, byte(i)), whole(14, 7))
			var h nic.Header
			if _, err := g.peer.Send(&h, frameOf(n, byte(i+1))); err != nil {
				t.Fatal(err)
			}
			if !g.a.turn() {
				t.Fatal("nothing moved")
			}
			out, in := g.arrived(), g.get()
			if len(out) != 2 || len(in) != 1 || out[0].Header != h || !bytes.Equal(out[0].frame, frameOf(n, byte(i))) ||
				!bytes.Equal(in[0].frame, frameOf(n, byte(i+1))) || in[0].PacketHeader != (hypercall.PacketHeader{Length: uint32(n)}) {
				t.Fatalf("packet %d: %d out, %d in", i, len(out), len(in))
			}
		}
		want := NetStats{RxPackets: 3000, TxPackets: 6000}
		got := g.stats()
		if got.RxPackets != want.RxPackets || got.TxPackets != want.TxPackets || got.RxBytes == 0 || got.BadPackets+got.RxDropped+got.TxDropped != 0 {
			t.Errorf("%+v", got)
		}
		if g.a.turn() {
			t.Error("something moved")
		}
	}
}

// TestNetSegments: long frames with what the headers say go both ways.
func TestNetSegments(t *testing.T) {
	g := newNetGuest(t, true)
	frame := frameOf(hypercall.MaxFrame, 1)
	frame[34+12] = 8 << 4 // TCP header of 32 bytes
	p := packet{hypercall.PacketHeader{Length: hypercall.MaxFrame, Flags: hypercall.PacketPartial, GSO: hypercall.PacketTCP4,
		HeaderLen: 66, SegmentSize: 1448, ChecksumStart: 34, ChecksumOffset: 16}, frame}
	h := nic.Header{Flags: 1, GSO: 1, HeaderLen: 66, SegmentSize: 1448, ChecksumStart: 34, ChecksumOffset: 16}
	for range 30 {
		g.put(p)
		inPieces := h
		inPieces.HeaderLen = 1000 // what is in one piece, and not the end of the header
		if _, err := g.peer.Send(&inPieces, frame); err != nil {
			t.Fatal(err)
		}
		g.a.turn()
		out, in := g.arrived(), g.get()
		if len(out) != 1 || out[0].Header != h || !bytes.Equal(out[0].frame, frame) {
			t.Fatalf("sent %+v", out)
		}
		if len(in) != 1 || in[0].PacketHeader != p.PacketHeader || !bytes.Equal(in[0].frame, frame) {
			t.Fatal("not received")
		}
	}
}

// TestNetLengths: frames of every odd length are sent, dropped or the machine's end.
func TestNetLengths(t *testing.T) {
	for _, offload := range []bool{false, true} {
		for _, n := range []uint32{0, 1, 13, 14, 59, 60, 1513, 1514, 1515, 65535, 65549, 65550, 1<<31 - 1, 1 << 31, 1<<32 - 33, 1<<32 - 2} {
			g := newNetGuest(t, offload)
			g.put(packet{hypercall.PacketHeader{Length: n}, make([]byte, min(n, 1<<17))}, whole(60, 3))
			g.a.turn()
			s := g.stats()
			switch {
			case n > 1<<17:
				g.failed("longer than what was put")
			case n < 14 || n > 1514:
				if s.BadPackets != 1 || s.TxPackets != 1 || g.vm.failure() != nil {
					t.Errorf("%d bytes: %+v, %v", n, s, g.vm.failure())
				}
			default:
				if out := g.arrived(); s.TxPackets != 2 || len(out) != 2 || len(out[0].frame) != int(n) {
					t.Errorf("%d bytes: %+v", n, s)
				}
			}
		}
	}
}

// TestNetBroken: indexes that no guest has by itself end the machine, and what lies in
// the ring stays there.
func TestNetBroken(t *testing.T) {
	for _, test := range []struct {
		prod, cons uint32
		want       string
	}{
		{8, 0, "transmit ring: its index is out of bounds"}, {hypercall.PacketRingBytes + 16, 0, "transmit ring: its index"},
		{1<<32 - 16, 0, "transmit ring: its index"}, {0, 16, "receive ring: its index"}, {0, 1<<32 - 16, "receive ring: its index"},
		{0, 1<<32 - hypercall.PacketRingBytes - 16, "receive ring"}, {0, 1<<32 - 8, "receive ring"},
	} {
		g := newNetGuest(t, false)
		g.vm.net.begin()
		storeWords(packetHeader(&g.ring.Transmit, 0), hypercall.PacketHeader{Length: 60})
		atomic.StoreUint32(&g.ring.Receive.Cons, test.cons)
		atomic.StoreUint32(&g.ring.Transmit.Prod, test.prod)
		g.vm.net.bell.ring()
		waitFor(t, "the end", func() bool { return g.vm.failure() != nil })
		g.failed(test.want)
		g.vm.net.end()
		if len(g.arrived()) != 0 {
			t.Errorf("%+v: something was sent", test)
		}
	}
}

func waitFor(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatal("no sign of " + what)
		}
	}
}

// TestNetSkips: skips at all places, and without end, are bounded work.
func TestNetSkips(t *testing.T) {
	g := newNetGuest(t, false)
	for i := range uint32(hypercall.PacketRingBytes / 16) {
		storeWords(packetHeader(&g.ring.Transmit, i*16), hypercall.PacketHeader{Length: hypercall.PacketSkip})
	}
	for i := range uint32(1000) {
		atomic.StoreUint32(&g.ring.Transmit.Prod, (i+1)*hypercall.PacketRingBytes)
		if !g.a.turn() || g.a.tx.cons != (i+1)*hypercall.PacketRingBytes {
			t.Fatalf("at %#x: %v", g.a.tx.cons, g.vm.failure())
		}
	}
	atomic.StoreUint32(&g.ring.Transmit.Prod, 1000*hypercall.PacketRingBytes+16)
	g.a.turn()
	g.failed("longer than what was put")
}

// TestNetConfig: what no NIC can be.
func TestNetConfig(t *testing.T) {
	link, _ := linkPair(t, false)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	for _, test := range []struct {
		n    NIC
		want string
	}{
		{NIC{Link: link, MTU: 1279}, "NIC 0: an MTU of 1279"}, {NIC{Link: link, MTU: 65522}, "an MTU of 65522"},
		{NIC{Link: link, MAC: [6]byte{1}}, "a group's"}, {NIC{Link: link, Rate: -1}, "a rate of -1"},
		{NIC{Link: nic.Link{FD: -1}}, "bad file descriptor"}, {NIC{Link: nic.Link{FD: fds[0]}}, "would block"},
		{NIC{Link: link, Address: "10.0.0.2/24 10.0.0.3"}, `"10.0.0.3": not an address with a prefix`},
		{NIC{Link: link, Gateway: "10.0.0.1", DNS: "fe80::1 x"}, `"x": not an address`}, {NIC{Link: link, Search: "a\x00b"}, "search domains"},
	} {
		cfg := Config{NICs: []NIC{test.n}}
		if err := cfg.checkNICs(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
	cfg := Config{NICs: make([]NIC, hypercall.MaxNICs+1)}
	if err := cfg.checkNICs(); err == nil || !strings.Contains(err.Error(), fmt.Sprint(hypercall.MaxNICs)) {
		t.Error(err)
	}
}

// TestNetRecords: what the guest is told.
func TestNetRecords(t *testing.T) {
	vm := newTestVM(t, 1000)
	link, _ := linkPair(t, true)
	vm.cfg.NICs = []NIC{{Link: link, Address: " 10.0.0.2/24  fd00::2/64", DNS: "10.0.0.1", Search: "a b", DHCP: true}, {Link: link, MTU: 9000, MAC: [6]byte{2, 3}}}
	if err := vm.cfg.checkNICs(); err != nil {
		t.Fatal(err)
	}
	vm.start.blob = nil
	vm.describeNICs()
	info, blob := vm.start.info, vm.start.blob
	at := func(e hypercall.Extent) string {
		return string(blob[e.Addr-vm.start.end()+hypercall.GVA(len(blob)):][:e.Len])
	}
	records := []byte(at(info.NICs))
	if info.NICCount != 2 || len(records) != 2*88 {
		t.Fatalf("%d NICs in %d bytes", info.NICCount, len(records))
	}
	var list [2]hypercall.NIC
	for i := range list {
		if _, err := binary.Decode(records[i*88:], binary.LittleEndian, &list[i]); err != nil {
			t.Fatal(err)
		}
	}
	a, b := list[0], list[1]
	if a.Ring != hypercall.NetRingGVA || b.Ring != hypercall.NetRingGVA+2<<20 || a.MTU != 1500 || b.MTU != 9000 || a.Flags != 7 || b.Flags != 3 {
		t.Errorf("%+v\n%+v", a, b)
	}
	if at(a.Address) != "10.0.0.2/24 fd00::2/64" || at(a.DNS) != "10.0.0.1" || at(a.Search) != "a b" || a.Gateway.Len != 0 {
		t.Errorf("%+v", a)
	}
	if a.MAC[0]&3 != 2 || b.MAC != [6]byte{2, 3} {
		t.Errorf("%x, %x", a.MAC, b.MAC)
	}
}
