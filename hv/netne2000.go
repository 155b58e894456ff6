package hv

import (
	"io"
	"math"

	"github.com/pvrun/pvrun/hv/device"
	"github.com/pvrun/pvrun/hv/nic"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// cable joins an NE2000 to its NIC's link, without a thread or a queue of its own: the
// vCPU's thread writes a frame when the guest sends it, and reads one, if the ring has
// room for it, when it comes by. Each takes some microseconds where the exits of a
// frame take hundreds, and neither blocks. What the ring has no room for waits in the
// link, which drops what is too much.
type cable struct {
	nic   *device.NE2000
	port  *nic.Port
	now   func() int64
	frame [hypercall.EthernetHeader + ne2000MTU + 1]byte // longer ones show by the last byte
	count netCounters

	// In ns of the clock: before these nothing is read or sent.
	readAt, sendAt int64
	looked         int64 // when there was last nothing to read
	full           bool  // the link takes no frame now
	ill            bool  // poll(2) has told of an error or the end
}

const (
	// ne2000MTU is the longest payload of its frames.
	ne2000MTU = 1500
	// cableLook is how often a guest that runs has the link looked at, in ns.
	cableLook = 50_000
	// cableRest is how long a link is left alone that fails, in ns.
	cableRest = 100_000_000
	// cableBurst is how many frames are read at once at the most.
	cableBurst = 32
)

// fitNE2000 makes a NIC what an NE2000 can be.
func (n *NIC) fitNE2000() {
	n.MTU = min(n.MTU, ne2000MTU)
	n.Link.Offload = false // what has come with offloads all the same is dropped
}

// cables are those of all NICs in trap mode.
type cables []*cable

// plugIn makes the NE2000s.
func (p *pc) plugIn() {
	vm := p.vm
	for i := range vm.cfg.NICs[:min(len(vm.cfg.NICs), len(p.bus.NE2000))] {
		n := &vm.cfg.NICs[i]
		c := &cable{port: n.port(), now: p.Now}
		c.nic = device.NewNE2000(p.bus.PIC.Line(hypercall.NE2000IRQ+i), n.MAC, c)
		p.bus.NE2000[i] = c.nic
		vm.cables = append(vm.cables, c)
	}
}

// Send is the NE2000's: it takes a frame, or none now.
func (c *cable) Send(frame []byte) bool {
	if wait := c.port.SendAfter(); wait > 0 {
		c.sendAt = c.now() + int64(wait)
		return false
	}
	if len(frame) > c.port.MaxFrame() {
		c.count.badPackets.Add(1)
		return true
	}
	switch n, err := c.port.Send(&nic.Header{}, frame); {
	case err == unix.EAGAIN:
		c.full = true
		return false
	case err != nil:
		c.count.txDropped.Add(1)
	default:
		c.count.txPackets.Add(1)
		c.count.txBytes.Add(uint64(n))
	}
	return true
}

// serve moves what can be moved.
func (cs cables) serve() {
	for _, c := range cs {
		now := c.now()
		if c.nic.Busy() && now >= c.sendAt {
			c.full = false
			c.nic.Resume()
		}
		if now >= c.readAt && now-c.looked >= cableLook {
			c.receive(now)
		}
	}
}

// receive reads frames as long as the NIC has room.
func (c *cable) receive(now int64) {
	for range cableBurst {
		if !c.nic.Room() {
			return
		}
		if wait := c.port.ReceiveAfter(); wait > 0 {
			c.readAt = now + int64(wait)
			return
		}
		var h nic.Header
		n, err := c.port.Receive(&h, c.frame[:])
		if err != nil && err != nic.ErrShort {
			c.pause(now, err)
			return
		}
		h.Flags &^= hypercall.PacketChecked // which nobody needs to know
		if _, ok := c.port.Incoming(&h, c.frame[:n]); !ok || err != nil {
			c.count.badPackets.Add(1)
			continue
		}
		c.count.rxPackets.Add(1)
		c.count.rxBytes.Add(uint64(n))
		c.nic.Receive(c.frame[:n])
	}
}

// pause puts off the next read, after an error that ends the link for good without end.
func (c *cable) pause(now int64, err error) {
	switch err {
	case unix.EAGAIN, unix.EINTR:
		if c.looked = now; c.ill {
			c.readAt = now + cableRest
		}
	case io.EOF, unix.EBADFD, unix.EBADF:
		c.readAt = math.MaxInt64
	default:
		c.readAt = now + cableRest
	}
}

// next is when there is something to do that poll(2) does not tell of.
func (cs cables) next() int64 {
	first := int64(math.MaxInt64)
	for _, c := range cs {
		now := c.now()
		if c.readAt > now && c.nic.Room() {
			first = min(first, c.readAt)
		}
		if c.nic.Busy() && !c.full {
			first = min(first, c.sendAt)
		}
	}
	return first
}

// pollFDs appends each link, with what is to be waited for.
func (cs cables) pollFDs(fds []unix.PollFd) []unix.PollFd {
	for _, c := range cs {
		p := unix.PollFd{Fd: -1}
		if c.nic.Busy() && c.full {
			p.Events |= unix.POLLOUT
		}
		if c.nic.Room() && c.now() >= c.readAt {
			p.Events |= unix.POLLIN
		}
		if p.Events != 0 {
			p.Fd = int32(c.port.Link().FD)
		}
		fds = append(fds, p)
	}
	return fds
}

// ready has what became ready looked at. fds is what pollFDs appended.
func (cs cables) ready(fds []unix.PollFd) {
	for i, c := range cs {
		if fds[i].Revents != 0 {
			c.looked = math.MinInt64 / 2
			c.ill = fds[i].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
		}
	}
}

// stats adds the NICs' counts up.
func (cs cables) stats() (s NetStats) {
	for _, c := range cs {
		s.RxPackets += c.count.rxPackets.Load()
		s.RxBytes += c.count.rxBytes.Load()
		s.TxPackets += c.count.txPackets.Load()
		s.TxBytes += c.count.txBytes.Load()
		s.TxDropped += c.count.txDropped.Load()
		s.BadPackets += c.count.badPackets.Load()
	}
	return s
}
