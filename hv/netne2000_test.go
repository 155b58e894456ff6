package hv

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/pvrun/pvrun/hv/device"
	"github.com/pvrun/pvrun/hv/nic"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// cableTest is an NE2000 on a link, its other end, and a clock that is moved by hand.
type cableTest struct {
	*testing.T
	*cable
	bus  device.Bus
	peer nic.Link
	at   int64
}

func newCableTest(t *testing.T, rate int64) *cableTest {
	link, peer := linkPair(t, false)
	n := NIC{Link: link, Rate: rate, MTU: 9000, MAC: [6]byte{2, 1}}
	n.Link.Offload = true
	n.fitNE2000()
	c := &cableTest{T: t, peer: peer, at: 1e9}
	c.cable = &cable{port: n.port(), now: func() int64 { return c.at }}
	c.nic = device.NewNE2000(func(bool) {}, n.MAC, c.cable)
	c.bus.NE2000[0] = c.nic
	for _, w := range [][2]uint8{{0, 0x21}, {0xe, 0x59}, {0xc, 0x1c}, {1, 0x46}, {2, 0x80}, {3, 0x46}, {0, 0x61}, {7, 0x46}, {0, 0x22}} {
		c.out(w[0], w[1])
	}
	return c
}

func (c *cableTest) out(reg, v uint8) { c.bus.Out(hypercall.NE2000Port+uint16(reg), 1, uint32(v)) }

// send has the guest send n bytes of packet memory.
func (c *cableTest) send(n int) {
	for _, w := range [][2]uint8{{4, 0x40}, {5, uint8(n)}, {6, uint8(n >> 8)}, {0, 0x26}} {
		c.out(w[0], w[1])
	}
}

// polled is what poll(2) waits for; 0: the link is left alone.
func (c *cableTest) polled() int16 {
	p := cables{c.cable}.pollFDs(nil)[0]
	if p.Fd < 0 {
		return 0
	}
	return p.Events
}

// serve has the link looked at as after poll(2).
func (c *cableTest) serve() {
	fds := cables{c.cable}.pollFDs(nil)
	_, _ = unix.Poll(fds, 0)
	cables{c.cable}.ready(fds)
	cables{c.cable}.serve()
}

func (c *cableTest) is(what string, got, want any) {
	c.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		c.Errorf("%s: got %v, want %v", what, got, want)
	}
}

var broadcast = bytes.Repeat([]byte{0xff}, 60)

// TestCableFull: a link that takes nothing keeps the transmitter busy, and is waited
// for; nothing is lost or sent twice.
func TestCableFull(t *testing.T) {
	c := newCableTest(t, 0)
	sent := 0
	for ; !c.nic.Busy(); sent++ {
		c.send(1514)
	}
	c.is("waits for", c.polled(), unix.POLLIN|unix.POLLOUT)
	c.serve()
	c.is("busy", c.nic.Busy(), true)
	var h nic.Header
	frame, got := make([]byte, 2000), 0
	for {
		n, err := c.peer.Receive(&h, frame)
		if err != nil {
			break
		}
		c.is("length", n, 1514)
		got++
		c.serve()
	}
	c.is("frames", got, sent)
	c.is("counted", c.count.txPackets.Load(), sent)
	c.is("waits for", c.polled(), unix.POLLIN)
	c.send(1518)
	c.is("too long", c.count.badPackets.Load(), 1)
	c.is("busy", c.nic.Busy(), false)
}

// TestCableRing: what the ring has no room for stays in the link, which is not waited
// for then; frames that make no sense go nowhere.
func TestCableRing(t *testing.T) {
	c := newCableTest(t, 0)
	_, _ = unix.Write(c.peer.FD, []byte("short"))
	for _, f := range []struct {
		h nic.Header
		n int
	}{
		{nic.Header{}, 13}, {nic.Header{}, 1515}, {nic.Header{}, 1516}, {nic.Header{}, 0},
		{nic.Header{Flags: hypercall.PacketPartial, ChecksumStart: 34, ChecksumOffset: 16}, 60}, {nic.Header{GSO: hypercall.PacketTCP4}, 60},
	} {
		_, _ = c.peer.Send(&f.h, make([]byte, f.n))
	}
	_, _ = c.peer.Send(&nic.Header{Flags: hypercall.PacketChecked}, broadcast)
	c.serve()
	c.is("bad", c.count.badPackets.Load(), 7)
	c.is("good", c.count.rxPackets.Load(), 1)
	long := append(bytes.Clone(broadcast), make([]byte, 1454)...)
	for range 30 {
		_, _ = c.peer.Send(&nic.Header{}, long)
		c.serve()
	}
	c.is("in the ring", c.count.rxPackets.Load(), 10)
	c.is("waits for", c.polled(), 0)
	c.is("next", cables{c.cable}.next(), int64(math.MaxInt64))
	c.out(3, 0x47+2*6) // BNRY: room for two
	cables{c.cable}.serve()
	c.is("in the ring", c.count.rxPackets.Load(), 12)
	c.out(0, 0x21) // stopped: what comes is nobody's
	c.serve()
	c.is("taken", c.count.rxPackets.Load(), 31)
	c.is("waits for", c.polled(), unix.POLLIN)
}

// TestCableGone: a link that has ended or fails is left alone, and takes what is sent.
func TestCableGone(t *testing.T) {
	c := newCableTest(t, 0)
	_ = unix.Shutdown(c.peer.FD, unix.SHUT_RDWR)
	c.serve()
	c.is("waits for", c.polled(), 0)
	c.send(100)
	c.is("busy", c.nic.Busy(), false)
	c.is("dropped", c.count.txDropped.Load(), 1)
	for err, want := range map[error]int64{unix.EBADFD: math.MaxInt64, unix.EIO: c.at + cableRest} {
		c.readAt = 0
		c.pause(c.at, err)
		c.is("next", cables{c.cable}.next(), want)
	}
	c.ill, c.readAt = true, 0
	c.pause(c.at, unix.EAGAIN) // an error that reading does not tell of
	c.is("next", cables{c.cable}.next(), c.at+cableRest)
}

// TestCableRate: a rate holds both ways up, and the machine wakes up for it.
func TestCableRate(t *testing.T) {
	c := newCableTest(t, 100_000)
	for range 200 {
		_, _ = c.peer.Send(&nic.Header{}, broadcast)
		c.out(3, 0x46)
		if c.send(1514); c.nic.Busy() {
			break
		}
	}
	c.is("busy", c.nic.Busy(), true)
	c.is("waits for", c.polled(), unix.POLLIN)
	next := cables{c.cable}.next()
	if next <= c.at || next > c.at+1e9 {
		t.Errorf("next in %d ns", next-c.at)
	}
	before := c.count.txPackets.Load()
	cables{c.cable}.serve()
	c.is("sent before its time", c.count.txPackets.Load(), before)
}
