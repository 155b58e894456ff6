package socket

import (
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// nicDevice is a network adapter's driver. put, kick and wantRoom are called with one
// lock held, take by one goroutine, which is not the same as those that put, and none
// of them waits. The kernel makes guest.FDNet readable when there is something to take,
// or room that was wanted.
type nicDevice interface {
	// put gives the adapter a frame to send, with its Ethernet header, and says
	// whether there was room. Nothing of pkt is kept.
	put(pkt *stack.PacketBuffer) bool
	// kick has the adapter send what was put.
	kick()
	// wantRoom asks to be told when there is room again; false says that there is.
	wantRoom() bool

	// take is the next frame that has come, and whether its transport checksum needs
	// no look; nil if there is none.
	take() (pkt *stack.PacketBuffer, checked bool)

	linkUp() bool

	// renew is after the machine has gone on as another one. The lock of put is held,
	// and nobody takes meanwhile.
	renew(life uint64)
}

// nic is an interface, as netstack has it: what makes Ethernet of packets.
type nic struct {
	id       tcpip.NICID
	dev      nicDevice
	mac      atomic.Pointer[tcpip.LinkAddress]
	mtu      atomic.Uint32
	segments atomic.Bool
	dhcp     *dhcpClient // or nil; guarded by network.resuming

	// checked is of the packet that netstack is given just now; see Capabilities.
	checked atomic.Bool

	dispatcher atomic.Pointer[stack.NetworkDispatcher]

	mu      sync.Mutex // of dev's sending half and what follows
	queue   []*stack.PacketBuffer
	queued  int // bytes in queue
	dropped uint64
}

// maxQueued is how many bytes wait in front of a full adapter, which is more than a
// stream has under way: what it loses here costs it a lot.
const maxQueued = 8 << 20

func newNIC(a *adapter, id tcpip.NICID) *nic {
	c := &nic{id: id, dev: a.dev}
	c.be(a)
	return c
}

// be makes the interface what the adapter is in this life.
func (c *nic) be(a *adapter) {
	c.mac.Store(&a.mac)
	c.mtu.Store(a.mtu)
	c.segments.Store(a.segments)
}

// renew makes the interface one of another life: what waits to be sent is of the last.
func (c *nic) renew(a *adapter, life uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pkt := range c.queue {
		pkt.DecRef()
	}
	clear(c.queue)
	c.queue, c.queued = c.queue[:0], 0
	c.be(a)
	c.dev.renew(life)
}

func (c *nic) MTU() uint32                             { return c.mtu.Load() }
func (c *nic) SetMTU(mtu uint32)                       { c.mtu.Store(mtu) }
func (c *nic) MaxHeaderLength() uint16                 { return header.EthernetMinimumSize }
func (c *nic) LinkAddress() tcpip.LinkAddress          { return *c.mac.Load() }
func (c *nic) SetLinkAddress(tcpip.LinkAddress)        {}
func (c *nic) IsAttached() bool                        { return c.dispatcher.Load() != nil }
func (c *nic) Wait()                                   {}
func (c *nic) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }
func (c *nic) Close()                                  {}
func (c *nic) SetOnCloseAction(func())                 {}
func (c *nic) ParseHeader(pkt *stack.PacketBuffer) bool {
	_, ok := pkt.LinkHeader().Consume(header.EthernetMinimumSize)
	return ok
}

func (c *nic) AddHeader(pkt *stack.PacketBuffer) {
	header.Ethernet(pkt.LinkHeader().Push(header.EthernetMinimumSize)).Encode(&header.EthernetFields{
		SrcAddr: pkt.EgressRoute.LocalLinkAddress,
		DstAddr: pkt.EgressRoute.RemoteLinkAddress,
		Type:    pkt.NetworkProtocolNumber,
	})
}

func (c *nic) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		c.dispatcher.Store(nil)
		return
	}
	c.dispatcher.Store(&d)
}

