package hv

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pvrun/pvrun/hv/nic"
	"github.com/pvrun/pvrun/hypercall"
	"golang.org/x/sys/unix"
)

// adapter moves the packets of one NIC between its rings and its link. Frames lie in
// the rings only: the kernel copies them from there and to there.
type adapter struct {
	net    *network
	first  frame // of shared
	shared *hypercall.NetRings
	port   *nic.Port
	epoll  int
	fd     int
	events uint32 // that the epoll has of the link

	mu   sync.Mutex // held by the worker, but while it waits; of what follows and of the rings
	tx   consumer
	rx   producer
	full bool       // there is no room in rx, and the link is not read
	hdr  nic.Header // of the packet in hand

	txUntil, rxUntil time.Time // the rate lets nothing by before
	stuck            time.Time // since when the link takes nothing; zero: it does
	link             linkState
	strikes          int // errors in a row in place of frames

	awake atomic.Bool   // it looks at the rings by itself
	moved atomic.Uint64 // TSC when the last packet has come or gone
	spin  patience
	told  tardy
}

type linkState int

const (
	linkUp   linkState = iota
	linkDown           // an interface that is not up now, and may be again
	linkGone           // nothing comes over the descriptor any more
)

const (
	// turnPackets and turnBytes bound what is moved one way before the other way has
	// its turn.
	turnPackets = 64
	turnBytes   = 256 << 10
	// linkPatience is how long a packet waits for a link that takes none. After that
	// those that it does not take are dropped at once, until it takes one.
	linkPatience = time.Second
	// maxStrikes is how many errors in a row a link may give in place of frames.
	maxStrikes = 1000
)

func newAdapter(n *network, number int, first frame, card *NIC) (*adapter, error) {
	p, shared := card.port(), n.vm.mem.netRings(first)
	a := &adapter{
		net: n, first: first, shared: shared, port: p, fd: p.Link().FD,
		tx: consumer{number: number, ring: &shared.Transmit},
		rx: producer{number: number, ring: &shared.Receive, need: uint32(packetSize(uint64(p.MaxFrame()) + 1))},
	}
	if card.down {
		a.link = linkGone
	}
	a.begin()
	return a, a.openEpoll()
}

// turn moves what is there, both ways, and says whether there was something.
func (a *adapter) turn() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	sent, received := a.transmit(), a.receive()
	if !sent && !received {
		return false
	}
	a.moved.Store(rdtsc())
	return true
}

// transmit sends what is in the ring, up to a turn's worth.
func (a *adapter) transmit() (some bool) {
	if a.net.vm.stop.Load() || !a.waited(&a.txUntil) {
		return false
	}
	n, err := a.tx.ready()
	old := a.tx.cons
	for left := turnPackets; n > 0 && left > 0 && err == nil && a.tx.cons-old < turnBytes; left-- {
		var size uint32
		if size, err = a.transmitOne(n); size == 0 {
			break
		}
		a.tx.cons += size
		n -= size
	}
	if err != nil {
		a.net.vm.fail(err)
		return false
	}
	some = a.tx.cons != old
	if a.tx.done(old) {
		a.tell(&a.told.room, atomic.LoadUint32(&a.tx.ring.Prod))
	}
	return some
}

// transmitOne sends one packet; it stays where it is when size is 0.
func (a *adapter) transmitOne(n uint32) (size uint32, err error) {
	p, frame, size, err := a.tx.look(n)
	if err != nil || p.Length == hypercall.PacketSkip {
		return size, err
	}
	var ok bool
	c := &a.net.count
	if a.hdr, ok = a.port.Outgoing(&p); !ok {
		c.badPackets.Add(1)
		return size, nil
	}
	if a.link == linkGone {
		c.txDropped.Add(1)
		return size, nil
	}
	if wait := a.port.SendAfter(); wait > 0 {
		a.txUntil = time.Now().Add(wait)
		return 0, nil
	}
	if _, err := a.port.Send(&a.hdr, frame); err != nil {
		return a.notSent(err, size), nil
	}
	a.worked()
	a.stuck = time.Time{}
	c.txPackets.Add(1)
	c.txBytes.Add(uint64(len(frame)))
	return size, nil
}

