package hv

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pvrun/pvrun/hv/nic"
	"github.com/pvrun/pvrun/hypercall"
	"github.com/pvrun/pvrun/internal/need"
	"github.com/pvrun/pvrun/test/guests/asm"
	"golang.org/x/sys/unix"
)

// Where the guest finds what of its NIC's rings.
const (
	guestTransmit = uint64(hypercall.NetRingGVA)
	guestReceive  = guestTransmit + hypercall.PageSize + hypercall.PacketRingBytes
	atProd        = 0
	atCons        = 64
	atProdEvent   = 68
	atData        = hypercall.PageSize
)

// newNetVM makes a machine of a hand-made image with a NIC, and the other end of its
// link.
func newNetVM(t *testing.T, code *asm.Code) (*VM, nic.Link) {
	t.Helper()
	need.KVM(t)
	need.Count(1)
	link, peer := linkPair(t, false)
	vm, err := New(Config{Image: asm.Image{Code: code}.Write(t), NICs: []NIC{{Link: link}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
	})
	return vm, peer
}

// sendFrom has a guest send a frame of 60 bytes.
func sendFrom(c *asm.Code) *asm.Code {
	c.Store32(guestTransmit+atData, 60).Store(guestTransmit+atData+16, 0x1122334455667788)
	return c.Store32(guestTransmit+atProd, 80)
}

// TestNetGuestSends: a guest puts a packet, rings and waits until it is taken.
func TestNetGuestSends(t *testing.T) {
	c := sendFrom(new(asm.Code)).Hypercall(hypercall.CallNetDoorbell)
	c.Until(80, func(c *asm.Code) { c.Load(guestTransmit+atCons).Raw(0x89, 0xc0) }) // MOV EAX, EAX
	vm, peer := newNetVM(t, c.Exit(0))
	if exit, err := runFor(vm, 10*time.Second); err != nil || exit != (Exit{}) {
		t.Fatal(exit, err)
	}
	received(t, peer)
	if s := vm.Stats(); s.Net.TxPackets != 1 || s.Net.TxBytes != 60 || s.Net.Doorbells == 0 || s.Exits.ByReason["hypercall.net_doorbell"] != 1 {
		t.Errorf("%+v, %v", s.Net, s.Exits.ByReason)
	}
}

func received(t *testing.T, peer nic.Link) {
	t.Helper()
	buf := make([]byte, 2000)
	h := nic.Header{Flags: 1}
	n, err := peer.Receive(&h, buf)
	if n != 60 || err != nil || h != (nic.Header{}) || !bytes.HasPrefix(buf, []byte{0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11}) {
		t.Errorf("%d bytes, %v, %+v, % x", n, err, h, buf[:8])
	}
}

// TestNetGuestEnds: what a guest has put when its program ends is still sent.
func TestNetGuestEnds(t *testing.T) {
	vm, peer := newNetVM(t, sendFrom(new(asm.Code)).Exit(0))
	if _, err := runFor(vm, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	received(t, peer)
}

// TestNetGuestReceives: a guest that waits is woken for a packet.
func TestNetGuestReceives(t *testing.T) {
	c := new(asm.Code).Store32(guestReceive+atProdEvent, 1)
	c.Hypercall(hypercall.CallBlock, hypercall.Forever)
	c.Load(guestReceive+atProd).AndAX(0xffffffff).MovReg(asm.RDI, asm.RAX)
	c.Mov(asm.RAX, uint64(hypercall.CallExit)).CallPage()
	vm, peer := newNetVM(t, c)
	time.AfterFunc(50*time.Millisecond, func() { peer.Send(new(nic.Header), make([]byte, 100)) })
	exit, err := runFor(vm, 10*time.Second)
	if err != nil || exit.Code != 128 { // 16+100, rounded up
		t.Fatal(exit, err)
	}
	if s := vm.Stats(); s.Net.RxPackets != 1 || s.Net.Events != 1 || s.Exits.ByReason["hypercall.block"] != 1 {
		t.Errorf("%+v, %v", s.Net, s.Exits.ByReason)
	}
}

// TestNetGuestBreaks: an index out of bounds ends the machine, and says so.
func TestNetGuestBreaks(t *testing.T) {
	c := new(asm.Code).Store32(guestTransmit+atProd, 1<<31).Hypercall(hypercall.CallNetDoorbell).Spin()
	vm, _ := newNetVM(t, c)
	_, err := runFor(vm, 10*time.Second)
	var f *GuestFault
	if !errors.As(err, &f) || !strings.Contains(f.Reason, "NIC 0, transmit ring: its index is out of bounds") {
		t.Error(err)
	}
}

// TestNetGuestStorm: a guest that does nothing but ring is its own trouble, and soon
// the host's kernel's.
func TestNetGuestStorm(t *testing.T) {
	c := new(asm.Code).Times(20_000, func(c *asm.Code) { c.Hypercall(hypercall.CallNetDoorbell) })
	vm, _ := newNetVM(t, c.Exit(7))
	if exit, err := runFor(vm, 20*time.Second); err != nil || exit.Code != 7 {
		t.Fatal(exit, err)
	}
	if n := vm.Stats().Exits.ByReason["hypercall.net_doorbell"]; n != bindAfter {
		t.Errorf("%d doorbells came out of the machine, want %d", n, bindAfter)
	}
}

// TestNetCostsNothing: rings that nobody uses take no memory of the host's.
func TestNetCostsNothing(t *testing.T) {
	vm, _ := newNetVM(t, new(asm.Code).Exit(0))
	if n := vm.net.nics[0].shared; atomic.LoadUint32(&n.Link) != 1 {
		t.Error("no link")
	}
	first := vm.tables.slot(guestTransmit, false).load().frame()
	vec := make([]byte, netRingPages)
	if err := mincore(vm.mem.run(first, netRingPages), vec); err != nil {
		t.Fatal(err)
	}
	touched := 0
	for _, v := range vec {
		touched += int(v & 1)
	}
	if touched > 3 {
		t.Errorf("%d pages of %d have memory", touched, netRingPages)
	}
}

// TestNetTAP: frames go over a TAP, and its end is the link's.
func TestNetTAP(t *testing.T) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no TAP: ", err)
	}
	defer unix.Close(fd)
	r, _ := unix.NewIfreq("")
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		t.Skip("no TAP: ", err)
	}
	g := newNetGuest(t, false, func(n *NIC) { n.Link.FD = fd })
	g.vm.net.setTimes(testTSC.Hz, 2)
	g.vm.net.begin()
	send := func() {
		g.put(whole(60, 1))
		g.vm.net.bell.ring()
		waitFor(t, "an empty ring", func() bool { return atomic.LoadUint32(&g.ring.Transmit.Cons) == g.prod })
	}
	link := func(want uint32) {
		t.Helper()
		if got := atomic.LoadUint32(&g.ring.Link); got != want {
			t.Errorf("the link is %d", got)
		}
	}
	send() // it is not up
	link(0)
	setUp(t, r)
	send()
	link(1)
	if s := g.stats(); s.TxDropped != 1 || s.TxPackets != 1 {
		t.Errorf("%+v", s)
	}
	waitFor(t, "what Linux says of itself", func() bool { return len(g.get()) > 0 })
	deleteLink(t, r)
	waitFor(t, "the link's end", func() bool { return atomic.LoadUint32(&g.ring.Link) == 0 })
	send()
	g.sleeps()
	if g.a.link != linkGone || g.vm.failure() != nil {
		t.Errorf("state %d, %v", g.a.link, g.vm.failure())
	}
}

func setUp(t *testing.T, r *unix.Ifreq) {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	r.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r); err != nil {
		t.Fatal(err)
	}
}

func deleteLink(t *testing.T, r *unix.Ifreq) {
	t.Helper()
	if out, err := exec.Command("ip", "link", "delete", r.Name()).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