// Capabilities says that checksums have been looked at, where that is so of the packet
// under way: netstack asks for each that it is given, on the goroutine that gives it.
// Those of packets to send are left out by way of GSO, which is for TCP alone: a UDP
// datagram may yet be cut into fragments.
func (c *nic) Capabilities() stack.LinkEndpointCapabilities {
	caps := stack.CapabilityResolutionRequired
	if c.checked.Load() {
		caps |= stack.CapabilityRXChecksumOffload
	}
	return caps
}

// maxSegments is how long a TCP segment that is to be cut may be, with its headers.
const maxSegments = 65535

func (c *nic) GSOMaxSize() uint32 { return maxSegments }

func (c *nic) SupportedGSO() stack.SupportedGSO {
	if c.segments.Load() {
		return stack.HostGSOSupported
	}
	return stack.GSONotSupported
}

// WritePackets sends frames. Those for which there is no room wait.
func (c *nic) WritePackets(pkts stack.PacketBufferList) (n int, err tcpip.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pkt := range pkts.AsSlice() {
		switch {
		case !c.isFrom(pkt): // another life's
			c.dropped++
			continue
		case len(c.queue) == 0 && c.dev.put(pkt):
		case c.queued+pkt.Size() <= maxQueued:
			c.queue = append(c.queue, pkt.IncRef())
			c.queued += pkt.Size()
		default:
			c.dropped++
			err = &tcpip.ErrNoBufferSpace{}
			continue
		}
		n++
	}
	c.flush()
	return n, err
}

// isFrom is whether a frame has the interface's own address as its source. What was on
// its way when the machine came to rest has the address of before.
func (c *nic) isFrom(pkt *stack.PacketBuffer) bool {
	const source, end = 6, 12
	b := pkt.LinkHeader().Slice()
	return len(b) >= header.EthernetMinimumSize && string(b[source:end]) == string(*c.mac.Load())
}

// flush sends what waits, as far as there is room. The caller holds mu.
func (c *nic) flush() {
	for {
		i := 0
		for i < len(c.queue) && c.dev.put(c.queue[i]) {
			c.queued -= c.queue[i].Size()
			c.queue[i].DecRef()
			i++
		}
		if i > 0 {
			n := copy(c.queue, c.queue[i:])
			clear(c.queue[n:])
			c.queue = c.queue[:n]
		}
		c.dev.kick()
		if len(c.queue) == 0 || c.dev.wantRoom() {
			return
		}
	}
}

// netWaiter is how the goroutine that takes frames waits for more: a sys.NetWaiter.
// What comes between Reset and Wait ends Wait at once.
type netWaiter interface {
	Reset()
	Wait()
}

// receive gives netstack what comes, for ever. After Reset all are looked at.
func (n *network) receive(w netWaiter) {
	for {
		w.Reset()
		n.current()
		if !n.turn() {
			w.Wait()
		}
	}
}

// turn is one of each interface's.
func (n *network) turn() (any bool) {
	n.resuming.Lock() // which takes none of what it delivers to
	defer n.resuming.Unlock()
	for _, c := range n.nics {
		any = c.turn() || any
	}
	return any
}

// turn takes all frames that are there and sends what waits, and says whether there
// was anything to take.
func (c *nic) turn() (any bool) {
	for {
		pkt, checked := c.dev.take()
		if pkt == nil {
			break
		}
		any = true
		c.deliver(pkt, checked)
	}
	c.mu.Lock()
	if len(c.queue) > 0 {
		c.flush()
	}
	c.mu.Unlock()
	return any
}

// deliver gives netstack a frame.
func (c *nic) deliver(pkt *stack.PacketBuffer, checked bool) {
	defer pkt.DecRef()
	d := c.dispatcher.Load()
	if d == nil || !c.ParseHeader(pkt) {
		return
	}
	eth := header.Ethernet(pkt.LinkHeader().Slice())
	switch dst := eth.DestinationAddress(); {
	case dst == header.EthernetBroadcastAddress:
		pkt.PktType = tcpip.PacketBroadcast
	case header.IsMulticastEthernetAddress(dst):
		pkt.PktType = tcpip.PacketMulticast
	case dst != *c.mac.Load():
		return // a switch that does not know better
	}
	c.checked.Store(checked)
	(*d).DeliverNetworkPacket(eth.Type(), pkt)
}