// notSent is how much of the ring is done with after an error: nothing of a packet
// that shall wait.
func (a *adapter) notSent(err error, size uint32) uint32 {
	if err == unix.EAGAIN {
		if a.stuck.IsZero() {
			a.stuck = time.Now()
		}
		if a.patient() {
			return 0
		}
	} else {
		a.trouble(err)
	}
	a.net.count.txDropped.Add(1)
	return size
}

// patient says whether a packet waits for the link to take it.
func (a *adapter) patient() bool { return !a.stuck.IsZero() && time.Since(a.stuck) < linkPatience }

// receive reads the link, up to a turn's worth.
func (a *adapter) receive() (some bool) {
	if a.link == linkGone || a.net.vm.stop.Load() || !a.waited(&a.rxUntil) {
		return false
	}
	used, err := a.rx.used()
	if err != nil {
		a.net.vm.fail(err)
		return false
	}
	for left := turnPackets; left > 0 && a.rx.next-a.rx.prod < turnBytes; left-- {
		before := a.rx.next
		if !a.receiveOne(used) {
			break
		}
		some = true
		used += a.rx.next - before
	}
	if a.rx.done() {
		a.tell(&a.told.packets, a.rx.prod)
	}
	return some
}

// receiveOne takes one frame from the link, and says whether there was one.
func (a *adapter) receiveOne(used uint32) bool {
	at, skip, ok := a.rx.room(used)
	if a.noRoom(!ok) {
		return false
	}
	if wait := a.port.ReceiveAfter(); wait > 0 {
		a.rxUntil = time.Now().Add(wait)
		return false
	}
	c := &a.net.count
	buf := a.rx.buffer(at)
	n, err := a.port.Receive(&a.hdr, buf)
	switch {
	case err == unix.EAGAIN:
		return false
	case err == nic.ErrShort:
		c.badPackets.Add(1)
		return true
	case err != nil:
		a.notReceived(err)
		return false
	}
	a.worked()
	p, ok := a.port.Incoming(&a.hdr, buf[:n])
	if !ok {
		c.badPackets.Add(1)
		return true
	}
	a.rx.put(p, at, skip)
	c.rxPackets.Add(1)
	c.rxBytes.Add(uint64(n))
	return true
}

// noRoom notes whether the ring is full.
func (a *adapter) noRoom(full bool) bool {
	if full && !a.full {
		a.net.count.ringFull.Add(1)
	}
	a.full = full
	return full
}

// waited says whether a time is over.
func (a *adapter) waited(until *time.Time) bool {
	if until.IsZero() {
		return true
	}
	if time.Now().Before(*until) {
		return false
	}
	*until = time.Time{}
	return true
}

// trouble is an error of the link, other than that it takes or gives nothing.
func (a *adapter) trouble(err error) {
	switch err {
	case unix.EIO, unix.ENETDOWN: // a TAP that is not up
		a.setLink(linkDown)
	case unix.ENOBUFS, unix.ENOMEM, unix.EFAULT, unix.EMSGSIZE, unix.EINVAL, unix.EPERM, unix.EACCES:
	default: // EBADFD: a TAP that was deleted; EPIPE, io.EOF: nobody is there
		a.setLink(linkGone)
	}
}

// notReceived is an error in place of a frame. One that does not end would keep the
// worker busy for nothing.
func (a *adapter) notReceived(err error) {
	a.net.count.rxDropped.Add(1)
	a.trouble(err)
	if a.strikes++; a.strikes > maxStrikes {
		a.setLink(linkGone)
	}
}

// worked is after a frame went by.
func (a *adapter) worked() {
	a.strikes = 0
	if a.link != linkUp {
		a.setLink(linkUp)
	}
}

// setLink tells the guest what has become of the link.
func (a *adapter) setLink(s linkState) {
	if a.link == s {
		return
	}
	a.link = s
	var up uint32
	if s == linkUp {
		up = 1
	}
	atomic.StoreUint32(&a.shared.Link, up)
	a.raise()
}
